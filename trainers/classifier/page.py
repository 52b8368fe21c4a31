"""The page of one fitted classifier: accuracy by class, what is taken for what, the surest mistakes, what to try."""
from __future__ import annotations

import base64
import io
import math
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..clip.weights import EMBEDDED
from ..compat import engine
from ..results.classes import class_rows, confusion_rows
from ..results.collect import Run, read_run
from ..results.frame import run_date, run_figures
from ..results.identity import replace_surrogates
from ..results.notes import texts
from ..utils import atomic, pages
from ..utils.images import read_image
from .model import Classifier, Prediction

FILE = "index.html"
SHOWN = 24  # pictures of mistakes
THUMBNAIL = 160  # pixels, the longer side
FEW = 16  # training images a class: with fewer, more of them are the first thing to try


def write(folder: str | os.PathLike, images: str | os.PathLike, classifier: Classifier) -> Path:
    """Write a finished run's page into its folder; returns its path.

    Args:
        folder: the run's, with its result.json.
        images: the folder or table that it was trained on; its test images are classified again for the mistakes.
        classifier: the run's.

    Raises:
        InputError: either is not what it must be.
    """
    run = read_run(Path(folder))
    assert run is not None  # a fit is no meta-training
    root, splits = engine.sibling("datasets").CLASSES["ImageFolder"].whole(os.path.abspath(images), writes=False)
    mistakes = surest_mistakes(classifier, root, splits.test)
    smallest = min(_counts(splits.train).items(), key=lambda item: (item[1], item[0]))
    path = Path(folder) / FILE
    atomic.write_file(path, replace_surrogates(page(run, mistakes, list(advice(run, smallest, images)))))
    return path


def page(run: Run, mistakes: list[dict[str, Any]], next_steps: list[tuple[str, str]]) -> str:
    """Return the page as text, of a finished run, its ``surest_mistakes`` and ``advice``."""
    figures = run_figures(run)
    low, high = interval(figures["correct"], figures["total"])
    return pages.render(
        __package__, "fit.html", title=run.dataset, folder=run.folder, accuracy=f"{run.accuracy:.1f}",
        correct=figures["correct"], total=figures["total"], low=f"{low:.1f}", high=f"{high:.1f}",
        worst=worst(figures), method=run.method, backbone=run.backbone, shots=run.shots, version=__version__,
        date=f"{run_date(run):%Y-%m-%d %H:%M} UTC", notes=texts(run.content.get("notes") or []),
        classes=class_rows(run), confusion=confusion_rows(run), mistakes=mistakes,
        wrong=figures["total"] - figures["correct"], advice=next_steps)


def worst(figures: dict[str, Any]) -> str:
    """Return the class of the lowest accuracy in words, "" where none is wrong."""
    shares = {name: found["correct"] / found["total"] for name, found in figures["per_class"].items() if found["total"]}
    name = min(shares, key=lambda name: (shares[name], name))
    if shares[name] == 1:
        return ""
    other, times = max(figures["confusion"][name].items(), key=lambda item: (item[1], item[0]))
    return (f"worst: {name} {100 * shares[name]:.0f} % ({times} of {figures['per_class'][name]['total']} taken for "
            f"{other})")


def interval(correct: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95% interval of an accuracy, in percent, that a count of right answers allows (Wilson, 1927)."""
    share, weight = correct / total, z * z / total
    centre, half = share + weight / 2, z * math.sqrt(share * (1 - share) / total + weight / total / 4)
    return 100 * (centre - half) / (1 + weight), 100 * (centre + half) / (1 + weight)


def surest_mistakes(classifier: Classifier, root: str, items: list[Any]) -> list[dict[str, Any]]:
    """Return the wrongly classified among a dataset's items, the surest first, as the page shows them."""
    paths = [os.path.join(root, *item.path.split("/")) for item in items]
    wrong: list[tuple[float, str, str, Prediction]] = []
    for item, found in zip(items, classifier.stream(paths), strict=True):
        if found[0][0] != item.classname:
            wrong.append((found[0][1], item.path, item.classname, found))
    wrong.sort(key=lambda mistake: (-mistake[0], mistake[1]))
    return [{"path": path, "name": name, "taken_for": found[0][0], "percent": f"{100 * share:.0f}",
             "share": f"{100 * dict(found)[name]:.0f}", "data": thumbnail(found.image)}
            for share, path, name, found in wrong[:SHOWN]]


def thumbnail(path: Any) -> str:
    """Return a small copy of a picture as a data address."""
    image, content = read_image(path), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def advice(run: Run, smallest: tuple[str, int], images: str | os.PathLike) -> Iterator[tuple[str, str]]:
    """Yield (what to try next, its command or "") for a run's figures, the most promising first."""
    figures = run_figures(run)
    confused = max(((times, a, b) for a, others in figures["confusion"].items() for b, times in others.items()),
                   default=(0, "", ""))
    if run.backbone in EMBEDDED:
        known = {"demo": "digits, letters, shapes and textures", "study": "emoji and icons"}[run.backbone]
        yield (f"The CLIP called {run.backbone} knows the words of {known} alone. For other pictures take "
               "one that was trained on millions of them.", call(run, images, "vit", "--backbone", "ViT-B/16"))
    if smallest[1] < FEW:
        yield (f"The class {smallest[0]} has {smallest[1]} training images: more pictures help most where there are "
               "fewest.", "")
    if confused[0] > 1:
        yield (f"{confused[1]} is taken for {confused[2]} {confused[0]} times: look at the pictures above for wrong "
               "labels, and whether the two names say what tells them apart (classnames.txt beside the pictures gives "
               "a class another name).", "")
    if figures["correct"] < figures["total"]:
        same = ("--backbone", run.backbone)
        yield ("Say in the prompts' first words what kind of pictures these are.",
               call(run, images, "template", "--template", "a satellite photo of {}.", *same))
        yield ("See what training gains: the same without any.",
               call(run, images, "zero-shot", "--method", "ZeroshotCLIP", *same))
    yield "Use it on pictures without a label.", f"promptreg classify {shlex.quote(run.folder)} new.jpg"


def call(run: Run, images: str | os.PathLike, suffix: str, *flags: str) -> str:
    """Return the command line of another fit on the same pictures, into a folder beside this run's."""
    return shlex.join(["promptreg", "fit", os.fspath(images), *flags, "--output", f"{run.folder}-{suffix}"])


def _counts(items: list[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in items:
        found[item.classname] = found.get(item.classname, 0) + 1
    return found
