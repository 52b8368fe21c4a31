"""One config from CoOp's flags: defaults, dataset file, method file, flags, KEY VALUE pairs; later ones win."""
import argparse
import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import yaml
from yacs.config import CfgNode

from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from dassl.evaluation.build import EVALUATOR_REGISTRY

from ..compat.registry import TRAINERS
from ..errors import InputError
from .checks import COMMAND_LINE, check_name, check_sections, check_values
from .flags import FLAGS, SEVERAL
from .yaml_text import PlainLoader, flatten, refuse_doubtful_keys

Origin = dict[str, str]  # {dotted key: file or COMMAND_LINE that its value came from}


def setup_cfg(args: argparse.Namespace) -> tuple[CfgNode, Origin]:
    """Return the frozen config of parsed flags, and {key: where its value came from} for all that was set.

    Raises:
        InputError: a file that does not exist or is not YAML, an unknown key (suggests the nearest), a value of the
            wrong type, an unknown trainer or evaluator.
    """
    cfg, origin = get_cfg_default(), {}
    _return_opts(args)
    load_files(cfg, origin, [path for path in (args.dataset_config_file, args.config_file) if path])
    apply_flags(cfg, origin, args)
    apply_opts(cfg, origin, args.opts)
    if args.no_cache:
        cfg.TRAINER.PROMPTREG.CACHE = False
    cfg.TRAINER.NAME = TRAINERS.find(cfg.TRAINER.NAME)
    check_name("--trainer", cfg.TRAINER.NAME, TRAINER_REGISTRY)
    check_name("TEST.EVALUATOR", cfg.TEST.EVALUATOR, EVALUATOR_REGISTRY)
    check_values(cfg, origin)
    check_sections(cfg, origin)
    cfg.freeze()
    return cfg, origin


def _return_opts(args: argparse.Namespace) -> None:
    """Give KEY VALUE pairs back to ``args.opts`` where the flag before them, one of several words, has taken them."""
    for flag in SEVERAL:
        words = getattr(args, flag, None) or []
        at = next((i for i, word in enumerate(words) if re.fullmatch(r"[A-Z]\w*(\.[A-Z]\w*)+", word)), len(words))
        if at < len(words):
            setattr(args, flag, words[:at] or None)
            args.opts = words[at:] + args.opts


def load_files(cfg: CfgNode, origin: Origin, paths: Iterable[str]) -> None:
    """Merge config files into ``cfg``; later ones win.

    Raises:
        InputError: a file that does not exist or is not YAML, an unknown key, a value of the wrong type.
    """
    for path in paths:
        if not os.path.isfile(path):
            raise InputError(f"there is no config file {path}: correct --config-file or --dataset-config-file"
                             + _nearest_file(path))
        if not path.endswith((".yaml", ".yml")):
            raise InputError(f"{path} is not a .yaml file")
        _merge(cfg, origin, partial(_merge_file, cfg, path), path)
        with open(path, encoding="utf-8-sig") as file:  # what says the default again is said there, too
            origin.update(dict.fromkeys(flatten(yaml.load(file, PlainLoader) or {}), path))


def apply_flags(cfg: CfgNode, origin: Origin, args: argparse.Namespace) -> None:
    """Set the keys of the flags that were given (``FLAGS``). Raises InputError for a value of the wrong type."""
    for flag, key in FLAGS.items():
        value = getattr(args, flag, None)
        if value not in (None, ""):
            _merge(cfg, origin, partial(cfg.merge_from_list, [key, value]), COMMAND_LINE)


def apply_opts(cfg: CfgNode, origin: Origin, opts: Sequence[str]) -> None:
    """Set the keys of ``[KEY, VALUE, KEY, VALUE, ...]``.

    Raises:
        InputError: a key without a value, an unknown key, a section, a value of the wrong type.
    """
    if flag := next((key for key in opts[::2] if key.startswith("--")), None):
        raise InputError(f"{COMMAND_LINE}: {flag} comes behind KEY VALUE pairs: put all flags before them")
    if len(opts) % 2:
        raise InputError(f"{COMMAND_LINE}: {opts[-1]} has no value: give pairs of KEY VALUE")
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        if leaf := next((known for known in flatten(cfg) if key.startswith(f"{known}.")), None):
            raise InputError(f"{COMMAND_LINE}: unknown key {key}: {leaf} has no keys below it")
        if any(known.startswith(f"{key}.") for known in flatten(cfg)):
            raise InputError(f"{COMMAND_LINE}: {key} is {value!r}: it is a section, give one of its keys")
    _merge(cfg, origin, lambda: cfg.merge_from_list(opts), COMMAND_LINE)


def _merge(cfg: CfgNode, origin: Origin, change: Callable[[], Any], source: str) -> None:
    """Call ``change``, which merges into ``cfg``, and note ``source`` as the origin of what it has changed."""
    before = flatten(cfg)
    try:
        change()
    except (KeyError, ValueError, AssertionError, TypeError, AttributeError) as error:  # yacs raises all of these
        if "on-existent" in str(error):  # yacs's word for a key that no default has, in two types of exception
            raise InputError(f"{source}: {_unknown(error, before)}") from None
        raise InputError(f"{source}: {_mistyped(error) or ' '.join(str(error).split())}") from None
    except (RecursionError, MemoryError):  # of yacs, which reads words as Python's literals
        raise InputError(f"{source}: a value is nested too deeply: correct it") from None
    origin.update({k: source for k, v in flatten(cfg).items() if k not in before or repr(before[k]) != repr(v)})


def _merge_file(cfg: CfgNode, path: str) -> None:
    try:
        with open(path, encoding="utf-8-sig") as file:
            refuse_doubtful_keys(yaml.compose(file, PlainLoader))
        cfg.merge_from_file(path)
    except AttributeError:  # of what is no mapping
        raise ValueError("it is not a config in YAML (it has no KEY: VALUE at its top level)") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not a config in YAML ({error})") from None


def _unknown(error: Exception, known: Iterable[str]) -> str:
    key = str(error.args[0]).rpartition(": ")[2].strip("'")
    near = difflib.get_close_matches(key, known, 1, 0.5)
    return f"unknown key {key}" + (f": did you mean {near[0]}?" if near else "")


def _mistyped(error: Exception) -> str | None:
    """Return yacs's message about a value's type in plain English; None for another message."""
    found = re.match(r"Type mismatch \(<class '([\w.]+)'> vs. .*? with values \((.*) vs. (.*)\) for config key: (\S+)",
                    str(error), re.DOTALL)
    if not found:
        return None
    wanted, default, given, key = found.groups()
    if wanted.endswith("CfgNode"):
        return f"{key} is {given!r}: it is a section, give its keys below it or leave it out"
    return f"{key} is {given!r}: it must be of type {wanted}, as {default!r} is"


def _nearest_file(path: str) -> str:
    folder = os.path.dirname(path)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    near = difflib.get_close_matches(os.path.basename(path), names, 1, 0.3)
    return f" (the nearest there is {near[0]})" if near else ""
