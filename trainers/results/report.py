"""One self-contained page: tables that sort, the pictures, every run's classes, config and the end of its log."""
from __future__ import annotations

import base64
import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..utils import atomic, pages
from . import plots, render
from .cell import Cell
from .classes import MOST_CLASSES, class_rows, confusion_rows
from .collect import Run
from .frame import frame, run_date
from .identity import replace_surrogates
from .line import line_of, shots_words
from .notes import Note, texts
from .plot_style import DPI
from .published import TITLES
from .table import Table, ordered_datasets

Entry = tuple[str, float | None, bool]  # text, sort value, whether it is the best of its column
LOG_LINES = 200
MOST_NAMED = 3  # datasets in the page's title
CAPTIONS = {"few_shot": "Accuracy over training images a class; bars are one standard deviation over seeds.",
            "base_new": "Base against new accuracy; dashed lines are of equal harmonic mean.",
            "gains": "What each class gains over zero-shot CLIP with the same weights, mean over seeds, in the one "
                     "setting named above the panels: that with the most runs. Losses are hatched.",
            "training": "Training loss of each epoch, mean over seeds; the band is from the least to the greatest."}


def write_report(runs: Sequence[Run], tables: Sequence[Table], path: str | Path, missing: Sequence[str] = (),
                 notes: Sequence[Note] = (), compared: Sequence[tuple[Table | None, Table]] = ()) -> None:
    """Write the page to a file, whole or not at all; arguments as of ``page``."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(path, replace_surrogates(page(runs, tables, missing, notes, compared)))


def page(runs: Sequence[Run], tables: Sequence[Table], missing: Sequence[str] = (), notes: Sequence[Note] = (),
         compared: Sequence[tuple[Table | None, Table]] = ()) -> str:
    """Return the whole page as text.

    Args:
        missing: calls of scripts that fill the tables' gaps; notes: why some gaps have none.
        compared: of each table the block of its averages beside published figures (None without any), and the table
            with published rows.
    """
    dates = sorted(run_date(run).date().isoformat() for run in runs)
    weights = dict.fromkeys((line.backbone_name or "not recorded", line.weights) for line in map(line_of, runs))
    shared = shared_notes(tables)
    return pages.render(
        __package__, "report.html", title=headline(runs), count=len(runs), general=shared,
        backbones=[{"name": name, "weights": digest} for name, digest in weights],
        dates=dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
        made=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"), versions=version_words(runs),
        tables=[results_table(table, shared) for table in tables], missing=list(missing), reasons=texts(notes),
        compared=[comparison(averages, every) for averages, every in compared], images=pictures(runs, tables),
        runs=runs_table(runs), details=[details(run) for run in runs])


def headline(runs: Sequence[Run]) -> str:
    """Return what the page is of: how many runs, on which datasets."""
    names = list(map(render.column_name, ordered_datasets(run.dataset for run in runs)))
    named = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} datasets"
    return f"Results on {named}, {len(runs)} run{'s' * (len(runs) > 1)}"


def version_words(runs: Sequence[Run]) -> str:
    """Return which versions of PromptReg the runs are of, else this one."""
    found = {str(run.content.get("versions", {}).get("promptreg") or "") for run in runs} - {""}
    return ", ".join(sorted(found)) or __version__


def shared_notes(tables: Sequence[Table]) -> list[str]:
    """Return the notes that all of several tables have: they are about the whole page."""
    several = [texts(table.notes) for table in tables]
    return [note for note in several[0] if all(note in other for other in several)] if len(several) > 1 else []


def results_table(table: Table, shared: Sequence[str] = ()) -> dict[str, Any]:
    """Return the section of one table: for several datasets a table a part (Base, New, H; a number of shots), so that
    sorting a column compares like with like."""
    parts = list(dict.fromkeys(row.part for row in table.rows))
    if len(table.columns) == 1 and len(parts) > 1:
        labels = list(dict.fromkeys(row.label for row in table.rows))
        rows = [(label, [table.cell(label, part, table.columns[0]) for part in parts]) for label in labels]
        made = [{"name": "", "heads": ["Method", *parts], "rows": with_best(rows)}]
    else:
        made = [{"name": part, "heads": ["Method", *map(render.column_name, average_first(table, table.columns))],
                 "rows": with_best([(row.label, average_first(table, row.cells)) for row in table.rows
                                    if row.part == part])} for part in parts]
    return {"title": render.title(table), "parts": made, "caption": render.caption(table, "std"),
            "notes": [note for note in texts(table.notes) if note not in shared]}


def average_first(table: Table, entries: Sequence) -> list:
    """Return a row's entries with the average's, which stands last in papers, first: beside the method."""
    entries = list(entries)
    return entries[-1:] + entries[:-1] if table.columns[-1:] == ["average"] else entries


def with_best(rows: Sequence[tuple[str, Sequence[Cell | str | None]]]) -> list[list[Entry]]:
    """Return [(label, cells), …] as rows of a sortable table; the best of a column of several figures is marked."""
    best = []
    for column in zip(*(cells for _, cells in rows), strict=True):
        printed = {render.figure(cell): cell.mean for cell in column if isinstance(cell, Cell)}
        highest = max(printed.values(), default=None)
        several = sum(isinstance(cell, Cell) for cell in column) > 1
        best.append({f"{highest:.2f}"} if several and highest is not None else set())
    return [[(label, None, False), *((*entry(cell), isinstance(cell, Cell) and f"{cell.mean:.2f}" in marks)
                                     for cell, marks in zip(cells, best, strict=True))] for label, cells in rows]


def entry(cell: Cell | str | None) -> tuple[str, float | None]:
    """Return (text, sort value) of a table's cell."""
    return render.figure(cell), getattr(cell, "mean", None)


def comparison(averages: Table | None, every: Table) -> dict[str, Any]:
    """Return the section of one table beside published figures; ``every`` is None where none is published."""
    rows = [[(row.label, None, False), (row.part, None, False),
             *((*entry(cell), False) for cell in average_first(every, row.cells))] for row in every.rows]
    block = None if averages is None else {
        "title": averages.title, "heads": ["Method", "", *map(str.capitalize, averages.columns)], "words": [0, 1],
        "rows": [[(row.label, None, False), (row.part, None, False), *((*entry(cell), False) for cell in row.cells)]
                 for row in averages.rows]}
    published = any(row.part == "difference" for row in every.rows)
    heads = ["Method", "", *map(render.column_name, average_first(every, every.columns))]
    return {"averages": block, "notes": [note for note in texts(every.notes) if "two standard errors" in note],
            "every": {"title": render.title(every), "heads": heads, "words": [0, 1], "rows": rows} if published
            else None}


def pictures(runs: Sequence[Run], tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return the pictures as data, those of several panels also with one panel a row, for narrow screens."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for path in plots.write_plots(runs, tables, folder, ("png",), narrow=True):
            narrow = path.with_name(f"{path.stem}-narrow.png")
            found.append({"caption": CAPTIONS[path.stem], "wide": image(path),
                          "narrow": image(narrow) if narrow.exists() else None})
        return found


def image(path: Path) -> dict[str, Any]:
    """Return a picture's data and the width, in CSS pixels, that its letters were made for."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big") * 110 // DPI  # of the PNG's header
    return {"width": width, "data": f"data:image/png;base64,{base64.b64encode(data).decode()}"}


def runs_table(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the section of all runs: what tells rows of tables apart, the figures, and last the path."""
    heads = ["Method", "Accuracy", "Macro F1", "Dataset", "Setting", "Classes", "Shots", "Seed", "Config", "Backbone",
             "Seconds", "Peak MiB", "Date", "Run"]
    rows = []
    for run, (_, row) in zip(runs, frame(runs).iterrows(), strict=True):
        setting = TITLES[run.setting] + (f" from {render.column_name(run.source)}" if run.source else "")
        split = f" ({run.split})" if run.split else ""
        config = ", ".join(filter(None, (run.config, run.variant)))
        rows.append([(run.method, None, False), number(row.accuracy, 2, split), number(row.macro_f1, 2),
                     *word(render.column_name(run.dataset), setting, run.classes),
                     (shots_words(run.shots), run.shots, False), (str(run.seed), run.seed, False),
                     *word(config, line_of(run).backbone_words), number(row.seconds), number(row.peak_memory_mib),
                     *word(f"{row.date:%Y-%m-%d %H:%M}", run.folder)])
    return {"heads": heads, "words": [0, 3, 4, 5, 8, 9, 12, 13], "rows": rows}


def word(*words: str) -> list[Entry]:
    return [(text, None, False) for text in words]


def number(value: float, digits: int = 0, unit: str = "") -> Entry:
    """Return a figure as an entry of a sortable table."""
    return ("–", None, False) if value != value else (f"{value:.{digits}f}{unit}", float(value), False)


def details(run: Run) -> dict[str, Any]:
    """Return a run's classes, confusion matrix, config, origin and the end of its log."""
    log = Path(run.folder) / "log.txt"
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.is_file() else ["(no log.txt)"]
    words = [render.column_name(run.dataset), run.classes if run.classes != "all" else "", shots_words(run.shots),
             f"seed {run.seed}"]
    classes = class_rows(run)
    return {"path": run.folder, "accuracy": f"{run.accuracy:.2f}%",
            "words": f"{run.method}, {', '.join(filter(None, words))}", "commit": str(run.content.get("git")),
            "versions": ", ".join(f"{k} {v}" for k, v in run.content.get("versions", {}).items() if v),
            "notes": texts(run.content.get("notes") or []), "config": str(run.content.get("config", "")),
            "log": "\n".join(lines), "classes": classes[:MOST_CLASSES],
            "left_out": max(0, len(classes) - MOST_CLASSES), "matrix": confusion_rows(run)}
