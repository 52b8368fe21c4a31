"""All finished runs as a pandas DataFrame, a row a run, unrounded."""
from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..training.result import FILE
from .collect import Run, collect
from .line import line_of
from .notes import texts

if TYPE_CHECKING:
    import pandas


def results(folder: str | os.PathLike | Sequence[str | os.PathLike]) -> pandas.DataFrame:
    """Return all finished runs below a folder, or several, a row a run, figures unrounded.

    Args:
        folder: what holds the runs' outputs, at any depth; an OUTPUT of the scripts, say.

    Returns:
        The columns method, config, variant, dataset, setting ("base2new", "few_shot" or "xd"), source (the dataset that
        an xd run was trained on), classes ("all", "base" or "new"), split ("test" or "validation"), shots, seed,
        backbone, weights (their hash), accuracy and macro_f1 (percent), correct and total (images), seconds,
        peak_memory_mib, date (UTC), promptreg and torch (versions), commit, notes, path.

    Raises:
        InputError: a folder is not there, or a result.json in it is damaged.

    Example:
        >>> runs = results("output/")
        >>> runs[runs.setting == "base2new"].pivot_table("accuracy", ["method", "classes"], "dataset")
    """
    paths = [folder] if isinstance(folder, (str, os.PathLike)) else folder
    return frame(collect([os.fspath(path) for path in paths]))


def frame(runs: Iterable[Run]) -> pandas.DataFrame:
    """Return the DataFrame of collected runs, with the columns that ``results`` names."""
    import pandas  # half a second, which most commands do not need
    found = pandas.DataFrame([row(run) for run in runs], columns=list(COLUMNS))
    for name, kind in COLUMNS.items():
        found[name] = found[name].astype(kind)
    return found


COLUMNS = {
    **dict.fromkeys(("method", "config", "variant", "dataset", "setting", "source", "classes", "split"), "object"),
    "shots": "int64", "seed": "int64", "backbone": "object", "weights": "object", "accuracy": "float64",
    "macro_f1": "float64", "correct": "Int64", "total": "Int64", "seconds": "float64", "peak_memory_mib": "float64",
    "date": "datetime64[s, UTC]", **dict.fromkeys(("promptreg", "torch", "commit", "notes", "path"), "object")}


def row(run: Run) -> dict[str, object]:
    """Return a run's entries of the frame, None where its result.json has none."""
    content, figures = run.content, run_figures(run)
    versions = content.get("versions") or {}
    numbers = {key: figures.get(key) for key in ("macro_f1", "correct", "total")}
    return {"method": run.method, "config": run.config, "variant": run.variant, "dataset": run.dataset,
            "setting": run.setting, "source": run.source, "classes": run.classes, "split": run.split or "test",
            "shots": run.shots, "seed": run.seed, "backbone": line_of(run).backbone_name, "weights": run.weights,
            "accuracy": run.accuracy, **numbers, "seconds": content.get("seconds"),
            "peak_memory_mib": content.get("peak_memory_mib"), "date": run_date(run),
            "promptreg": versions.get("promptreg"), "torch": versions.get("torch"), "commit": content.get("git"),
            "notes": "; ".join(texts(content.get("notes") or [])), "path": run.folder}


def run_figures(run: Run) -> dict:
    """Return the figures that a run's accuracy is of: those of the test set, else of the validation set."""
    results = run.content["results"]
    return results.get("test") or next(iter(results.values()))


def run_date(run: Run) -> datetime.datetime:
    """Return when a run was finished, in UTC: as recorded, else when its result.json was written."""
    try:
        return datetime.datetime.fromisoformat(run.content["date"]).astimezone(datetime.timezone.utc)
    except (KeyError, TypeError, ValueError, OverflowError):
        seconds = int((Path(run.folder) / FILE).stat().st_mtime)
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
