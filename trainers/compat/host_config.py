"""Lets our config files be merged into a host repository's config, whatever its ``extend_cfg`` has done to it.

A host writes sections of its own over ours: with fewer keys, or a key of another type (CTX_INIT is words to CoOp and a
boolean to ProGrad), which yacs refuses to merge with our files. So the root of Dassl's default config becomes a
``HostConfig``, which before every merge adds the keys that are missing. This is done here and nowhere else.
"""
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from yacs.config import CfgNode


class HostConfig(CfgNode):
    """Dassl's config, in which each declared key exists while something is merged.

    Attributes:
        fill: adds the declared keys that a config lacks, and returns (section, key) of those that take any type.
    """

    fill: ClassVar[Callable[[CfgNode], list[tuple[CfgNode, str]]]] = staticmethod(lambda cfg: [])

    def merge_from_other_cfg(self, cfg_other: CfgNode) -> None:
        """Merge as yacs does."""
        with self._filled():
            super().merge_from_other_cfg(cfg_other)

    def merge_from_list(self, cfg_list: Sequence) -> None:
        """Merge as yacs does."""
        with self._filled():
            super().merge_from_list(cfg_list)

    @contextlib.contextmanager
    def _filled(self) -> Iterator[None]:
        """Hold None, which yacs lets a value of any type replace, in the keys that take any type."""
        before = [(node, key, node[key]) for node, key in type(self).fill(self)]
        for node, key, _ in before:
            dict.__setitem__(node, key, None)
        try:
            yield
        finally:
            for node, key, value in before:
                if node[key] is None:
                    dict.__setitem__(node, key, value)

    @classmethod
    def _decode_cfg_value(cls, value: object) -> object:
        """Make plain nodes below the root; yacs compares their types."""
        return CfgNode._decode_cfg_value(value)


def install(cfg: CfgNode, fill: Callable[[CfgNode], list[tuple[CfgNode, str]]]) -> None:
    """Turn ``cfg``, and with it its clones, into a HostConfig with that ``fill``."""
    HostConfig.fill = staticmethod(fill)
    object.__setattr__(cfg, "__class__", HostConfig)  # CfgNode's own __setattr__ would make a key of it
