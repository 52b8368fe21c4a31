"""A table as terminal text, Markdown, LaTeX or CSV. Figures are rounded here and nowhere else."""
from __future__ import annotations

import csv
import html
import io
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..utils.console import discard_stdout, escape_control_chars, print_stderr
from .cell import Cell
from .line import EPOCHS_BY_SHOTS, learned_shots, shots_words
from .notes import texts
from .table import column_name

if TYPE_CHECKING:
    from rich.console import Console

    from .notes import Note
    from .table import Table

MISSING = "–"


def figure(cell: Cell | str | None, kind: str = "std", digits: int = 2, sign: str = " ± ") -> str:
    """Return a cell as text: its mean and, for several seeds, its spread. Text stays as it is."""
    if cell is None:
        return MISSING
    if isinstance(cell, str):
        return cell
    spread = cell.spread(kind)
    return f"{cell.mean:.{digits}f}" + (f"{sign}{spread:.{digits}f}" if spread is not None else "")


def grid(table: Table, text: Callable,
         name: Callable[[str], str] = escape_control_chars) -> tuple[list[str], list[list[str]]]:
    """Return (heads, rows of strings) of a table: ``text`` makes a cell's, ``name`` what files or people have named.

    One dataset's parts become columns.
    """
    parts = list(dict.fromkeys(row.part for row in table.rows))
    labels = list(dict.fromkeys(row.label for row in table.rows))
    if len(table.columns) == 1 and len(parts) > 1:
        cells = [[text(table.cell(label, part, table.columns[0])) for part in parts] for label in labels]
        return ["Method", *map(name, parts)], [[name(label), *row] for label, row in zip(labels, cells, strict=True)]
    with_parts = any(parts)
    heads = ["Method", *([""] if with_parts else []), *(name(column_name(column)) for column in table.columns)]
    rows, before = [], None
    for row in table.rows:
        label = name(row.label) if row.label != before else ""
        rows.append([label, *([name(row.part)] if with_parts else []), *map(text, row.cells)])
        before = row.label
    return heads, rows


def title(table: Table, name: Callable[[str], str] = escape_control_chars) -> str:
    names = [column for column in table.columns if column != "average"]
    lines = [row.line for row in table.rows]
    shots = learned_shots(lines) or {line.shots for line in lines if line.shots > 0}
    words = [table.title] + ([f"trained on {name(column_name(table.source))}"] if table.source else [])
    words += ([name(column_name(names[0]))] if len(names) == 1 else [])
    return ", ".join(words + ([shots_words(shots.pop())] if len(shots) == 1 else []))


def caption(table: Table, kind: str, name: Callable[[str], str] = escape_control_chars) -> str:
    """Return what the spread is, in words, and which backbones and weights the figures are of."""
    backbones = dict.fromkeys(line.backbone_words for line in table.lines)
    return f"{spread_words(table, kind)} Backbone{'s' * (len(backbones) > 1)}: {', '.join(map(name, backbones))}."


def spread_words(table: Table, kind: str) -> str:
    seeds = sorted({cell.n for row in table.rows for cell in row.cells
                    if isinstance(cell, Cell)})
    over = f"over {seeds[0]} seed{'s' * (seeds[0] > 1)}" if len(seeds) == 1 else f"over {seeds[0]} to {seeds[-1]} seeds"
    if seeds[-1] == 1:
        return "Accuracy in percent, one seed."
    return f"Accuracy in percent, mean ± {'standard deviation' if kind == 'std' else '95% interval'} {over}."


def console() -> Console:
    """Return a rich console as wide as the terminal; wide enough for all datasets where there is none.

    Whoever reads it may go (``| head``): the work goes on.
    """
    from rich.console import Console

    class Lasting(Console):
        def on_broken_pipe(self) -> None:
            discard_stdout()
    return Lasting(width=None if sys.stdout.isatty() else 250, highlight=False, emoji=False)


def blocks(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Return lists of column numbers: blocks that fit ``width`` characters, each with the rows' names."""
    from rich.cells import cell_len
    names = [number for number, head in enumerate(heads) if number == 0 or head == ""]
    wide = [max(map(cell_len, column)) + 3 for column in zip(heads, *rows, strict=True)]  # two blanks and a line
    found = []
    for number in names:
        wide[number] = min(wide[number], width // 2)  # longer ones are folded
    for number in range(len(names), len(heads)):
        if not found or sum(wide[n] for n in [*found[-1], number]) >= width:
            found.append([*names])
        found[-1].append(number)
    return found


def terminal(table: Table, console: Console, kind: str = "std") -> None:
    """Print a table on a rich console; one that is too wide for it in blocks of columns, not cut off."""
    from rich.markup import escape
    from rich.table import Table as Rich
    heads, rows = grid(table, lambda cell: figure(cell, kind))
    console.print(title(table), style="bold", highlight=False, soft_wrap=True, markup=False)
    for block in blocks(heads, rows, console.width):
        out = Rich()
        for number in block:
            left = number == 0 or heads[number] == ""
            out.add_column(escape(heads[number]), justify="left" if left else "right", no_wrap=not left,
                           overflow="fold")  # where it is too narrow the names give way
        for number, row in enumerate(rows):
            last = number + 1 == len(rows) or rows[number + 1][0] != ""
            out.add_row(*(escape(row[n]) for n in block), end_section=last and heads[1] == "")
        console.print(out)
    console.print(caption(table, kind), style="dim", highlight=False, soft_wrap=True)


def verbatim(text: str) -> str:
    """Return a name as Markdown that shows it as it is: no HTML and no link, not even one that GitHub makes of ://."""
    text = re.sub(r"[\\`*_\[\]|~]|:(?=//)|(?<=www)\.", r"\\\g<0>", escape_control_chars(text), flags=re.IGNORECASE)
    return html.escape(text, quote=False)


def markdown(table: Table, kind: str = "std") -> str:
    """Return a table as GitHub's Markdown, with its notes as a list below it."""
    heads, rows = grid(table, lambda cell: figure(cell, kind), verbatim)
    line = ["---" if n == 0 or head == "" else "---:" for n, head in enumerate(heads)]
    body = "\n".join("| " + " | ".join(row) + " |" for row in [heads, line, *rows])
    notes = "".join(f"- {verbatim(note)}\n" for note in texts(table.notes))
    return (f"**{title(table, verbatim)}.** {caption(table, kind, verbatim)}\n\n{body}\n"
            + (f"\nNotes:\n\n{notes}" if notes else ""))


TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", MISSING: "--", "±": r"$\pm$",
       **{sign: "\\" + sign for sign in "&%$#_{}"}}


def tex(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    return "".join(TEX.get(sign, sign) for sign in text)


def latex(table: Table, kind: str = "std") -> str:
    """Return a table for LaTeX with booktabs: \\usepackage{booktabs}, graphicx for the wide ones."""
    heads, rows = grid(table, lambda cell: figure(cell, kind))
    left = "".join("l" if n == 0 or head == "" else "r" for n, head in enumerate(heads))
    body = []
    for number, row in enumerate(rows):
        if number and heads[1] == "" and row[0]:
            body.append(r"\midrule")
        body.append(" & ".join(map(tex, row)) + r" \\")
    inner = "\n".join([rf"\begin{{tabular}}{{{left}}}", r"\toprule", " & ".join(map(tex, heads)) + r" \\", r"\midrule",
                       *body, r"\bottomrule", r"\end{tabular}"])
    if len(heads) > 6:
        inner = "\\resizebox{\\textwidth}{!}{%\n" + inner + "}"
    notes = "".join(f"\\\\ Note: {tex(escape_control_chars(note))}\n" for note in texts(table.notes))
    notes = notes.removeprefix("\\\\ ")
    below = f"\\par\\smallskip\n{{\\footnotesize\\raggedright\n{notes}\\par}}\n" if notes else ""
    return (f"\\begin{{table}}[t]\n\\centering\n\\caption{{{tex(title(table))}. {tex(caption(table, kind))}}}\n"
            f"{inner}\n{below}\\end{{table}}\n")


def entry(name: str) -> str:
    """Return a name as a CSV's entry: a spreadsheet computes what begins as a formula does."""
    name = escape_control_chars(name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def as_csv(tables: Iterable[Table]) -> str:
    """Return all tables as one CSV, a line a cell, unrounded, the notes on it in its last column."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["setting", "method", "config", "variant", "backbone", "shots", "part", "dataset", "mean", "std",
                     "interval95", "seeds", "values", "weights", "source", "split", "notes"])
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if isinstance(cell, Cell):
                    line = row.line
                    config = f"{line.config} ({EPOCHS_BY_SHOTS})" if line.by_shots else line.config
                    names = map(entry, (table.setting, line.method, config, line.variant, line.backbone))
                    writer.writerow([*names, line.shots, entry(row.part), entry(column),
                                     repr(cell.mean), repr(cell.std) if cell.n > 1 else "",
                                     "" if cell.interval is None else repr(cell.interval),
                                     " ".join(map(str, cell.values)), " ".join(map(repr, cell.values.values())),
                                     *map(entry, (line.weights, table.source, line.split or "test",
                                                  "; ".join(texts(note for note in table.notes
                                                                  if note.about(row, column)))))])
    return out.getvalue()


def say_notes(notes: Iterable[Note | str], most: int = 10) -> None:
    """Print the first of some notes on standard error, and how many more there are."""
    found = sorted(texts(notes))
    for note in found[:most]:
        print_stderr(f"note: {note}")
    if len(found) > most:
        print_stderr(f"note: {len(found) - most} more notes are left out here: --format markdown and --html have all")
