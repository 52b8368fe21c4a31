"""The training loss over epochs, as runs' logs have it."""
from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .line import labels, line_of, ordered_lines, shots_words
from .plot_style import legend_below, line_styles, method_styles, panels
from .table import column_name, shotless

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .collect import Run

LOSS = r"([\d.eE+-]{1,60}|nan)"
EPOCH = re.compile(rf"epoch \[(\d{{1,6}})/\d{{1,6}}\].{{0,500}}?loss {LOSS} \({LOSS}\)")
LONGEST = 2000  # characters of a line; what is longer is no line of ours, and is read in pieces


def curve(folder: str | Path) -> tuple[list[int], list[float]]:
    """Return the mean loss of each epoch in a run's log: [epochs], [losses]."""
    path = Path(folder) / "log.txt"
    found = {}
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace") as log:
            for line in iter(lambda: log.readline(LONGEST), ""):
                if match := EPOCH.search(line):
                    with contextlib.suppress(ValueError):  # signs and points that make no number
                        found[int(match[1])] = float(match[3])
    return list(found), list(found.values())


def training(runs: Sequence[Run], styles: dict[str, dict[str, Any]] | None = None, across: int = 4) -> Figure | None:
    """Return the training loss over epochs, a line for each of a table, a panel a dataset, classes and shots."""
    styles = styles or method_styles(run.method for run in runs)
    found = {}
    for run in runs:
        epochs, losses = curve(run.folder)
        if len(epochs) > 1:
            place = run.setting, run.dataset, run.classes, run.shots
            found.setdefault(place, {}).setdefault(line_of(run), []).append(losses)
    if not found:
        return None
    names = labels({shotless(line) for lines in found.values() for line in lines})
    kinds = line_styles(ordered_lines(names), styles)
    figure, axes = panels(len(found), 3.6, across=across)
    for axis, ((_, dataset, classes, shots), lines) in zip(axes, found.items(), strict=True):
        for line in ordered_lines(lines):
            several = lines[line]
            values = np.array([losses[:min(map(len, several))] for losses in several])
            epochs, kind = np.arange(1, values.shape[1] + 1), kinds[shotless(line)]
            axis.plot(epochs, values.mean(0), label=names[shotless(line)], markevery=max(1, len(epochs) // 6), **kind)
            axis.fill_between(epochs, values.min(0), values.max(0), color=kind["color"], alpha=0.2, linewidth=0)
        words = [column_name(dataset), f"{classes} classes" if classes != "all" else "", shots_words(shots)]
        axis.set(title=", ".join(filter(None, words)), xlabel="Epoch", ylabel="Training loss", ylim=(0, None))
    legend_below(figure)
    return figure
