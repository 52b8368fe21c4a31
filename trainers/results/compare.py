"""Tables beside the papers' figures, and two methods pair by pair."""
from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..utils import paths
from .line import labels, line_of, shots_words
from .notes import Note
from .published import BENCHMARK_DATASETS, TITLES, ZERO_SHOT
from .table import Row, Table, column_name, gather

if TYPE_CHECKING:
    from .cell import Cell
    from .collect import Run
    from .line import Line

PUBLISHED = paths.PUBLISHED / "published.csv"
SOURCES = ("published", "rerun")


def published(path: str | os.PathLike = PUBLISHED) -> dict[tuple, dict[str, Any]]:
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


def against(table: Table, figures: dict[tuple, dict[str, Any]]) -> Table:
    """Return the table with two rows below each row that has published figures: them, and ours minus theirs.

    Figures of an independent rerun of the published code, which are given by dataset, get two rows of their own. A
    difference beyond two standard errors (ours, with theirs where they give a deviation over 3 seeds) gets a star.
    """
    rows = []
    for row in table.rows:
        rows.append(row)
        for source in SOURCES:
            theirs = [match(table, row, column, figures, source) for column in table.columns]
            if any(theirs):
                rows.append(Row(row.line, row.label, f"{row.part} {source}".strip(),
                                [f"{row_['mean']:.2f}" if row_ else None for row_ in theirs]))
                rows.append(Row(row.line, row.label, "difference",
                                [difference(cell, row_) for cell, row_ in zip(row.cells, theirs, strict=True)]))
    notes = [Note("* beyond two standard errors")] * (len(rows) > len(table.rows))
    several = {line.backbone for line in table.lines if line.several}
    notes += [Note(f"no published figures beside {', '.join(sorted(several))}: several weights bear this name")] * bool(
        several)
    return replace(table, rows=rows, notes=[*table.notes, *notes])


def averages(table: Table, figures: dict[tuple, dict[str, Any]]) -> Table | None:
    """Return the block of the averages alone: of each row its own, the published one and the difference.

    Returns:
        A table whose columns are kinds of figures, or None where no average has a published figure beside it.
    """
    if "average" not in table.columns:
        return None
    last, rows = table.columns.index("average"), []
    for row in table.rows:
        cells = [row.cells[last]]
        for source in SOURCES:
            theirs = match(table, row, "average", figures, source)
            cells += [f"{theirs['mean']:.2f}" if theirs else None, difference(row.cells[last], theirs)]
        if any(cells[1:]):
            rows.append(Row(row.line, row.label, row.part, cells))
    if not rows:
        return None
    kinds = ["ours", *(f"{source}{word}" for source in SOURCES for word in ("", ", difference"))]
    filled = [n for n in range(len(kinds)) if any(row.cells[n] for row in rows)]
    rows = [replace(row, cells=[row.cells[n] for n in filled]) for row in rows]
    title = f"{table.title}, average over {last} datasets beside published figures"
    return Table(table.setting, title, [kinds[n] for n in filled], rows, source=table.source)


def match(table: Table, row: Row, column: str, figures: dict[tuple, Any], source: str = "published") -> Any:
    """Return the published row of a cell: of a test set, trained on ImageNet if on another dataset than the cell's; the
    average only where it is over the eleven datasets, as theirs."""
    if row.line.split or table.source not in ("", "imagenet"):
        return None
    if column == "average" and [c for c in table.columns if c != "average"] != BENCHMARK_DATASETS:
        return None
    method = row.line.method if source == "published" else f"{row.line.method} ({source})"
    return figures.get((table.setting, method, row.line.backbone, row.line.shots, column,
                        row.part.lower() if row.part != "H" else "H"))


def difference(cell: Cell | None, theirs: dict[str, Any] | None) -> str | None:
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
    """Two rows' runs that both have, of one setting, number of shots and backbone.

    Attributes:
        pairs: how many; mean: of the differences first - second, in points; low, high: its 95% bootstrap interval,
            datasets drawn first, then runs within them; p: of Wilcoxon's signed-rank test, None where nothing differs.
        where: the setting, in words.
    """

    first: str
    second: str
    pairs: int
    datasets: int
    mean: float
    low: float
    high: float
    p: float | None
    where: str = ""

    def __str__(self) -> str:
        p = "all pairs are equal" if self.p is None else f"Wilcoxon p = {self.p:.3g}"
        return (f"{self.first} - {self.second}, {self.where}: {self.mean:+.2f} points, "
                f"95% interval [{self.low:+.2f}, {self.high:+.2f}], {p} "
                f"({self.pairs} pair{'s' * (self.pairs > 1)} over {self.datasets} dataset{'s' * (self.datasets > 1)})")


def paired(runs: Iterable[Run], first: str, second: str, draws: int = 10000) -> list[Paired]:
    """Compare two methods over runs of the same dataset and seed, apart for each setting, classes, shots, backbone and,
    of each method, config: what tables put in rows of their own.

    Raises:
        InputError: there are no such pairs.
    """
    tabled = {(run.setting, run.source): [] for run in runs}
    for run in runs:
        tabled[run.setting, run.source].append(run)
    runs = [run for held in tabled.values() for run in gather(held)[2]]
    found = []
    for where in dict.fromkeys(group(run) for run in runs):
        sides = [by_line([run for run in runs if run.method == method and meets(run, where)])
                 for method in (first, second)]
        names = labels([line for side in sides for line in side])
        for a, b in itertools.product(*sides):
            if shared := sorted(set(sides[0][a]) & set(sides[1][b])):
                values = [(key[0], sides[0][a][key] - sides[1][b][key]) for key in shared]
                found.append(compared(names[a], names[b], values, group_words(where), draws))
    if not found:
        methods = ", ".join(sorted({run.method for run in runs})) or "no method"
        raise InputError(f"--paired {first} {second}: there are no runs of both on the same dataset, classes, shots, "
                         f"backbone and seed; there are runs of {methods}")
    return list(dict.fromkeys(found))


def group(run: Run) -> tuple:
    """Return what a comparison is not to mix; zero-shot CLIP, which learns from no shots, meets any number of them."""
    shots = None if run.method in ZERO_SHOT else run.shots
    return run.setting, run.classes, run.source, run.backbone, run.weights, run.split, shots


def meets(run: Run, where: tuple) -> bool:
    place = group(run)
    return place[:-1] == where[:-1] and place[-1] in (None, where[-1])


def group_words(where: tuple) -> str:
    setting, classes, source, backbone, _, split, shots = where
    words = [TITLES[setting].lower(), f"trained on {column_name(source)}" if source else "",
             f"{classes} classes" if classes != "all" else "", "" if shots is None else shots_words(shots), backbone,
             split]
    return ", ".join(filter(None, words))


def by_line(runs: Iterable[Run]) -> dict[Line, dict[tuple[str, int], float]]:
    """Return {line: {(dataset, seed): accuracy}}, zero-shot CLIP's lines without their shots."""
    found = {}
    for run in runs:
        line = replace(line_of(run), shots=0)
        found.setdefault(line, {}).setdefault((run.dataset, run.seed), run.accuracy)
    return found


def compared(first: str, second: str, values: Sequence[tuple[str, float]], where: str, draws: int) -> Paired:
    """Return the ``Paired`` of [(dataset, difference), …]."""
    from scipy.stats import wilcoxon
    differences = np.array([value for _, value in values])
    groups = [differences[[name == dataset for dataset, _ in values]] for name in sorted({name for name, _ in values})]
    random = np.random.default_rng(0)
    means = []
    for _ in range(draws):
        drawn = [groups[number] for number in random.integers(len(groups), size=len(groups))]
        means.append(np.concatenate([random.choice(group, len(group)) for group in drawn]).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    p = float(wilcoxon(differences).pvalue) if differences.any() else None
    return Paired(first, second, len(values), len(groups), float(differences.mean()), float(low), float(high), p, where)
