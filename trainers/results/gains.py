"""What each class gains over zero-shot CLIP."""
from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from .identity import replace_surrogates
from .line import labels, line_of, ordered_lines, shots_words
from .plot_style import method_styles, panels
from .published import TITLES, ZERO_SHOT
from .table import column_name, shotless

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .collect import Run
    from .line import Line

MOST_PANELS = 12
MOST_NAMES = 60  # of classes in a panel
LONGEST_NAME = 24  # characters
LONGEST_TITLE = 44


def gains(runs: Sequence[Run], styles: dict[str, dict[str, Any]] | None = None, across: int = 4) -> Figure | None:
    """Return the gain of each class over zero-shot CLIP with the same weights, one panel a row of the tables and subset
    of the classes, all of one setting, dataset and number of shots: that with the most runs; None without any."""
    styles = styles or method_styles(run.method for run in runs)
    settings = {}
    for run in runs:
        if run.method not in ZERO_SHOT and run.setting != "xd" and not run.split:
            settings.setdefault((run.setting, run.dataset, run.shots, run.backbone, run.weights), []).append(run)
    found = {key: drawn for key, held in settings.items() if (drawn := gain_panels(held, runs))}
    if not found:
        return None
    key = max(found, key=lambda key: (len(settings[key]), key[2]))
    setting, dataset, shots, backbone, _ = key
    drawn = list(found[key])[:MOST_PANELS]
    tallest = min(MOST_NAMES, max(len(found[key][panel]) for panel in drawn))
    figure, axes = panels(len(drawn), 3.4, 1.2 + 0.2 * tallest, across)
    names = labels([line for line, _ in drawn])
    for axis, (line, classes) in zip(axes, drawn, strict=True):
        bars(axis, found[key][line, classes], styles[line.method]["color"])
        part = f", {classes} classes" if classes != "all" else ""
        axis.set(title=textwrap.fill(f"{names[line]}{part}", LONGEST_TITLE), xlabel="Points above zero-shot CLIP")
    ends = [end for panel in drawn for end in found[key][panel].values()] + [0]
    plt.setp(axes, xlim=(min(ends) - 1, max(ends) + 1))
    left = f" ({len(drawn)} of {len(found[key])} panels)" if len(drawn) < len(found[key]) else ""
    title = f"{TITLES[setting]}, {column_name(dataset)}, {shots_words(shots)}, {backbone}{left}"
    figure.suptitle(textwrap.fill(title, int(14 * figure.get_size_inches()[0])))
    figure.tight_layout()
    return figure


def gain_panels(held: Sequence[Run], runs: Sequence[Run]) -> dict[tuple[Line, str], dict[str, float]]:
    """Return {(line, classes): {class: mean gain over seeds}} of runs of one setting over zero-shot CLIP among all."""
    first = held[0]
    ground = [run for run in runs if (run.method, run.dataset, run.backbone, run.weights, run.split) == (
        "ZeroshotCLIP", first.dataset, first.backbone, first.weights, "")]
    if ground:  # of several zero-shot rows the first of the tables
        line = shotless(ordered_lines(map(line_of, ground))[0])
        ground = [run for run in ground if shotless(line_of(run)) == line]
    found = {}
    for line in ordered_lines(map(line_of, held)):
        for classes in ("all", "base", "new"):
            below = by_class(run for run in ground if run.classes == classes)
            mine = by_class(run for run in held if run.classes == classes and line_of(run) == line)
            if gain := {name: mine[name] - below[name] for name in mine if name in below}:
                found[line, classes] = dict(sorted(gain.items(), key=lambda item: item[1]))
    return found


def by_class(runs: Iterable[Run]) -> dict[str, float]:
    """Return {class: mean accuracy over seeds}."""
    values = {}
    for run in runs:
        for name, count in run.content["results"]["test"].get("per_class", {}).items():
            if count["total"]:
                values.setdefault(replace_surrogates(name), []).append(100 * count["correct"] / count["total"])
    return {name: float(np.mean(v)) for name, v in values.items()}


def bars(axis: Axes, found: dict[str, float], colour: str) -> None:
    """Draw {class: gain} as bars, losses hatched."""
    values = list(found.values())
    drawn = axis.barh(range(len(values)), values, color=colour, edgecolor="white")
    for bar, value in zip(drawn, values, strict=True):
        bar.set(hatch="////" if value < 0 else "", alpha=0.6 if value < 0 else 1)
    names = [name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME - 1]}…" for name in found]
    axis.set_yticks(range(len(values)), names if len(values) <= MOST_NAMES else [""] * len(values))
    axis.axvline(0, color="black", linewidth=0.8)
