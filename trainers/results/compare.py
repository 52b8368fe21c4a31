"""Tables beside the papers' figures, and two methods pair by pair."""
import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from .collect import KEYS, VARIANTS, ZERO_SHOT, following
from .table import Cell, Row, epochs_by_shots

HOUSE = Path(__file__).resolve().parents[1]
PUBLISHED = next((path for path in (HOUSE.parent / "results" / "published", HOUSE / "published") if path.is_dir()),
                 HOUSE / "published") / "published.csv"
ELEVEN = [key for key in KEYS if key not in (*VARIANTS, "digits")]


def published(path=PUBLISHED):
    """Return {(setting, method, backbone, shots, dataset, part): row} of the papers' figures.

    A row is a dict with mean and std (floats or None), source and table.

    Raises:
        InputError: the file is missing or a figure in it is no number.
    """
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}: give a CSV with the columns of results/published/published.csv")
    found = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                key = row["setting"], row["method"], row["backbone"], int(row["shots"]), row["dataset"], row["part"]
                found[key] = {**row, "mean": float(row["mean"]), "std": float(row["std"]) if row["std"] else None}
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}, line {number}: {error!r}: correct it") from None
    return found


def against(table, figures):
    """Return the table with two rows below each row that has published figures: them, and ours minus theirs.

    Figures of an independent rerun of the published code, which are given by dataset, get two rows of their own. A
    difference beyond two standard errors (ours, with theirs where they give a deviation over 3 seeds) gets a star.
    """
    rows = []
    for row in table.rows:
        rows.append(row)
        for source in ("published", "rerun"):
            theirs = [match(table, row, column, figures, source) for column in table.columns]
            if any(theirs):
                rows.append(Row(row.line, row.label, f"{row.part} {source}".strip(),
                                [f"{row_['mean']:.2f}" if row_ else None for row_ in theirs]))
                rows.append(Row(row.line, row.label, "difference",
                                [difference(cell, row_) for cell, row_ in zip(row.cells, theirs, strict=True)]))
    star = "* beyond two standard errors"
    return replace(table, rows=rows, notes=[*table.notes, star] if len(rows) > len(table.rows) else table.notes)


def match(table, row, column, figures, source="published"):
    """Return the published row of a cell; the average only where it is over the eleven datasets, as theirs."""
    if column == "average" and [c for c in table.columns if c != "average"] != ELEVEN:
        return None
    method = row.line.method if source == "published" else f"{row.line.method} ({source})"
    return figures.get((table.setting, method, row.line.backbone, row.line.shots, column,
                        row.part.lower() if row.part != "H" else "H"))


def difference(cell, theirs):
    """Return ours minus theirs as text, with a star where it is beyond two standard errors."""
    if cell is None or theirs is None:
        return None
    gap, error = cell.mean - theirs["mean"], cell.standard_error
    if error is not None and theirs["std"]:
        error = (error ** 2 + theirs["std"] ** 2 / 3) ** 0.5
    if f"{abs(gap):.2f}" == "0.00":  # no difference in what is printed, however small the error
        return "+0.00"
    return f"{gap:+.2f}" + ("*" if error is not None and abs(gap) > 2 * error else "")


@dataclass(frozen=True)
class Paired:
    """Two methods over the runs that both have.

    Attributes:
        pairs: how many; mean: of the differences first - second, in points; low, high: its 95% bootstrap interval,
            datasets drawn first, then runs within them; p: of Wilcoxon's signed-rank test, None where nothing differs.
    """

    first: str
    second: str
    pairs: int
    datasets: int
    mean: float
    low: float
    high: float
    p: float | None

    def __str__(self):
        p = "all pairs are equal" if self.p is None else f"Wilcoxon p = {self.p:.3g}"
        return (f"{self.first} - {self.second}: {self.mean:+.2f} points, "
                f"95% interval [{self.low:+.2f}, {self.high:+.2f}], {p} "
                f"({self.pairs} pairs over {self.datasets} dataset{'s' * (self.datasets > 1)})")


def paired(runs, first, second, draws=10000):
    """Compare two methods over runs of the same setting, dataset, classes, shots and seed.

    Raises:
        InputError: there are no such pairs.
    """
    from scipy.stats import wilcoxon
    values = {}
    for run in runs:
        key = run.setting, run.dataset, run.classes, run.shots, run.seed
        values.setdefault(run.method, {}).setdefault(key, run.accuracy)
    shared = sorted(set(values.get(first, {})) & set(values.get(second, {})))
    if not shared:
        raise InputError(f"--paired {first} {second}: there are no runs of both on the same dataset, shots and seed; "
                         f"there are runs of {', '.join(sorted(values)) or 'no method'}")
    differences = np.array([values[first][key] - values[second][key] for key in shared])
    groups = [differences[[key[1] == name for key in shared]] for name in sorted({key[1] for key in shared})]
    random = np.random.default_rng(0)
    means = []
    for _ in range(draws):
        drawn = [groups[number] for number in random.integers(len(groups), size=len(groups))]
        means.append(np.concatenate([random.choice(group, len(group)) for group in drawn]).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    p = float(wilcoxon(differences).pvalue) if differences.any() else None
    return Paired(first, second, len(shared), len(groups), float(differences.mean()), float(low), float(high), p)


def missing(table, output):
    """Return the scripts' calls that fill a table's empty cells and seeds that other cells have."""
    from ..sweep.plan import METHODS
    seeds = sorted({seed for row in table.rows for cell in row.cells if isinstance(cell, Cell) for seed in cell.values})
    calls = {}
    for line in dict.fromkeys(row.line for row in table.rows if row.line.method in METHODS):
        for number, dataset in enumerate(table.columns):
            cells = [row.cells[number] for row in table.rows if row.line == line]
            lacking = [seed for seed in seeds if not all(cell and seed in cell.values for cell in cells)]
            seedless = line.method in ZERO_SHOT and table.setting != "base2new"
            if dataset == "average" or not lacking or seedless and all(cells):
                continue
            calls.update({str(step): None for step in steps(table.setting, line, dataset, lacking, output)})
    return list(calls)


def steps(setting, line, dataset, seeds, output):
    """Return the unfinished steps that make a line's runs of a dataset; none where that has no config file here."""
    from ..sweep.plan import METHODS, TARGETS, plan
    source = setting in ("xd", "dg") and dataset == "imagenet"
    training = source and METHODS[line.method].train  # alone, and by its own script: few_shot.sh passes other keys
    dataset = TARGETS[setting][0] if training else dataset
    config = epochs_by_shots(line.config, dataset, line.shots) if line.by_shots else line.config
    given = ([line.method], "few_shot" if source and not training else setting, [dataset], seeds,
             [line.shots] if line.shots > 0 else [])
    try:
        jobs = plan(*given, {"OUTPUT": output})
        commands = [command for job in jobs for step in job.steps for command in step.commands]
        if config and {Path(following(command, "--config-file")).stem for command in commands} != {config}:
            jobs = plan(*given, {"OUTPUT": output, "CFG": config})
    except InputError:  # a dataset of the user's own
        return []
    return [step for job in jobs for step in job.steps[:1 if training else None] if not step.finished]
