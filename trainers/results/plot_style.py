"""How all pictures look: Okabe and Ito's colours, told apart by the colour-blind, and a marker for every method."""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .line import Line

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442", "#7F7F7F"]
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW, GREY = COLOURS
KNOWN = {"ZeroshotCLIP": (BLACK, "*"), "ZeroshotCLIP2": (BLACK, "X"), "CoOp": (ORANGE, "s"), "CoCoOp": (SKY, "D"),
         "KgCoOp": (PURPLE, "^"), "ProGrad": (GREEN, "v"), "VPT": (GREY, "P"), "IVLP": (YELLOW, "<"),
         "MaPLe": (VERMILLION, ">"), "PromptSRC": (BLUE, "o"), "GRAMCoOp": (ORANGE, "h"), "GRAMCoCoOp": (SKY, "h"),
         "GRAMVPT": (GREY, "h"), "UNIGRAM": (YELLOW, "h"), "GRAMProGrad": (GREEN, "h"), "GRAMPromptSRC": (BLUE, "h")}
OTHERS = "pd8H"  # markers of methods that are not known
FILLS = ("full", "none", "left", "right", "top", "bottom")
DASHES = ("-", "--", ":", "-.")
DPI = 180
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.6,
         "text.parse_math": False,  # names are no formulas, whatever is in them
         "lines.markersize": 5, "pdf.fonttype": 42, "legend.frameon": False}


def method_styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return {method: {"color", "marker"}} of known methods and of those of ``methods``.

    Known methods have theirs whatever stands beside them; others share out, in their order, the colours that no known
    one among ``methods`` has.
    """
    methods = set(methods)
    used = {colour for method, (colour, _) in KNOWN.items() if method in methods}
    free = [colour for colour in COLOURS if colour not in used] or COLOURS
    unknown = sorted(methods - set(KNOWN))
    pairs = {**KNOWN, **{method: (free[n % len(free)], OTHERS[n % len(OTHERS)]) for n, method in enumerate(unknown)}}
    return {method: {"color": colour, "marker": marker} for method, (colour, marker) in pairs.items()}


def line_styles(lines: Iterable[Line], styles: dict[str, dict[str, Any]]) -> dict[Line, dict[str, Any]]:
    """Return {line: style}: its method's colour and marker, and what tells several lines of one method apart."""
    counts, found = {}, {}
    for line in lines:
        number = counts[line.method] = counts.get(line.method, -1) + 1
        found[line] = {**styles[line.method], "fillstyle": FILLS[number % len(FILLS)],
                       "linestyle": DASHES[number % len(DASHES)]}
    return found


def panels(count: int, width: float, height: float = 2.7, across: int = 4) -> tuple[Figure, list[Axes]]:
    """Return (figure, a list of ``count`` axes), ``across`` of them in a row; sizes are inches of a panel."""
    across = min(across, count)
    down = -(-count // across)
    figure, axes = plt.subplots(down, across, squeeze=False, figsize=(width * across, height * down))
    for axis in list(axes.flat)[count:]:
        axis.remove()
    return figure, list(axes.flat)[:count]


def legend_below(figure: Figure) -> None:
    """Give a figure one legend of all its panels, below them."""
    pairs = [pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in pairs}
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
                  ncols=min(5, max(1, int(figure.get_size_inches()[0] / 1.7)), len(handles)))
    figure.tight_layout()
