"""Lets our config files be merged into a host repository's config, whatever its ``extend_cfg`` has done to it.

A host writes sections of its own over ours: with fewer keys, or a key of another type (CTX_INIT is words to CoOp and a
boolean to ProGrad), which yacs refuses to merge with our files. So the root of Dassl's default config becomes a
``HostConfig``, which before every merge adds the keys that are missing. This is done here and nowhere else.
"""
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

from yacs.config import CfgNode


class HostConfig(CfgNode):
    """Dassl's config, in which each declared key exists while something is merged.

    Attributes:
        fill: adds the declared keys that a config lacks, and returns those that take any type, dotted.
    """

    fill: ClassVar[Callable[[CfgNode], list[str]]] = staticmethod(lambda cfg: [])

    def merge_from_other_cfg(self, cfg_other: CfgNode) -> None:
        """Merge as yacs does."""
        with self._filled(_leaves(cfg_other)):
            super().merge_from_other_cfg(cfg_other)

    def merge_from_list(self, cfg_list: Sequence) -> None:
        """Merge as yacs does."""
        with self._filled(zip(cfg_list[::2], cfg_list[1::2], strict=False)):
            super().merge_from_list(cfg_list)

    @contextlib.contextmanager
    def _filled(self, given: Iterable[tuple[str, object]]) -> Iterator[None]:
        """Hold None, which yacs lets a value of any type replace, in the keys that take any type.

        Args:
            given: (dotted key, value) of what is merged meanwhile; a key that it gives None keeps None.
        """
        emptied = {key for key, value in given if self._decode_cfg_value(value) is None}
        before = {name: self._put(name, None) for name in type(self).fill(self)}
        merged = False
        try:
            yield
            merged = True
        finally:
            for name, value in before.items():
                now = self._put(name, value)
                if now is not None or merged and name in emptied:
                    self._put(name, now)

    def _put(self, name: str, value: object) -> object:
        """Put a value in the place of a dotted key's, whatever its type; returns the one that was there."""
        *sections, key = name.split(".")
        node = functools.reduce(dict.__getitem__, sections, self)
        found = node[key]
        dict.__setitem__(node, key, value)
        return found

    @classmethod
    def _decode_cfg_value(cls, value: object) -> object:
        """Make plain nodes below the root; yacs compares their types."""
        return CfgNode._decode_cfg_value(value)


def install(cfg: CfgNode, fill: Callable[[CfgNode], list[str]]) -> None:
    """Turn ``cfg``, and with it its clones, into a HostConfig with that ``fill``."""
    HostConfig.fill = staticmethod(fill)
    object.__setattr__(cfg, "__class__", HostConfig)  # CfgNode's own __setattr__ would make a key of it


def _leaves(node: CfgNode, section: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted key, value) of all that a config holds."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{section}{key}.")
        else:
            yield f"{section}{key}", value
