"""Config keys with their defaults, declared beside the method that reads them."""
from typing import Any

from yacs.config import CfgNode

from dassl.config import defaults, get_cfg_default

from ..compat import host_config
from ..errors import InputError
from .limits import Limit, Limited

GENERAL = "PROMPTREG"  # our own keys: cfg.TRAINER.PROMPTREG
KINDS = dict, str, (list, tuple), (int, float)  # a default of one of these kinds wants a value of the same
_DECLARED: dict[str, dict[str, Any]] = {}  # section -> {key: default}; below TRAINER but for those in _AT_ROOT
_AT_ROOT: set[str] = set()
_LIMITS: dict[str, dict[str, Limit]] = {}  # section -> {key: limit}


def declare(section: str, *, at_root: bool = False, **keys: Any) -> None:
    """Add a method's defaults to Dassl's default config, as cfg.TRAINER.<section>; keys that are there stay.

    Args:
        section: name of the section.
        at_root: put it at the root of the config instead of below TRAINER.
        keys: key and default. A default of None accepts values of any type; ``Limited(default, limit)`` says which
            values are accepted.
    """
    limited = {key: value for key, value in keys.items() if isinstance(value, Limited)}
    _LIMITS.setdefault(section, {}).update({key: value.limit for key, value in limited.items()})
    _DECLARED.setdefault(section, {}).update({**keys, **{key: value.default for key, value in limited.items()}})
    if at_root:
        _AT_ROOT.add(section)
    _fill(defaults._C)


def section_cfg(cfg: CfgNode, section: str) -> CfgNode:
    """Return cfg.TRAINER.<section> over our defaults: a host repository may know fewer keys, or have replaced them.

    Raises:
        InputError: a value that its key's limit does not accept.
    """
    found = CfgNode({**_DECLARED.get(section, {}), **cfg.TRAINER.get(section, {})})
    for key, limit in _LIMITS.get(section, {}).items():
        if not limit.accepts(found[key]):
            raise InputError(f"TRAINER.{section}.{key} is {found[key]!r}: it must be {limit.words}")
    return found


def limits() -> dict[str, Limit]:
    """Return {key from the config's root on: its limit} of all declared keys that have one."""
    return _from_root(_LIMITS)


def every_default() -> dict[str, Any]:
    """Return {key from the config's root on: its default} of all declared keys."""
    return _from_root(_DECLARED)


def _from_root(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"{'' if section in _AT_ROOT else 'TRAINER.'}{section}.{key}": value
            for section, keys in sections.items() for key, value in keys.items()}


def set_keys(cfg: CfgNode, section: str, keys: dict[str, Any]) -> None:
    """Set keys of cfg.TRAINER.<section>, {key: value}. Raises InputError for one that it does not have."""
    known = section_cfg(cfg, section)
    for key, value in keys.items():
        if key not in known:
            raise InputError(f"TRAINER.{section} has no key {key}: choose from {', '.join(sorted(known))}")
        cfg.merge_from_list([f"TRAINER.{section}.{key}", value])


def defaults_of(section: str) -> dict[str, Any]:
    """Return {key: default} of what was declared for a section."""
    return _DECLARED.get(section, {})


def complete(config: dict[str, Any], section: str) -> CfgNode:
    """Return the config that a file holds, with the keys that building a method needs and the file lacks.

    Args:
        config: nested dicts, which may be an older version's or another program's.
        section: of the method.

    Raises:
        ValueError: a value is of another type than its default.
    """
    cfg, empty = CfgNode(config), CfgNode({"TRAINER": CfgNode()})
    needed = {"MODEL": {"BACKBONE": {"NAME": ""}}, "INPUT": get_cfg_default().INPUT,
              "TRAINER": {name: section_cfg(empty, name) for name in (section, GENERAL)}}
    _complete(cfg, CfgNode(needed))
    return cfg


def _complete(node: CfgNode, needed: CfgNode, section: str = "") -> None:
    for key, default in needed.items():
        value = node.setdefault(key, default)
        if value is None and isinstance(default, str):  # a host's CTX_INIT, for a random start
            value = node[key] = ""
        kinds = next((kinds for kinds in KINDS if isinstance(default, kinds)), object)
        if not isinstance(value, kinds):
            raise ValueError(f"{section}{key} is {value!r}")
        if isinstance(default, dict):
            _complete(value, default, f"{section}{key}.")


def _fill(cfg: CfgNode) -> list[str]:
    """Add the declared keys that ``cfg`` lacks; return those that take a value of any type, from the root on."""
    for section, keys in _DECLARED.items():
        node = (cfg if section in _AT_ROOT else cfg.TRAINER).setdefault(section, CfgNode())
        for key, default in keys.items():
            node.setdefault(key, default)
    return [key for key, default in every_default().items() if default is None]


host_config.install(defaults._C, _fill)
