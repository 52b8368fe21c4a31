"""What a config's values must be besides of the right type, and which keys have an effect."""
import difflib
import logging
from typing import Any

from yacs.config import CfgNode

from dassl.config import get_cfg_default
from dassl.data.transforms.transforms import AVAI_CHOICES
from dassl.engine import TRAINER_REGISTRY
from dassl.optim.lr_scheduler import AVAI_SCHEDS
from dassl.optim.optimizer import AVAI_OPTIMS

from ..errors import InputError
from .defaults import limits
from .limits import POSITIVE, Limit, at_least, one_of
from .yaml_text import flatten

log = logging.getLogger("promptreg")
COMMAND_LINE = "the command line"  # as the origin of a value
SAMPLERS = ("RandomSampler", "SequentialSampler", "RandomDomainSampler", "SeqDomainSampler", "RandomClassSampler")
# What the values of Dassl's keys must be besides of the right type; ours are declared with their limits.
SIZES, NOT_NEGATIVE = at_least(1), at_least(0)
ACCEPTED = {
    "SEED": Limit("below 4294967296, negative for none", lambda value: value < 2 ** 32),
    "OPTIM.MAX_EPOCH": NOT_NEGATIVE, "OPTIM.WEIGHT_DECAY": NOT_NEGATIVE, "OPTIM.MOMENTUM": NOT_NEGATIVE,
    "OPTIM.WARMUP_TYPE": one_of("constant", "linear"),
    "TRAIN.COUNT_ITER": one_of("train_x", "train_u", "smaller_one"),
    "OPTIM.NAME": one_of(*AVAI_OPTIMS), "OPTIM.LR_SCHEDULER": one_of(*AVAI_SCHEDS),
    "OPTIM.LR": POSITIVE, "TRAIN.PRINT_FREQ": SIZES,
    "DATALOADER.TRAIN_X.BATCH_SIZE": SIZES, "DATALOADER.TEST.BATCH_SIZE": SIZES,
    "DATALOADER.NUM_WORKERS": NOT_NEGATIVE, "DATALOADER.TRAIN_X.N_INS": SIZES,
    "DATALOADER.K_TRANSFORMS": Limit("1: these methods learn from one view of an image", lambda value: value == 1),
    "INPUT.NO_TRANSFORM": Limit("False: CLIP reads tensors of one size", lambda value: value is False),
    "INPUT.SIZE": Limit("two positive numbers", lambda value: len(value) == 2 and min(value) >= 1),
    "DATALOADER.TRAIN_X.SAMPLER": one_of(*SAMPLERS),
    "INPUT.TRANSFORMS": Limit(f"of {', '.join(AVAI_CHOICES)}", lambda value: set(value) <= {*AVAI_CHOICES}),
    "INPUT.INTERPOLATION": one_of("bilinear", "bicubic", "nearest"),
    "INPUT.RRCROP_SCALE": Limit("two shares of the image's area, the smaller first",
                                lambda value: len(value) == 2 and 0 < value[0] <= value[1] <= 1),
    "INPUT.CROP_PADDING": NOT_NEGATIVE,
    "INPUT.GB_K": Limit("odd and positive", lambda value: value % 2 == 1 and value > 0),
    **{f"INPUT.COLORJITTER_{part}": NOT_NEGATIVE for part in "BCS"},
    "INPUT.COLORJITTER_H": Limit("between 0 and 0.5", lambda value: 0 <= value <= 0.5),
    "INPUT.PIXEL_MEAN": Limit("three numbers",
                              lambda value: len(value) == 3 and all(abs(v) < float("inf") for v in value)),
    "INPUT.PIXEL_STD": Limit("three positive numbers", lambda value: len(value) == 3 and min(value) > 0),
    "TEST.SPLIT": one_of("test", "val"), "TEST.FINAL_MODEL": one_of("last_step", "best_val"),
}


def check_name(key: str, name: str, registry: Any) -> None:
    """Raise InputError for a name that the registry does not know; suggests the nearest."""
    known = registry.registered_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise InputError(f"{key} {name or '(none)'}: "
                         + (f"did you mean {near[0]}?" if near else f"choose one of {', '.join(sorted(known))}"))


def check_sections(cfg: CfgNode, origin: dict[str, str]) -> None:
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
        if others and source == COMMAND_LINE:
            raise InputError(f"{source}: {others[0]} has no effect: {cfg.TRAINER.NAME}'s keys are TRAINER.{own}.…")
        if others and own not in found and not cfg.TRAINER.NAME.startswith("ZeroshotCLIP"):
            log.warning("%s: %s has no effect, and none of %s's keys, TRAINER.%s.…, is set: their defaults are used",
                        source, others[0], cfg.TRAINER.NAME, own)


def check_values(cfg: CfgNode, origin: dict[str, str]) -> None:
    """Raise InputError for a value that nothing could be done with, naming where it came from and what is accepted."""
    given, defaults = flatten(cfg), flatten(get_cfg_default())
    for key, value in given.items():
        if value is None and defaults.get(key) is not None:
            raise InputError(f"{origin.get(key, 'the defaults')}: {key} is empty: it must be of type "
                             f"{type(defaults[key]).__name__}, as {defaults[key]!r} is")
    for key, limit in {**ACCEPTED, **limits()}.items():
        if key in given and not limit.accepts(given[key]):
            raise InputError(f"{origin.get(key, 'the defaults')}: {key} is {given[key]!r}: it must be {limit.words}")
