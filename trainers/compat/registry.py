"""Registration that leaves a host repository its names, whichever of the two is imported first."""
from collections.abc import Callable
from typing import Any, TypeVar

from dassl.engine import TRAINER_REGISTRY

C = TypeVar("C", bound=type)
PREFIX = "PromptReg."  # our class of a name that the host holds is registered under PromptReg.NAME


class SharedRegistry:
    """Our classes in one of Dassl's registries.

    A name that is taken stays the host's. A name that the host registers after us becomes the host's: Dassl's own
    registry would refuse it. Either way our class can then be had as ``PromptReg.NAME``.
    """

    def __init__(self, registry: Any) -> None:
        self.registry, self.entries = registry, {}
        self.find: Callable[[str], str] = lambda name: name  # the entry that another name means; may enter it
        self._register_in_dassl = registry.register
        registry.register = self._register_of_host

    def add(self, cls: C) -> C:
        """Class decorator: enter one of our classes."""
        self.entries[cls.__name__] = cls
        self.register(cls.__name__)
        return cls

    def register(self, name: str, override: bool = False) -> None:
        """Enter our class of ``name``; a host's class of that name gives way only where ``override`` is set."""
        if override or name not in self.registry.registered_names():
            self._register_in_dassl(self.entries[name], force=True)
        elif self.registry.get(name) is not self.entries[name]:
            self._register_alias(name)

    def _register_of_host(self, obj: Any = None, force: bool = False) -> Any:
        """What the host calls as ``REGISTRY.register()``."""
        if obj is None:
            return lambda decorated: self._register_of_host(decorated, force)
        name = obj.__name__
        held = name in self.entries and name in self.registry.registered_names()
        if held and self.registry.get(name) is self.entries[name]:
            self._register_alias(name)
            force = True
        self._register_in_dassl(obj, force=force)
        return obj

    def _register_alias(self, name: str) -> None:
        self.registry._obj_map[PREFIX + name] = self.entries[name]


TRAINERS = SharedRegistry(TRAINER_REGISTRY)  # our trainers
