"""A trained classifier: pictures in, class names and probabilities out.

    import promptreg
    m = promptreg.load("runs/photos")
    m("cat.jpg")            # [("cat", 0.97), ("coffee cup", 0.02), …]
    m("holiday/")           # one such list a picture
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from PIL.Image import Image

from ..errors import InputError
from ..inference.inputs import read_own_image
from ..inference.prompted_clip import PromptedCLIP
from ..training.result import load_result
from .pictures import pictures_below

BATCH = 32  # pictures decoded and classified at once


class Prediction(list):
    """What one picture was taken for: a list of (class, probability), the most likely first.

    Attributes:
        image: the picture's path, None where it was given as pixels.
    """

    def __init__(self, pairs: Iterable[tuple[str, float]], image: Path | None = None) -> None:
        super().__init__(pairs)
        self.image = image


class Classifier:
    """A frozen CLIP with trained prompts, called with pictures. ``promptreg.load`` and ``promptreg.fit`` return one.

    Attributes:
        clip: the ``PromptedCLIP``, for features and logits.
        folder: the run's folder; None where a file was loaded.
        figures: the test set's figures as result.json has them (accuracy in percent, correct, total, …), or {}.
        notes: what belongs to these figures: warnings, a line each.
    """

    def __init__(self, clip: PromptedCLIP, source: Path) -> None:
        self.clip, self._source = clip, source
        self.folder = source if source.is_dir() else None
        content = (load_result(source) or {}) if self.folder else {}
        results = content.get("results", {})
        self.figures: dict[str, Any] = results.get("test") or next(iter(results.values()), {})
        self.notes: list[str] = list(map(str, content.get("notes") or []))

    @property
    def classes(self) -> list[str]:
        """The names of the classes. Setting them tells others apart with the same prompts; figures are then unknown.

        Raises:
            InputError: no list of names; or the prompts are class-specific (CSC) and of other classes.
        """
        return list(self.clip.classnames)

    @classes.setter
    def classes(self, names: Sequence[str]) -> None:
        self.clip = self.clip.with_classnames(names)
        self.figures = {}

    @property
    def method(self) -> str:
        """The method's name, as registered."""
        return type(self.clip.method).__name__

    @property
    def backbone(self) -> str:
        """CLIP's name, MODEL.BACKBONE.NAME."""
        return str(self.clip.method.cfg.MODEL.BACKBONE.NAME)

    def to(self, device: str) -> Classifier:
        """Move to a device ("cpu", "cuda", "cuda:1"); returns itself. Reads the weights again."""
        names = self.classes
        clip = PromptedCLIP.from_checkpoint(self._source, backbone=self.backbone, device=device, trainer=self.method)
        self.clip = clip if list(clip.classnames) == names else clip.with_classnames(names)
        return self

    def __call__(self, images: Any, top: int | None = None) -> Prediction | list[Prediction]:
        """Classify a picture, or several.

        Args:
            images: a path, a PIL image, uint8 pixels [H, W, 3], a uint8 tensor [3, H, W] or a preprocessed float tensor
                [3, S, S]; several of them as a list, an array [B, H, W, 3] or a tensor [B, 3, H, W]; or a folder, whose
                pictures are taken in the order of their names, those of folders below it too.
            top: how many classes to give for each, None for all.

        Returns:
            A ``Prediction``, [(class, probability), …], the most likely class first; of several pictures a list of
            them, one each.

        Raises:
            InputError: nothing that is a picture; a file that is missing or damaged.
        """
        if top is not None and top < 1:
            raise InputError(f"top must be at least 1, got {top}")
        path = isinstance(images, (str, os.PathLike))
        if path and os.path.isdir(images):
            return list(self.stream(pictures_below(images), top))
        if path or isinstance(images, Image) or getattr(images, "ndim", 0) in (2, 3):
            return next(self.stream([images], top))
        if not isinstance(images, Iterable) or isinstance(images, (bytes, dict)):
            raise InputError(f"images must be a path, a picture, a list of such or a batch, got {images!r:.60}")
        return list(self.stream(images, top))

    def stream(self, images: Iterable[Any], top: int | None = None,
               unreadable: list[InputError] | None = None) -> Iterator[Prediction]:
        """Yield a ``Prediction`` for each of several pictures, reading a batch of them at a time.

        Args:
            images: as one picture of ``__call__``, each.
            top: how many classes to give for each, None for all.
            unreadable: takes the errors of pictures that cannot be read, which are left out; None: they are raised.
        """
        rest, count = iter(images), len(self.clip.classnames) if top is None else top
        while batch := list(islice(rest, BATCH)):
            read = [(path, image) for path, image in map(_read, batch, repeat(unreadable)) if image is not None]
            for (path, _), pairs in zip(read, self.clip.classify([image for _, image in read], count) if read else [],
                                        strict=True):
                yield Prediction(pairs, path)

    def __repr__(self) -> str:
        names = self.classes
        shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
        words = [f"{self.method} on {self.backbone}", f"{len(names)} classes ({shown})",
                 str(self.clip.device)]
        if self.figures:
            words.append(f"accuracy {self.figures['accuracy']:.1f} % of {self.figures['total']} test images")
        return f"<Classifier {', '.join(words)}>"


def _read(image: Any, unreadable: list[InputError] | None) -> tuple[Path | None, Any]:
    """Return (path or None, a picture to classify, or None where it cannot be read and ``unreadable`` takes that)."""
    if not isinstance(image, (str, os.PathLike)):
        return None, image
    try:
        return Path(image), read_own_image(Path(image))
    except InputError as error:
        if unreadable is None:
            raise
        unreadable.append(error)
        return Path(image), None


def load(path: str | Path, device: str = "cpu", classes: Sequence[str] | None = None,
         backbone: str | Path | None = None, precision: str | None = None, trainer: str | None = None,
         config_file: str | Path | None = None) -> Classifier:
    """Load a trained classifier.

    Args:
        path: a run's folder (``fit``'s, or any run's output folder), a checkpoint, or a file of ``promptreg export``.
        device: where to compute.
        classes: names of the classes to tell apart; None for those of the training.
        backbone: CLIP's name or the file of its weights, if not the run's.
        precision: "fp32", "fp16", "amp" or "bf16", if not the run's.
        trainer: the method's name, for published checkpoints, which do not say; so is ``config_file``.

    Raises:
        InputError: no such file, a damaged one, or prompts that do not fit.
    """
    clip = PromptedCLIP.from_checkpoint(path, classes, backbone, device, precision, trainer, config_file)
    made = Classifier(clip, Path(path))
    if classes is not None:
        made.figures = {}
    return made
