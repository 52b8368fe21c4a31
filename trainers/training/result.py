"""What a run leaves behind: ``result.json`` beside ``log.txt``, its figures unrounded and all that made them."""
import datetime
import json
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..config.yaml_text import dumped, parsed
from ..errors import InputError
from ..utils import atomic
from ..utils.paths import PACKAGE_ROOT
from ..utils.untrusted import parse_or_none
from . import distributed

FILE = "result.json"


def figures(evaluator: Any, classnames: Sequence[str]) -> dict[str, Any]:
    """Return the figures of Dassl's Classification evaluator, unrounded.

    Returns:
        {"accuracy": percent, "correct": n, "total": n, "macro_f1": percent,
        "per_class": {class name: {"correct": n, "total": n}},
        "confusion": {class name: {another that its images were taken for: n}}}.
    """
    from sklearn.metrics import f1_score
    truth, predicted = numbers(evaluator._y_true), numbers(evaluator._y_pred)
    per_class = {name: {"correct": 0, "total": 0} for name in classnames}
    confusion: dict[str, dict[str, int]] = {}  # wrong ones alone: of 1,000 classes most pairs never occur
    for t, p in zip(truth, predicted, strict=True):
        per_class[classnames[t]]["total"] += 1
        per_class[classnames[t]]["correct"] += t == p
        if t != p:
            taken_for = confusion.setdefault(classnames[t], {})
            taken_for[classnames[p]] = taken_for.get(classnames[p], 0) + 1
    correct = sum(c["correct"] for c in per_class.values())
    return {"accuracy": 100 * correct / len(truth), "correct": correct, "total": len(truth),
            "macro_f1": 100 * f1_score(truth, predicted, average="macro", labels=sorted(set(truth))),
            "per_class": per_class, "confusion": confusion}


def numbers(kept: Iterable[Any]) -> list[int]:
    """Return a flat list of ints: Dassl's evaluator keeps a number an image, minidassl's a tensor a batch."""
    return torch.cat([torch.as_tensor(part).reshape(-1).cpu() for part in kept]).tolist()


def write_result(trainer: Any, seconds: float) -> None:
    """Write result.json into the trainer's output folder, atomically: its presence marks a finished run."""
    cfg = trainer.cfg
    content = {
        "trainer": cfg.TRAINER.NAME, "dataset": cfg.DATASET.NAME,
        "dataset_label": getattr(getattr(getattr(trainer, "dm", None), "dataset", None), "label", cfg.DATASET.NAME),
        "identity": getattr(trainer, "identity", {}), "notes": list(getattr(trainer, "notes", ())),
        "classes": cfg.DATASET.get("SUBSAMPLE_CLASSES", "all"),
        "shots": cfg.DATASET.NUM_SHOTS, "seed": cfg.SEED, "processes": distributed.world_size(),
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "results": trainer.results, "seconds": round(seconds, 3), "peak_memory_mib": peak_memory(),
        "versions": {"promptreg": __version__, "python": platform.python_version(), "torch": torch.__version__,
                     "device": torch.cuda.get_device_name() if trainer.device.type == "cuda" else platform.processor()},
        "prompts": getattr(trainer, "loaded", None), "git": git_state(), "command": sys.argv, "config": dumped(cfg),
    }
    atomic.write_file(Path(cfg.OUTPUT_DIR) / FILE, json.dumps(content, indent=1))


def read_result(directory: str | Path) -> dict[str, Any] | None:
    """Return the content of a finished run's result.json, or None where the run is not finished.

    Raises:
        InputError: the file is there and not whole.
    """
    content = load_result(directory)
    if content is not None and parsed(content.get("config")) is None:
        raise damaged(directory)
    return content


def load_result(directory: str | Path) -> dict[str, Any] | None:
    """Return the content of a folder's result.json, or None where there is none; Raises as ``read_result``."""
    path = Path(directory) / FILE
    if not path.is_file():
        return None
    content = parse_or_none(lambda path: json.loads(path.read_text(encoding="utf-8")), path)
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise damaged(directory)
    return content


def damaged(directory: str | Path) -> InputError:
    return InputError(f"{Path(directory) / FILE} is not a whole result: delete it, and the run is made again")


def peak_memory() -> float:
    """Return the peak of this process's memory in MiB: on the GPU where one is used, else resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return round(torch.cuda.max_memory_allocated() / 2 ** 20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 10, 1)


def git_state() -> str | None:
    """Return the commit of the repository this package lies in, with "+" where it has changes; None outside of git."""
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(PACKAGE_ROOT), *words], capture_output=True, text=True,
                              timeout=10).stdout.strip()
    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+" if commit and git("status", "--porcelain", "--untracked-files=no") else "") or None
    except (OSError, subprocess.TimeoutExpired):
        return None
