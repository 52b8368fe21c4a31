"""One config from CoOp's flags: defaults, dataset file, method file, flags, KEY VALUE pairs; later ones win."""
import difflib
import logging
import os
import re

import yaml

from dassl.config import get_cfg_default
from dassl.data.transforms.transforms import AVAI_CHOICES
from dassl.engine import TRAINER_REGISTRY
from dassl.evaluation.build import EVALUATOR_REGISTRY
from dassl.optim.lr_scheduler import AVAI_SCHEDS
from dassl.optim.optimizer import AVAI_OPTIMS

from ..errors import InputError

log = logging.getLogger("promptreg")
SAMPLERS = ("RandomSampler", "SequentialSampler", "RandomDomainSampler", "SeqDomainSampler", "RandomClassSampler")


def one_of(*names):
    return f"one of {', '.join(names)}", names.__contains__


# What a key's value must be besides of the right type: {key: (words, whether it is)}.
SIZES = ("at least 1", lambda value: value >= 1)
NOT_NEGATIVE = ("at least 0", lambda value: 0 <= value < float("inf"))
ACCEPTED = {
    "SEED": ("below 4294967296, negative for none", lambda value: value < 2 ** 32),
    "OPTIM.MAX_EPOCH": NOT_NEGATIVE, "OPTIM.WEIGHT_DECAY": NOT_NEGATIVE, "OPTIM.MOMENTUM": NOT_NEGATIVE,
    "OPTIM.WARMUP_TYPE": one_of("constant", "linear"), "TRAIN.CHECKPOINT_MINUTES": NOT_NEGATIVE,
    "TRAIN.COUNT_ITER": one_of("train_x", "train_u", "smaller_one"),
    "OPTIM.NAME": one_of(*AVAI_OPTIMS), "OPTIM.LR_SCHEDULER": one_of(*AVAI_SCHEDS),
    "OPTIM.LR": ("a positive number", lambda value: 0 < value < float("inf")),
    "TRAIN.PRINT_FREQ": SIZES,
    "DATALOADER.TRAIN_X.BATCH_SIZE": SIZES, "DATALOADER.TEST.BATCH_SIZE": SIZES,
    "DATALOADER.NUM_WORKERS": NOT_NEGATIVE, "DATALOADER.TRAIN_X.N_INS": SIZES,
    "DATALOADER.K_TRANSFORMS": ("1: these methods learn from one view of an image", lambda value: value == 1),
    "INPUT.NO_TRANSFORM": ("False: CLIP reads tensors of one size", lambda value: value is False),
    "INPUT.SIZE": ("two positive numbers", lambda value: len(value) == 2 and min(value) >= 1),
    "DATALOADER.TRAIN_X.SAMPLER": one_of(*SAMPLERS),
    "INPUT.TRANSFORMS": (f"of {', '.join(AVAI_CHOICES)}", lambda value: set(value) <= {*AVAI_CHOICES}),
    "INPUT.INTERPOLATION": one_of("bilinear", "bicubic", "nearest"),
    "INPUT.RRCROP_SCALE": ("two shares of the image's area, the smaller first",
                           lambda value: len(value) == 2 and 0 < value[0] <= value[1] <= 1),
    "INPUT.CROP_PADDING": NOT_NEGATIVE, "INPUT.GB_K": ("odd and positive", lambda value: value % 2 == 1 and value > 0),
    **{f"INPUT.COLORJITTER_{part}": NOT_NEGATIVE for part in "BCS"},
    "INPUT.COLORJITTER_H": ("between 0 and 0.5", lambda value: 0 <= value <= 0.5),
    "INPUT.PIXEL_MEAN": ("three numbers", lambda value: len(value) == 3 and all(abs(v) < float("inf") for v in value)),
    "INPUT.PIXEL_STD": ("three positive numbers", lambda value: len(value) == 3 and min(value) > 0),
    "TEST.SPLIT": one_of("test", "val"), "TEST.FINAL_MODEL": one_of("last_step", "best_val"),
    "TRAINER.PROMPTREG.TEXT_MEMORY": ("a positive number", lambda value: value > 0),
}

SEVERAL = ("source_domains", "target_domains", "transforms")  # flags that take one word or more
FLAGS = {"root": "DATASET.ROOT", "output_dir": "OUTPUT_DIR", "resume": "RESUME", "seed": "SEED",
         "source_domains": "DATASET.SOURCE_DOMAINS", "target_domains": "DATASET.TARGET_DOMAINS",
         "transforms": "INPUT.TRANSFORMS", "trainer": "TRAINER.NAME", "backbone": "MODEL.BACKBONE.NAME",
         "head": "MODEL.HEAD.NAME"}


class PlainLoader(yaml.SafeLoader):
    """YAML as configs need it: without aliases, a few of which can stand for gigabytes, and of no great depth."""

    DEEPEST = 50
    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: *{event.anchor} is an alias: write out what it "
                                 "stands for")
        if self.depth == self.DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {self.DEEPEST} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def keys(node, prefix=""):
    """Return {dotted key: value} of all leaves of a config."""
    found = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found.update(keys(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


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
    _check_name("--trainer", cfg.TRAINER.NAME, TRAINER_REGISTRY)
    _check_name("TEST.EVALUATOR", cfg.TEST.EVALUATOR, EVALUATOR_REGISTRY)
    _check_values(cfg, origin)
    _check_sections(cfg, origin)
    cfg.freeze()
    return cfg, origin


def _check_name(key, name, registry):
    """Raise InputError for a name that the registry does not know; suggests the nearest."""
    known = registry.registered_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise InputError(f"{key} {name or '(none)'}: "
                         + (f"did you mean {near[0]}?" if near else f"choose one of {', '.join(sorted(known))}"))


def _check_sections(cfg, origin):
    """Raise InputError for a key of another method on the command line; warn of a file that has such keys alone."""
    known = {name: getattr(TRAINER_REGISTRY.get(name), "SECTION", None) for name in TRAINER_REGISTRY.registered_names()}
    own = known[cfg.TRAINER.NAME]
    if own is None:  # a host's trainer, or a meta-training, which reads several
        return
    sections: dict[str, dict[str, list[str]]] = {}
    for key, source in origin.items():
        section = key.split(".")[1] if key.startswith("TRAINER.") else ""
        if section in known.values():
            sections.setdefault(source, {}).setdefault(section, []).append(key)
    for source, found in sections.items():
        others = [key for section, keys in found.items() if section != own for key in keys]
        if others and source == "the command line":
            raise InputError(f"{source}: {others[0]} has no effect: {cfg.TRAINER.NAME}'s keys are TRAINER.{own}.…")
        if others and own not in found and not cfg.TRAINER.NAME.startswith("ZeroshotCLIP"):
            log.warning("%s: %s has no effect, and there is none of %s's keys, TRAINER.%s.…: their defaults are taken",
                        source, others[0], cfg.TRAINER.NAME, own)


def _check_values(cfg, origin):
    """Raise InputError for a value that nothing could be done with, naming where it came from and what is accepted."""
    given, defaults = keys(cfg), keys(get_cfg_default())
    for key, value in given.items():
        if value is None and defaults.get(key) is not None:
            raise InputError(f"{origin.get(key, 'the defaults')}: {key} is empty: it must be of type "
                             f"{type(defaults[key]).__name__}, as {defaults[key]!r} is")
    for key, (accepted, fits) in ACCEPTED.items():
        try:
            fine = key not in given or fits(given[key])
        except TypeError:  # a list of words, say
            fine = False
        if not fine:
            raise InputError(f"{origin.get(key, 'the defaults')}: {key} is {given[key]!r}: it must be {accepted}")


def _merge_file(cfg, path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            _refuse_doubtful_keys(yaml.compose(file, PlainLoader))
        cfg.merge_from_file(path)
    except AttributeError:  # of what is no mapping
        raise ValueError("it is not a config in YAML (it has no KEY: VALUE at its top level)") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not a config in YAML ({error})") from None


def _refuse_doubtful_keys(node, section=""):
    """Raise ValueError where a YAML mapping has a key twice (the last would win), or one that no config has."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = {}
    for key, value in node.value:
        name, line = key.value, key.start_mark.line + 1
        if key.tag != "tag:yaml.org,2002:str" or "." in name:
            raise ValueError(f"line {line}: {name} is no key: write each section on a line of its own, what it holds "
                             "indented below it")
        if name in seen:
            raise ValueError(f"line {line}: {section}{name} is there twice, first in line {seen[name]}: keep one")
        seen[name] = line
        _refuse_doubtful_keys(value, f"{section}{name}.")


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


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        """Python keeps equal constants once: they are not to come out as aliases, which nothing here reads."""
        return True


def dumped(cfg):
    """Return a config as YAML that ``parsed`` reads."""
    def plain(node):
        return {key: plain(value) if isinstance(value, dict) else value for key, value in node.items()}
    return yaml.dump(plain(cfg), Dumper=_PlainDumper)


def parsed(text):
    """Return the config that ``text`` holds as YAML, as plain dicts; None where it holds none. Nothing in it is run."""
    try:
        found = yaml.load(text, PlainLoader)
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # as YAML pleases
        return None
    return found if isinstance(found, dict) else None


# What may differ between parts of one run: keys, and what they begin with.
PASSING = ("OUTPUT_DIR", "RESUME", "VERBOSE", "DATASET.ROOT", "DATASET.ALLOW_INCOMPLETE", "DATALOADER.NUM_WORKERS",
           "TRAIN.PRINT_FREQ", "TRAIN.CHECKPOINT_", "TRAINER.PROMPTREG.", "USE_CUDA")


def difference(one, other):
    """Return ["KEY: a here, b there", …] of two configs, but for what may differ between parts of one run."""
    a, b = ({k: list(v) if isinstance(v, tuple) else v for k, v in keys(node).items()} for node in (one, other))
    for node in (a, b):  # as which earlier versions built every bare path
        node["MODEL.BACKBONE.NAME"] = str(node.get("MODEL.BACKBONE.NAME", "")).removeprefix("openai:")
    return [f"{k} is {b.get(k)} there, {a.get(k)} here" for k in sorted({*a, *b})
            if a.get(k) != b.get(k) and not k.startswith(PASSING)]
