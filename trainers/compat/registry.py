"""Registration that leaves a host repository its names, whichever of the two is imported first."""
from typing import Any, TypeVar

from dassl.engine import TRAINER_REGISTRY

C = TypeVar("C", bound=type)
PREFIX = "PromptReg."  # our class of a name that the host holds is registered under PromptReg.NAME


class Shelf:
    """Our classes in one of Dassl's registries.

    A name that is taken stays the host's. A name that the host registers after us becomes the host's: Dassl's own
    registry would refuse it. Either way our class can then be had as ``PromptReg.NAME``.
    """

    def __init__(self, registry: Any) -> None:
        self.registry, self.ours = registry, {}
        self._register = registry.register
        registry.register = self.register

    def add(self, cls: C) -> C:
        """Class decorator: enter one of our classes."""
        self.ours[cls.__name__] = cls
        self.enter(cls.__name__)
        return cls

    def enter(self, name: str, override: bool = False) -> None:
        """Enter our class of ``name``; a host's class of that name gives way only where ``override`` is set."""
        if override or name not in self.registry.registered_names():
            self._register(self.ours[name], force=True)
        elif self.registry.get(name) is not self.ours[name]:
            self._keep_aside(name)

    def register(self, obj: Any = None, force: bool = False) -> Any:
        """What the host calls as ``REGISTRY.register()``."""
        if obj is None:
            return lambda decorated: self.register(decorated, force)
        name = obj.__name__
        held = name in self.ours and name in self.registry.registered_names()
        if held and self.registry.get(name) is self.ours[name]:
            self._keep_aside(name)
            force = True
        self._register(obj, force=force)
        return obj

    def _keep_aside(self, name):
        self.registry._obj_map[PREFIX + name] = self.ours[name]


SHELF = Shelf(TRAINER_REGISTRY)  # our trainers
