"""The papers' pictures: few-shot curves, base against new, gains by class, training curves; as PNG and PDF."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cell import Cell
from .gains import gains
from .plot_style import DPI, STYLE, legend_below, line_styles, method_styles, panels, plt
from .table import column_name, shotless
from .training_curves import curve, training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .collect import Run
    from .line import Line
    from .table import Table

__all__ = ["base_new", "curve", "few_shot", "gains", "method_styles", "training", "write_plots"]
MOST_PIXELS = 60_000  # of a side: matplotlib refuses 2 ** 16


def write_plots(runs: Sequence[Run], tables: Sequence[Table], folder: str | Path,
                formats: Sequence[str] = ("png", "pdf"), narrow: bool = False) -> list[Path]:
    """Write all pictures that the runs give rise to.

    Args:
        folder: created where it does not exist.
        narrow: also write each picture of several panels as NAME-narrow.png, one panel a row.

    Returns:
        The paths of the PNG files, without the narrow ones.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        paths = [save(figure, folder / name, formats) for name, figure in figures(runs, tables).items()]
        if narrow:
            for name, figure in figures(runs, tables, across=1).items():
                save(figure, folder / f"{name}-narrow", ("png",))
    return paths


def figures(runs: Sequence[Run], tables: Sequence[Table], across: int = 4) -> dict[str, Figure]:
    """Return {name: figure}, the panels of each ``across`` in a row."""
    by_setting = {table.setting: table for table in tables}
    styles, made = method_styles(run.method for run in runs), {}
    if "few_shot" in by_setting:
        made["few_shot"] = few_shot(by_setting["few_shot"], styles, across)
    if "base2new" in by_setting:
        made["base_new"] = base_new(by_setting["base2new"], styles)
    made["gains"], made["training"] = gains(runs, styles, across), training(runs, styles, across)
    return {name: figure for name, figure in made.items() if figure}


def save(figure: Figure, path: str | Path, formats: Sequence[str] = ("png", "pdf")) -> Path:
    """Write a figure in each format; returns the path of the first."""
    dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
    for ending in formats:
        figure.savefig(f"{path}.{ending}", dpi=dpi, bbox_inches="tight",
                       metadata={"CreationDate": None} if ending == "pdf" else None)
    plt.close(figure)
    return Path(f"{path}.{formats[0]}")


def few_shot(table: Table, styles: dict[str, dict[str, Any]], across: int = 4) -> Figure:
    """Return CoOp's figure: accuracy over shots, one panel a dataset, the average first; zero-shot at 0 shots."""
    filled = [column for number, column in enumerate(table.columns)
              if any(isinstance(row.cells[number], Cell) for row in table.rows)]
    columns = sorted(filled, key=lambda column: column != "average")
    figure, axes = panels(len(columns), 3.4, across=across)
    curves = {}
    for row in table.rows:
        curves.setdefault(shotless(row.line), {})[row.line.shots] = row
    kinds = line_styles(curves, styles)
    for axis, column in zip(axes, columns, strict=True):
        number = table.columns.index(column)
        for line, rows in curves.items():
            points = [(shots, row.cells[number]) for shots, row in sorted(rows.items())
                      if isinstance(row.cells[number], Cell)]
            if points:
                x, cells = zip(*points, strict=True)
                dashes = kinds[line]["linestyle"] if len(x) > 1 else "none"
                axis.errorbar(x, [cell.mean for cell in cells], yerr=[cell.std for cell in cells], capsize=2,
                              elinewidth=0.8, label=next(iter(rows.values())).label,
                              **{**kinds[line], "linestyle": dashes})
        shots = sorted({shots for rows in curves.values() for shots in rows})
        axis.set_xticks(shots, shots)
        axis.set_title(column_name(column), fontweight="bold" if column == "average" else None)
        axis.set(xlabel="Training images a class", ylabel="Accuracy (%)")
    legend_below(figure)
    return figure


def base_new(table: Table, styles: dict[str, dict[str, Any]]) -> Figure | None:
    """Return the plane of base and new accuracy, averaged over the datasets, with lines of equal H."""
    column = "average" if "average" in table.columns else table.columns[0]
    names = {row.line: row.label for row in table.rows}
    points: dict[Line, list[Any]] = {
        line: [table.cell(label, part, column) for part in ("Base", "New")] for line, label in names.items()}
    points = {line: pair for line, pair in points.items() if None not in pair}
    if not points:
        return None
    figure, axis = plt.subplots(figsize=(4.6, 4))
    for line, kind in line_styles(points, styles).items():
        base, new = points[line]
        axis.errorbar(base.mean, new.mean, xerr=base.std, yerr=new.std, capsize=2, elinewidth=0.8,
                      label=names[line], **{**kind, "linestyle": "none"})
    x, y = np.meshgrid(np.linspace(*axis.get_xlim(), 100), np.linspace(*axis.get_ylim(), 100))
    lines = axis.contour(x, y, 2 * x * y / (x + y), levels=6, colors="#999999", linewidths=0.6, linestyles="dashed")
    axis.clabel(lines, fmt="H %g", fontsize=7)
    axis.set(xlabel="Base accuracy (%)", ylabel="New accuracy (%)", title=column_name(column))
    axis.legend()
    return figure
