"""The papers' pictures: few-shot curves, base against new, gains by class, training curves; as PNG and PDF.

Colours are Okabe and Ito's, told apart by the colour-blind, and every method has a marker of its own besides.
"""
import contextlib
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from .cell import Cell
from .identity import encodable
from .line import labels, line_of, ordered_lines, shots_words
from .published import ZERO_SHOT
from .table import TITLES, column_name, shotless

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442", "#7F7F7F"]
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW, GREY = COLOURS
KNOWN = {"ZeroshotCLIP": (BLACK, "*"), "ZeroshotCLIP2": (BLACK, "X"), "CoOp": (ORANGE, "s"), "CoCoOp": (SKY, "D"),
         "KgCoOp": (PURPLE, "^"), "ProGrad": (GREEN, "v"), "VPT": (GREY, "P"), "IVLP": (YELLOW, "<"),
         "MaPLe": (VERMILLION, ">"), "PromptSRC": (BLUE, "o"), "GRAMCoOp": (ORANGE, "h"), "GRAMCoCoOp": (SKY, "h"),
         "GRAMVPT": (GREY, "h"), "UNIGRAM": (YELLOW, "h"), "GRAMProGrad": (GREEN, "h"), "GRAMPromptSRC": (BLUE, "h")}
OTHERS = "pd8H"  # markers of methods that are not known
FILLS = ("full", "none", "left", "right", "top", "bottom")
DASHES = ("-", "--", ":", "-.")
MOST_PANELS = 12  # of the picture of gains, MOST_NAMES of classes in each
MOST_NAMES = 60
DPI = 180
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.6,
         "text.parse_math": False,  # names are no formulas, whatever is in them
         "lines.markersize": 5, "pdf.fonttype": 42, "legend.frameon": False}
LOSS = r"([\d.eE+-]{1,60}|nan)"
EPOCH = re.compile(rf"epoch \[(\d{{1,6}})/\d{{1,6}}\].{{0,500}}?loss {LOSS} \({LOSS}\)")
LONGEST = 2000  # characters of a line; what is longer is no line of ours, and is read in pieces


def look(methods):
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


def dressed(lines, looks):
    """Return {line: look}: its method's colour and marker, and what tells several lines of one method apart."""
    counts, found = {}, {}
    for line in lines:
        number = counts[line.method] = counts.get(line.method, -1) + 1
        found[line] = {**looks[line.method], "fillstyle": FILLS[number % len(FILLS)],
                       "linestyle": DASHES[number % len(DASHES)]}
    return found


def write(runs, tables, folder):
    """Write all pictures that the runs give rise to; returns the paths of the PNG files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    by_setting = {table.setting: table for table in tables}
    looks, made = look(run.method for run in runs), {}
    with plt.rc_context(STYLE):
        if "few_shot" in by_setting:
            made["few_shot"] = few_shot(by_setting["few_shot"], looks)
        if "base2new" in by_setting:
            made["base_new"] = base_new(by_setting["base2new"], looks)
        made["gains"], made["training"] = gains(runs, looks), training(runs, looks)
        return [save(figure, folder / name) for name, figure in made.items() if figure]


def save(figure, path):
    """Write a picture as PATH.png and PATH.pdf; returns the first."""
    for ending in ("png", "pdf"):
        figure.savefig(f"{path}.{ending}", dpi=DPI, bbox_inches="tight",
                       metadata={"CreationDate": None} if ending == "pdf" else None)
    plt.close(figure)
    return Path(f"{path}.png")


def few_shot(table, looks):
    """Return CoOp's figure: accuracy over shots, one panel a dataset, the average first; zero-shot at 0 shots."""
    filled = [column for number, column in enumerate(table.columns)
              if any(isinstance(row.cells[number], Cell) for row in table.rows)]
    columns = sorted(filled, key=lambda column: column != "average")
    figure, axes = panels(len(columns), 3.4)
    curves = {}
    for row in table.rows:
        curves.setdefault(shotless(row.line), {})[row.line.shots] = row
    kinds = dressed(curves, looks)
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


def panels(count, width, height=2.7):
    """Return (figure, a list of ``count`` axes), four in a row."""
    across = min(4, count)
    down = -(-count // across)
    figure, axes = plt.subplots(down, across, squeeze=False, figsize=(width * across, height * down))
    for axis in list(axes.flat)[count:]:
        axis.remove()
    return figure, list(axes.flat)[:count]


def legend_below(figure):
    """Give a figure one legend of all its panels, below them."""
    pairs = [pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in pairs}
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
                  ncols=min(5, len(handles)))
    figure.tight_layout()


def base_new(table, looks):
    """Return the plane of base and new accuracy, averaged over the datasets, with lines of equal H."""
    column = "average" if "average" in table.columns else table.columns[0]
    names = {row.line: row.label for row in table.rows}
    points = {line: [table.cell(label, part, column) for part in ("Base", "New")] for line, label in names.items()}
    points = {line: pair for line, pair in points.items() if None not in pair}
    if not points:
        return None
    figure, axis = plt.subplots(figsize=(4.6, 4))
    for line, kind in dressed(points, looks).items():
        base, new = points[line]
        axis.errorbar(base.mean, new.mean, xerr=base.std, yerr=new.std, capsize=2, elinewidth=0.8,
                      label=names[line], **{**kind, "linestyle": "none"})
    x, y = np.meshgrid(np.linspace(*axis.get_xlim(), 100), np.linspace(*axis.get_ylim(), 100))
    lines = axis.contour(x, y, 2 * x * y / (x + y), levels=6, colors="#999999", linewidths=0.6, linestyles="dashed")
    axis.clabel(lines, fmt="H %g", fontsize=7)
    axis.set(xlabel="Base accuracy (%)", ylabel="New accuracy (%)", title=column_name(column))
    axis.legend()
    return figure


def gains(runs, looks=None):
    """Return the gain of each class over zero-shot CLIP with the same weights, one panel a row of the tables and subset
    of the classes, all of one setting, dataset and number of shots: that with the most runs; None without any."""
    looks = looks or look(run.method for run in runs)
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
    figure, axes = panels(len(drawn), 3.4, 1.2 + 0.2 * tallest)
    names = labels([line for line, _ in drawn])
    for axis, (line, classes) in zip(axes, drawn, strict=True):
        bars(axis, found[key][line, classes], looks[line.method]["color"])
        part = f", {classes} classes" if classes != "all" else ""
        axis.set(title=f"{names[line]}{part}", xlabel="Points above zero-shot CLIP")
    ends = [end for panel in drawn for end in found[key][panel].values()] + [0]
    plt.setp(axes, xlim=(min(ends) - 1, max(ends) + 1))
    left = f" ({len(drawn)} of {len(found[key])} panels)" if len(drawn) < len(found[key]) else ""
    figure.suptitle(f"{TITLES[setting]}, {column_name(dataset)}, {shots_words(shots)}, {backbone}{left}")
    figure.tight_layout()
    return figure


def gain_panels(held, runs):
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


def by_class(runs):
    """Return {class: mean accuracy over seeds}."""
    values = {}
    for run in runs:
        for name, count in run.content["results"]["test"].get("per_class", {}).items():
            if count["total"]:
                values.setdefault(encodable(name), []).append(100 * count["correct"] / count["total"])
    return {name: float(np.mean(v)) for name, v in values.items()}


def bars(axis, found, colour):
    """Draw {class: gain} as bars, losses hatched."""
    values = list(found.values())
    drawn = axis.barh(range(len(values)), values, color=colour, edgecolor="white")
    for bar, value in zip(drawn, values, strict=True):
        bar.set(hatch="////" if value < 0 else "", alpha=0.6 if value < 0 else 1)
    axis.set_yticks(range(len(values)), list(found) if len(values) <= MOST_NAMES else [""] * len(values))
    axis.axvline(0, color="black", linewidth=0.8)


def curve(folder):
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


def training(runs, looks=None):
    """Return the training loss over epochs, a line for each of a table, a panel a dataset, classes and shots."""
    looks = looks or look(run.method for run in runs)
    found = {}
    for run in runs:
        epochs, losses = curve(run.folder)
        if len(epochs) > 1:
            place = run.setting, run.dataset, run.classes, run.shots
            found.setdefault(place, {}).setdefault(line_of(run), []).append(losses)
    if not found:
        return None
    names = labels({shotless(line) for lines in found.values() for line in lines})
    kinds = dressed(ordered_lines(names), looks)
    figure, axes = panels(len(found), 3.6)
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
