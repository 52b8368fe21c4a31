"""One config from CoOp's flags: defaults, dataset file, method file, flags, KEY VALUE pairs; later ones win."""
import difflib
import os
import re

import yaml

from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from dassl.evaluation.build import EVALUATOR_REGISTRY

from ..errors import InputError
from .checks import check_name, check_sections, check_values
from .flags import FLAGS, SEVERAL
from .yaml_text import PlainLoader, keys, refuse_doubtful_keys


def setup_cfg(args):
    """Return the frozen config of parsed flags, and {key: where its value came from} for all that was set.

    Raises:
        InputError: a file that is missing or not YAML, an unknown key (names the nearest), a value of the wrong type,
            an unknown trainer or evaluator.
    """
    cfg, origin = get_cfg_default(), {}
    for flag in SEVERAL:  # such a flag, if it is the last one, has taken the KEY VALUE pairs behind it as well
        words = getattr(args, flag, None) or []
        at = next((i for i, word in enumerate(words) if re.fullmatch(r"[A-Z]\w*(\.[A-Z]\w*)+", word)), len(words))
        if at < len(words):
            setattr(args, flag, words[:at] or None)
            args.opts = words[at:] + args.opts

    def merge(change, source):
        before = keys(cfg)
        try:
            change()
        except (KeyError, ValueError, AssertionError, TypeError, AttributeError) as error:  # as yacs pleases
            if "on-existent" in str(error):  # yacs's word for a key that no default has, as two kinds of exception
                raise InputError(f"{source}: {_unknown(error, before)}") from None
            raise InputError(f"{source}: {_mistyped(error) or ' '.join(str(error).split())}") from None
        except (RecursionError, MemoryError):  # of yacs, which reads words as Python's literals
            raise InputError(f"{source}: a value is nested too deeply: correct it") from None
        origin.update({k: source for k, v in keys(cfg).items() if k not in before or repr(before[k]) != repr(v)})

    for path in filter(None, (args.dataset_config_file, args.config_file)):
        if not os.path.isfile(path):
            raise InputError(f"there is no config file {path}: correct --config-file or --dataset-config-file"
                             + _nearest_file(path))
        if not path.endswith((".yaml", ".yml")):
            raise InputError(f"{path} is not a .yaml file")
        merge(lambda path=path: _merge_file(cfg, path), path)
    given = {key: getattr(args, flag) for flag, key in FLAGS.items() if getattr(args, flag, None) not in (None, "")}
    for key, value in given.items():
        merge(lambda key=key, value=value: cfg.merge_from_list([key, value]), "the command line")
    if len(args.opts) % 2:
        raise InputError(f"the command line: {args.opts[-1]} has no value: give pairs of KEY VALUE")
    for key, value in zip(args.opts[::2], args.opts[1::2], strict=True):
        if leaf := next((known for known in keys(cfg) if key.startswith(f"{known}.")), None):
            raise InputError(f"the command line: unknown key {key}: {leaf} has no keys below it")
        if any(known.startswith(f"{key}.") for known in keys(cfg)):
            raise InputError(f"the command line: {key} is {value!r}: it is a section, give one of its keys")
    merge(lambda: cfg.merge_from_list(args.opts), "the command line")
    if args.no_cache:
        cfg.TRAINER.PROMPTREG.CACHE = False
    check_name("--trainer", cfg.TRAINER.NAME, TRAINER_REGISTRY)
    check_name("TEST.EVALUATOR", cfg.TEST.EVALUATOR, EVALUATOR_REGISTRY)
    check_values(cfg, origin)
    check_sections(cfg, origin)
    cfg.freeze()
    return cfg, origin


def _merge_file(cfg, path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            refuse_doubtful_keys(yaml.compose(file, PlainLoader))
        cfg.merge_from_file(path)
    except AttributeError:  # of what is no mapping
        raise ValueError("it is not a config in YAML (it has no KEY: VALUE at its top level)") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not a config in YAML ({error})") from None


def _unknown(error, known):
    key = str(error.args[0]).rpartition(": ")[2].strip("'")
    near = difflib.get_close_matches(key, known, 1, 0.5)
    return f"unknown key {key}" + (f": did you mean {near[0]}?" if near else "")


def _mistyped(error):
    """Return yacs's complaint about a value's type in the words of the other complaints; None for another complaint."""
    told = re.match(r"Type mismatch \(<class '([\w.]+)'> vs. .*? with values \((.*) vs. (.*)\) for config key: (\S+)",
                    str(error), re.DOTALL)
    if not told:
        return None
    wanted, default, given, key = told.groups()
    if wanted.endswith("CfgNode"):
        return f"{key} is {given!r}: it is a section, give its keys below it or leave it out"
    return f"{key} is {given!r}: it must be of type {wanted}, as {default!r} is"


def _nearest_file(path):
    folder = os.path.dirname(path)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    near = difflib.get_close_matches(os.path.basename(path), names, 1, 0.3)
    return f" (the nearest there is {near[0]})" if near else ""
