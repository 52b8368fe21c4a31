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

from .collect import ZERO_SHOT, encodable
from .table import ORDER, Cell, column_name, shots_words

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
MARKERS = "osD^vPX*<>"
DPI = 180
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.6,
         "text.parse_math": False,  # names are no formulas, whatever is in them
         "lines.markersize": 5, "pdf.fonttype": 42, "legend.frameon": False}
LOSS = r"([\d.eE+-]{1,60}|nan)"
EPOCH = re.compile(rf"epoch \[(\d{{1,6}})/\d{{1,6}}\].{{0,500}}?loss {LOSS} \({LOSS}\)")
LONGEST = 2000  # characters of a line; what is longer is no line of ours, and is read in pieces


def look(labels):
    """Return {label: {"color", "marker"}}, the same for the same labels whatever their order."""
    def place(label):
        method = label.split(" (")[0]
        return ORDER.index(method) if method in ORDER else len(ORDER), label
    return {label: {"color": COLOURS[n % len(COLOURS)], "marker": MARKERS[n % len(MARKERS)]}
            for n, label in enumerate(sorted(set(labels), key=place))}


def write(runs, tables, folder):
    """Write all pictures that the runs give rise to; returns the paths of the PNG files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    by_setting = {table.setting: table for table in tables}
    made = {}
    with plt.rc_context(STYLE):
        if "few_shot" in by_setting:
            made["few_shot"] = few_shot(by_setting["few_shot"])
        if "base2new" in by_setting:
            made["base_new"] = base_new(by_setting["base2new"])
        made["gains"], made["training"] = gains(runs), training(runs)
        paths = []
        for name, figure in made.items():
            if figure:
                for ending in ("png", "pdf"):
                    figure.savefig(folder / f"{name}.{ending}", dpi=DPI, bbox_inches="tight",
                                   metadata={"CreationDate": None} if ending == "pdf" else None)
                paths.append(folder / f"{name}.png")
                plt.close(figure)
    return paths


def few_shot(table):
    """Return CoOp's figure: accuracy over shots, one panel a dataset, the average first; zero-shot at 0 shots."""
    columns = sorted(table.columns, key=lambda column: column != "average")
    across = min(4, len(columns))
    figure, axes = plt.subplots(-(-len(columns) // across), across, squeeze=False,
                                figsize=(3.4 * across, 2.7 * -(-len(columns) // across)))
    rows = [row for row in table.rows if row.part != "difference" and "published" not in row.part]
    looks = look(row.label for row in rows)
    for axis, column in zip(axes.flat, columns, strict=False):
        number = table.columns.index(column)
        for label, kind in looks.items():
            points = sorted((row.line.shots, row.cells[number]) for row in rows
                            if row.label == label and isinstance(row.cells[number], Cell))
            if points:
                x, cells = zip(*points, strict=True)
                axis.errorbar(x, [cell.mean for cell in cells], yerr=[cell.std for cell in cells], capsize=2,
                              elinewidth=0.8, linestyle="-" if len(x) > 1 else "none", label=label, **kind)
        shots = sorted({row.line.shots for row in rows})
        axis.set_xticks(shots, shots)
        axis.set_title(column_name(column), fontweight="bold" if column == "average" else None)
        axis.set_xlabel("Training images a class")
    for axis in axes[:, 0]:
        axis.set_ylabel("Accuracy (%)")
    for axis in list(axes.flat)[len(columns):]:
        axis.remove()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=min(5, len(labels)))
    figure.tight_layout()
    return figure


def base_new(table):
    """Return the plane of base and new accuracy, averaged over the datasets, with lines of equal H."""
    column = "average" if "average" in table.columns else table.columns[0]
    labels = list(dict.fromkeys(row.label for row in table.rows))
    points = {label: [table.cell(label, part, column) for part in ("Base", "New")] for label in labels}
    points = {label: pair for label, pair in points.items() if None not in pair}
    if not points:
        return None
    figure, axis = plt.subplots(figsize=(4.6, 4))
    for label, kind in look(points).items():
        base, new = points[label]
        axis.errorbar(base.mean, new.mean, xerr=base.std, yerr=new.std, capsize=2, elinewidth=0.8, linestyle="none",
                      label=label, **kind)
    x, y = np.meshgrid(np.linspace(*axis.get_xlim(), 100), np.linspace(*axis.get_ylim(), 100))
    lines = axis.contour(x, y, 2 * x * y / (x + y), levels=6, colors="#999999", linewidths=0.6, linestyles="dashed")
    axis.clabel(lines, fmt="H %g", fontsize=7)
    axis.set(xlabel="Base accuracy (%)", ylabel="New accuracy (%)", title=column_name(column))
    axis.legend()
    return figure


def gains(runs):
    """Return the gain of each class over zero-shot CLIP, one panel a method, of the dataset with the most runs."""
    def classes(method, dataset, part):
        """{class: mean accuracy over seeds}"""
        values = {}
        for run in runs:
            if (run.method, run.dataset, run.classes) == (method, dataset, part):
                figures = run.content["results"].get("test", {}).get("per_class", {})
                for name, count in figures.items():
                    if count["total"]:
                        values.setdefault(encodable(name), []).append(100 * count["correct"] / count["total"])
        return {name: float(np.mean(v)) for name, v in values.items()}

    grounds = {(run.dataset, run.classes): classes("ZeroshotCLIP", run.dataset, run.classes) for run in runs}
    methods = list(dict.fromkeys(run.method for run in runs if run.method not in ZERO_SHOT))
    counts = {key: sum((run.dataset, run.classes) == key for run in runs) for key, ground in grounds.items() if ground}
    if not counts or not methods:
        return None
    dataset = max(counts, key=counts.__getitem__)[0]
    panels = {}
    for method in methods:
        found = {}
        for (name, part), ground in grounds.items():
            if name == dataset:
                mine = classes(method, dataset, part)
                found.update({(part, c): mine[c] - ground[c] for c in mine if c in ground})
        if found:
            panels[method] = dict(sorted(found.items(), key=lambda item: item[1]))
    if not panels:
        return None
    most = max(map(len, panels.values()))
    size = 3.4 * len(panels), 1.2 + 0.2 * min(most, 60)
    figure, axes = plt.subplots(1, len(panels), squeeze=False, sharex=True, figsize=size)
    for axis, (method, found) in zip(axes.flat, panels.items(), strict=True):
        names = [c if part == "all" else f"{c} ({part})" for part, c in found]
        values = list(found.values())
        axis.barh(range(len(values)), values, color=[COLOURS[0] if v >= 0 else COLOURS[1] for v in values],
                  hatch=["" if v >= 0 else "///" for v in values], edgecolor="white")
        axis.set_yticks(range(len(values)), names if len(values) <= 60 else [""] * len(values))
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=method, xlabel="Points above zero-shot CLIP")
    figure.suptitle(column_name(dataset))
    figure.tight_layout()
    return figure


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


def training(runs):
    """Return the training loss over epochs, a line a method, a panel a dataset, classes and shots; None without any."""
    panels = {}
    for run in runs:
        epochs, losses = curve(run.folder)
        if len(epochs) > 1:
            classes = [f"{run.classes} classes"] if run.classes != "all" else []
            words = [column_name(run.dataset), *classes, shots_words(run.shots)]
            panels.setdefault(", ".join(words), {}).setdefault(run.method, []).append(losses)
    if not panels:
        return None
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    figure, axes = plt.subplots(down, across, squeeze=False, figsize=(3.6 * across, 2.7 * down))
    looks = look(method for methods in panels.values() for method in methods)
    for axis, (words, methods) in zip(axes.flat, panels.items(), strict=False):
        for method, kind in looks.items():
            if method in methods:
                lines = np.array([line[:min(map(len, methods[method]))] for line in methods[method]])
                epochs = np.arange(1, lines.shape[1] + 1)
                axis.plot(epochs, lines.mean(0), label=method, markevery=max(1, len(epochs) // 6), **kind)
                axis.fill_between(epochs, lines.min(0), lines.max(0), color=kind["color"], alpha=0.2, linewidth=0)
        axis.set(title=words, xlabel="Epoch", ylabel="Training loss", ylim=(0, None))
    for axis in list(axes.flat)[len(panels):]:
        axis.remove()
    pairs = [pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in pairs}
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
                  ncols=min(5, len(handles)))
    figure.tight_layout()
    return figure
