"""Trains a method on somebody's own pictures: what ``promptreg fit`` and ``promptreg.fit`` do."""
from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..clip import clean
from ..clip.load import byte_pair_tokenizer
from ..clip.weights import EMBEDDED
from ..compat import engine
from ..compat.registry import TRAINERS
from ..config import lookup
from ..config.defaults import defaults_of
from ..config.flags import parser
from ..errors import InputError
from ..training import run as training
from ..training.result import load_result
from . import page
from .model import Classifier, load
from .progress import Progress

MOST_TOKENS = 4  # of a context that starts from words, in the methods that prompt both towers (MaPLe)


@dataclass(frozen=True)
class Pictures:
    """What a folder or table of pictures holds.

    Attributes:
        name: the folder's, or the table's, name.
        classes: how many.
        train, val, test: images in each split.
    """

    name: str
    classes: int
    train: int
    val: int
    test: int

    def __str__(self) -> str:
        images = self.train + self.val + self.test
        return (f"{self.name}: {self.classes} classes, {images} images (train {self.train}, val {self.val}, test "
                f"{self.test})")


def fit(images: str | os.PathLike, shots: int = 16, method: str = "PromptSRC",
        backbone: str | None = None, output: str | os.PathLike | None = None, template: str | None = None,
        epochs: int | None = None, seed: int = 1, opts: Sequence[object] = ()) -> Classifier:
    """Train a classifier on pictures of one's own; prints how far it is.

    Args:
        images: a folder of class folders, a CSV (columns path, class and, if wanted, split), or a folder with one CSV.
        shots: training images a class; -1 for all.
        method: a trainer's name, or TRAINER/CONFIG for one of its configs.
        backbone: CLIP's name, a file of weights, "demo" or "study"; by default $PROMPTREG_BACKBONE, else ViT-B/16.
        output: the run's folder, runs/NAME by default. The same call again goes on where it stopped.
        template: words that the prompts start from, "a satellite photo of {}.".
        epochs: how often every training image is seen; by default as the method's config says.
        seed: of all random draws.
        opts: KEY VALUE pairs, as behind train.py's flags.

    Returns:
        The ``Classifier``. In its ``folder``: prompts, log.txt, result.json and the page index.html.

    Raises:
        InputError: pictures, weights or words that do not fit; one line each.

    Example:
        >>> m = fit("photos/", shots=16)
        >>> m("new.jpg")
    """
    backbone = backbone or os.environ.get("PROMPTREG_BACKBONE") or "ViT-B/16"
    args = arguments(images, shots, method, backbone, output, template, epochs, seed, opts)
    print(f"{count(images)} · {args.trainer} · {backbone}")
    with training.logged(Progress()):
        training.run(args)
    with _silent():  # of notes: the run has told them
        classifier = load(args.output_dir)
        page.write(args.output_dir, images, classifier)
    return classifier


def arguments(images: str | os.PathLike, shots: int, method: str, backbone: str, output: str | os.PathLike | None,
              template: str | None, epochs: int | None, seed: int, opts: Sequence[object]) -> argparse.Namespace:
    """Return train.py's parsed flags for ``fit``'s arguments."""
    if shots < 1 and shots != -1:
        raise InputError(f"shots must be at least 1, or -1 for all training images, got {shots}")
    trainer, config = _config(method, backbone)
    keys = ["DATASET.NUM_SHOTS", shots, "MODEL.BACKBONE.NAME", backbone,
            "DATALOADER.NUM_WORKERS", 0 if backbone in EMBEDDED else min(8, os.cpu_count() or 1)]
    keys += [] if epochs is None else ["OPTIM.MAX_EPOCH", epochs]
    keys += [] if template is None else _start_from(template, trainer)
    folder = Path(output or Path("runs", Path(os.path.abspath(images)).stem))
    if os.path.isdir(images) and Path(images).resolve() in folder.resolve().parents:
        raise InputError(f"output {folder} lies in the pictures' folder, where it would be taken for a class: choose "
                         "another")
    return parser().parse_args(["--root", str(images), "--output-dir", str(folder), "--seed", str(seed),
                                "--trainer", trainer, "--config-file", config, "--dataset-config-file",
                                lookup.dataset_config("image_folder"), *map(str, (*keys, *opts))])


def _config(method: str, backbone: str) -> tuple[str, str]:
    """Return (trainer, path of the config): of several configs the one for this backbone and many epochs."""
    name = method.partition("/")[0]
    known = next((names for trainer, names in lookup.methods().items() if trainer.lower() == name.lower()), [])
    if "/" in method or os.path.isfile(method) or len(known) < 2:
        return lookup.method_config(method)
    tower = re.sub(r"[^a-z0-9]", "", backbone.lower())
    fits = [config for config in known if re.sub(r"[^a-z0-9]", "", config).startswith(tower)]
    fits = fits or [config for config in known if config not in EMBEDDED]
    best = min(fits, key=lambda config: ("few_shot" not in config, "ep50" not in config, len(config), config))
    return lookup.method_config(f"{name}/{best}")


def _start_from(template: str, trainer: str) -> list[object]:
    """Return the KEY VALUE pairs that let a method's context start from the words of a template.

    Raises:
        InputError: the class name is not the template's end, or the method cannot start from these words.
    """
    words = re.fullmatch(r"\s*(.*\S)\s*\{\}\s*\.?\s*", template)
    if not words or "{}" in words[1]:
        raise InputError("template must end in {} for the class name, as 'a satellite photo of {}.' does, got "
                         f"{template!r}")
    section = getattr(TRAINERS.entries.get(trainer), "SECTION", "")
    defaults = defaults_of(section)
    if "CTX_INIT" not in defaults:
        raise InputError(f"{trainer} has no context that could start from the words of a template: choose another "
                         "method, PromptSRC or CoOp say")
    length = len(byte_pair_tokenizer(77).encode(clean(words[1])))
    both = "N_CTX_TEXT" in defaults or "PROMPT_DEPTH" in defaults
    if both and length > MOST_TOKENS:
        raise InputError(f"template: '{words[1]}' has {length} tokens, and {trainer} starts from at most "
                         f"{MOST_TOKENS}: shorten it, or choose CoOp")
    key = next((key for key in ("N_CTX_TEXT", "N_CTX") if key in defaults), None)
    return [f"TRAINER.{section}.CTX_INIT", words[1], *([f"TRAINER.{section}.{key}", length] if key else [])]


def count(images: str | os.PathLike) -> Pictures:
    """Return what a folder or table of pictures holds; writes nothing.

    Raises:
        InputError: it is neither, or is not laid out as one.
    """
    kind = engine.sibling("datasets").CLASSES["ImageFolder"]
    root = os.path.abspath(os.path.expanduser(images))
    with _silent():  # of notes: the run tells them
        _, splits = kind.whole(root, writes=False)
    classes = {item.label for split in splits for item in split}
    return Pictures(Path(root).stem if os.path.isfile(root) else Path(root).name, len(classes), *map(len, splits))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    log = logging.getLogger("promptreg")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def summary(folder: str | Path) -> str:
    """Return a finished run's figures in one line: accuracy, the worst class, the page."""
    results = (load_result(folder) or {})["results"]
    figures = results.get("test") or next(iter(results.values()))
    return "   ".join(filter(None, [f"accuracy {figures['accuracy']:.1f} %", page.worst(figures),
                                    f"page: {Path(folder) / page.FILE}"]))
