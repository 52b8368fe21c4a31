"""Config keys: declared beside their method, and kept through what a host repository does with Dassl's config.

A host's ``extend_cfg`` writes sections of its own over ours: with fewer keys, or a key of another type (CTX_INIT is
words to CoOp and a boolean to ProGrad). yacs would then refuse our config files. So the root of Dassl's default config
becomes a ``HostConfig``, which before every merge fills in what our methods have declared.
"""
import contextlib

from yacs.config import CfgNode

from dassl.config import defaults

HOUSE = "PROMPTREG"  # our own keys: cfg.TRAINER.PROMPTREG
_DECLARED = {}  # section -> {key: default}; below TRAINER but for those in _AT_ROOT
_AT_ROOT = set()


def declare(section, *, at_root=False, **keys):
    """Add a method's defaults to Dassl's default config, as cfg.TRAINER.<section>; keys that are there stay.

    A default of None accepts values of any type.
    """
    _DECLARED.setdefault(section, {}).update(keys)
    if at_root:
        _AT_ROOT.add(section)
    _fill(defaults._C)


def settings(cfg, section):
    """Return cfg.TRAINER.<section> over our defaults: a host repository may know fewer keys, or have replaced them."""
    return CfgNode({**_DECLARED.get(section, {}), **cfg.TRAINER.get(section, {})})


def defaults_of(section):
    """Return {key: default} of what was declared for a section."""
    return _DECLARED.get(section, {})


def _section(cfg, section):
    return (cfg if section in _AT_ROOT else cfg.TRAINER).setdefault(section, CfgNode())


def _fill(cfg):
    for section, keys in _DECLARED.items():
        node = _section(cfg, section)
        for key, default in keys.items():
            node.setdefault(key, default)


class HostConfig(CfgNode):
    """Dassl's config, into which our files can be merged whatever ``extend_cfg`` has done to it."""

    def merge_from_other_cfg(self, cfg_other):
        with self._prepared():
            super().merge_from_other_cfg(cfg_other)

    def merge_from_list(self, cfg_list):
        with self._prepared():
            super().merge_from_list(cfg_list)

    @contextlib.contextmanager
    def _prepared(self):
        """While it lasts, all declared keys are there; those of any type are None, which yacs lets anything replace."""
        _fill(self)
        kept = []
        for section, keys in _DECLARED.items():
            node = _section(self, section)
            for key in (key for key, default in keys.items() if default is None):
                kept.append((node, key, node[key]))
                dict.__setitem__(node, key, None)
        try:
            yield
        finally:
            for node, key, value in kept:
                if node[key] is None:
                    dict.__setitem__(node, key, value)

    @classmethod
    def _decode_cfg_value(cls, value):
        """Nodes below the root are plain ones; yacs compares their types."""
        return CfgNode._decode_cfg_value(value)


object.__setattr__(defaults._C, "__class__", HostConfig)  # CfgNode's own __setattr__ makes keys
