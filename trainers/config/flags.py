"""CoOp's command line, unchanged flags: train, or evaluate, one method on one dataset with one seed."""
import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..utils.console import Parser
from ..utils.paths import packaged
from . import lookup

SEVERAL = ("source_domains", "target_domains", "transforms")  # flags that take one word or more
FLAGS = {"root": "DATASET.ROOT", "output_dir": "OUTPUT_DIR", "resume": "RESUME", "seed": "SEED",
         "source_domains": "DATASET.SOURCE_DOMAINS", "target_domains": "DATASET.TARGET_DOMAINS",
         "transforms": "INPUT.TRANSFORMS", "trainer": "TRAINER.NAME", "backbone": "MODEL.BACKBONE.NAME",
         "head": "MODEL.HEAD.NAME"}


def parser() -> Parser:
    """Return the parser of CoOp's flags and our few."""
    p = Parser(description=__doc__)
    p.add_argument("--root", default="", help="folder of the datasets")
    p.add_argument("--output-dir", "--output", default="", help="folder of this run's log, checkpoints and result")
    p.add_argument("--resume", default="", help="folder to resume from, if not the output folder")
    p.add_argument("--seed", type=int, default=None, help="non-negative to fix all random draws")
    p.add_argument("--source-domains", nargs="+", help="source domains, for domain adaptation")
    p.add_argument("--target-domains", nargs="+", help="target domains, for domain adaptation")
    p.add_argument("--transforms", nargs="+", help="training transforms")
    p.add_argument("--config-file", "--method", default="", help="the method's config: a file, or METHOD/CONFIG")
    p.add_argument("--dataset-config-file", "--dataset", default="", help="the dataset's config: a file, or its name")
    p.add_argument("--trainer", default="", help="name of the method's trainer")
    p.add_argument("--backbone", default="", help="name of CLIP's backbone")
    p.add_argument("--head", default="", help="name of the head (none of these methods has one)")
    p.add_argument("--eval-only", action="store_true", help="evaluate only")
    p.add_argument("--model-dir", default="", help="folder to load prompts from, for --eval-only")
    p.add_argument("--load-epoch", type=int, help="epoch of the prompts to load, for --eval-only")
    p.add_argument("--no-train", action="store_true", help="build everything, train nothing")
    p.add_argument("--no-cache", action="store_true", help="do not keep frozen text features on disk")
    p.add_argument("--print-cfg", action="store_true",
                   help="print the merged config, each value with where it came from beside it, and leave")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    p.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs that win over the config files")
    return p


def with_packaged_configs(words: Sequence[str]) -> list[str]:
    """Return train's arguments with all names of methods and datasets replaced by paths of configs.

    ``--dataset`` takes any spelling and ``--method`` METHOD/CONFIG; ``METHOD/CONFIG DATASET`` in front of all flags say
    the same and bring the other flags' defaults. CoOp's own ``--dataset-config-file`` and ``--config-file`` take files;
    one that is not there comes from the package, where it has one of that name.

    Raises:
        InputError: a name that means nothing.
    """
    words = list(words)
    if len(words) > 1 and not words[0].startswith("-") and not words[1].startswith("-") and not _is_key(words[0]):
        words = named(words[0], words[1], words[2:])
    found = []
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag not in ("--config-file", "--dataset-config-file", "--method", "--dataset"):
            found.append(word)
            continue
        value = value if equals else next(rest, None)
        if value is None:
            found.append(word)
        elif flag == "--method":
            trainer, path = lookup.method_config(value)
            found += ["--config-file", path] + ([] if _given(words, "--trainer") else ["--trainer", trainer])
        elif flag == "--dataset":
            found += ["--dataset-config-file", lookup.dataset_config(value)]
        else:
            path = packaged_config(value, "datasets" if flag == "--dataset-config-file" else "trainers")
            found += [f"{flag}={path}"] if equals else [flag, path]
    return found


def named(method: str, dataset: str, rest: list[str]) -> list[str]:
    """Return the flags of ``train METHOD/CONFIG DATASET``: 16 shots, seed 1, the scripts' folders, unless given."""
    trainer, config = lookup.method_config(method)
    path = lookup.dataset_config(dataset)
    keys = [] if "DATASET.NUM_SHOTS" in rest else ["DATASET.NUM_SHOTS", "16"]
    shots = keys[1] if keys else rest[rest.index("DATASET.NUM_SHOTS") + 1:][:1]
    seed = _given(rest, "--seed") or "1"
    folder = Path(os.environ.get("OUTPUT") or "output", Path(path).stem, trainer,
                  f"{Path(config).stem}_{''.join(shots)}shots", f"seed{seed}")
    words = ["--trainer", trainer, "--config-file", config, "--dataset-config-file", path]
    for flag, value, others in (("--root", os.environ.get("DATA") or "data", ()), ("--seed", seed, ()),
                                ("--output-dir", str(folder), ("--output",))):
        if not any(_given(rest, name) for name in (flag, *others)):
            words += [flag, value]
    return [*words, *rest, *keys]


def _given(words: Sequence[str], flag: str) -> str | None:
    """Return the value of a flag among words, None where it is not there."""
    for word, after in zip(words, [*words[1:], ""], strict=False):  # one word too many where there are none
        if word == flag or word.startswith(f"{flag}="):
            return word.partition("=")[2] or after
    return None


def _is_key(word: str) -> bool:
    """Whether a word is a KEY of KEY VALUE pairs: SECTION.KEY."""
    return word.partition(".")[0].isupper() and "." in word and not word.endswith(".yaml")


def packaged_config(path: str, kind: str) -> str:
    """Return ``path`` if it is a file; else the package's config that it means, if there is one."""
    if not path or Path(path).is_file():
        return path
    below = path.removeprefix("configs/")
    configs = packaged("configs")
    for candidate in (configs / below, configs / kind / below, configs / kind / f"{below}.yaml"):
        if candidate.is_file():
            return str(candidate)
    return path
