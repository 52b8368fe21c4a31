"""Tables as papers print them: rows methods, columns datasets, mean and spread over seeds, an average at the end."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from . import consistency
from .cell import Cell, average, harmonic_cell, rows_notes, seeds_notes
from .line import Line, epochless, epochs_by_shots, labels, line_of, ordered_lines, shots_words
from .notes import Note
from .published import KEYS, SHORT, TITLES, VARIANTS

if TYPE_CHECKING:
    from .collect import Run

PARTS = {"base": "Base", "new": "New", "H": "H"}


@dataclass
class Row:
    """A row: its line, the part of it ("Base", "New", "H", "4 shots" or ""), and a cell, or None, for each column."""

    line: Line
    label: str
    part: str
    cells: list


@dataclass
class Table:
    """A table of a setting.

    Attributes:
        columns: datasets' names (and "average").
        notes: what to know of its figures.
        source: the dataset that was trained on, where the columns are of others.
    """

    setting: str
    title: str
    columns: list
    rows: list
    notes: list = field(default_factory=list)
    source: str = ""

    def cell(self, label: str, part: str, column: str) -> Cell | str | None:
        """Return the cell of a row's label and part in a column, or None."""
        for row in self.rows:
            if (row.label, row.part) == (label, part):
                return row.cells[self.columns.index(column)]
        return None

    @property
    def lines(self) -> list[Line]:
        return list(dict.fromkeys(row.line for row in self.rows))


def gather(runs: Iterable[Run]) -> tuple[dict[tuple, dict[int, float]], list[Note], list[Run]]:
    """Return ({(line, dataset, classes): {seed: accuracy}}, notes on runs that fill a filled cell, the other runs)."""
    cells, kept, notes = {}, {}, []
    for run in sorted(runs, key=lambda run: ("train_base" not in run.parts, run.folder)):
        key = line_of(run), run.dataset, run.classes
        first = kept.setdefault((key, run.seed), run)
        if first is not run:
            notes.append(Note(f"{run.folder} is left out: {first.folder} has the same method, dataset and seed",
                              (key[0],), run.dataset, PARTS.get(run.classes, "")))
            continue
        cells.setdefault(key, {})[run.seed] = run.accuracy
    return cells, notes, list(kept.values())


def ordered_datasets(datasets: Iterable[str]) -> list[str]:
    """Return datasets' names in the papers' order; unknown ones come last."""
    return sorted(set(datasets), key=lambda key: (KEYS.index(key) if key in KEYS else len(KEYS), key))


def base2new(runs: Iterable[Run]) -> Table:
    """Return the base-to-new table: Base, New and H of each method."""
    cells, notes, kept = gather(run for run in runs if run.setting == "base2new")
    notes += consistency.notes(kept, line_of)
    columns = ordered_datasets(dataset for _, dataset, _ in cells)
    lines = ordered_lines(line for line, _, _ in cells)
    names, rows = labels(lines), []
    for line in lines:
        parts = {part: [Cell.of(cells.get((line, d, part))) for d in columns] for part in ("base", "new")}
        parts["H"] = [harmonic_cell(b, n) for b, n in zip(parts["base"], parts["new"], strict=True)]
        means = {part: average(parts[part]) for part in ("base", "new")}
        means["H"] = harmonic_cell(means["base"], means["new"])
        notes += base2new_notes(line, names[line], columns, parts, means)
        for part, word in PARTS.items():
            rows.append(Row(line, names[line], word, parts[part] + ([means[part]] if len(columns) > 1 else [])))
    return finish("base2new", columns, rows, notes, average_from=columns)


def base2new_notes(line: Line, name: str, columns: list[str], parts: dict[str, Any], means: Any) -> list[Note]:
    """Return the notes on seeds that a line's averages and harmonic means leave out."""
    notes, datasets = [], list(map(column_name, columns))
    for column, base, new in zip(columns, parts["base"], parts["new"], strict=True):
        notes += seeds_notes(f"H of {name} on {column_name(column)}", ["Base", "New"], [base, new], lines=(line,),
                             column=column, part="H")
    for part in ("base", "new"):
        notes += seeds_notes(f"average of {name}, {PARTS[part]}", datasets, parts[part], lines=(line,),
                             column="average", part=PARTS[part])
    if len(columns) > 1:
        notes += seeds_notes(f"H of {name}'s averages", ["Base", "New"], [means["base"], means["new"]],
                             lines=(line,), column="average", part="H")
    return notes


def few_shot(runs: Iterable[Run]) -> Table:
    """Return the few-shot table: one row for a method and a number of shots."""
    cells, notes, kept = gather(run for run in runs if run.setting == "few_shot" and run.data not in VARIANTS)
    notes += consistency.notes(kept, line_of)
    columns = ordered_datasets(dataset for _, dataset, _ in cells)
    found = families(cells)
    notes = [with_families(note, found) for note in notes]
    names, rows = labels([shotless(line) for line in found]), []
    for family in ordered_lines(found):
        row = [Cell.of(found[family].get(dataset)) for dataset in columns]
        label, shots = names[shotless(family)], shots_words(family.shots)
        notes += seeds_notes(f"average of {label}, {shots}", map(column_name, columns), row, lines=(family,),
                             column="average")
        rows.append(Row(family, label, shots,
                        row + ([average(row)] if len(columns) > 1 else [])))
    return finish("few_shot", columns, rows, notes, average_from=columns)


def series(line: Line) -> Line:
    """Return what lines have in common that differ in their shots and in the epochs that these decide."""
    return replace(line, config=epochless(line.config), shots=0)


def families(cells: dict[tuple, Any]) -> dict[Line, dict[str, Any]]:
    """Return {line: {dataset: {seed: accuracy}}} of few-shot cells.

    CoOp's and ProGrad's configs change with the shots and ImageNet's: there they tell no methods apart, and the
    published ones are one line. A config used elsewhere, or alone, is a line of its own.
    """
    def published(line: Line, dataset: str) -> bool:
        return line.config == epochs_by_shots(epochless(line.config), dataset, line.shots)
    configs = {}
    for line, _, _ in cells:
        configs.setdefault(series(line), set()).add(line.config)
    separate = {line for line, dataset, _ in cells if len(configs[series(line)]) == 1 or not published(line, dataset)}
    found = {}
    for (line, dataset, _), values in cells.items():
        if line in separate:
            found.setdefault(line, {})[dataset] = values
        if len(configs[series(line)]) > 1 and published(line, dataset):
            family = replace(series(line), shots=line.shots, by_shots=True)
            found.setdefault(family, {})[dataset] = values
    return found


def with_families(note: Note, found: Collection[Line]) -> Note:
    """Return a note on lines of cells as one on the rows that they are in."""
    rows = [row for line in note.lines for row in (line, replace(series(line), shots=line.shots, by_shots=True))]
    return replace(note, lines=tuple(row for row in rows if row in found))


def shotless(line: Line) -> Line:
    return replace(line, shots=0)


def transfers(runs: Sequence[Run], setting: str) -> list[Table]:
    """Return the cross-dataset ("xd") or the domain generalization ("dg") tables, one for each source."""
    found = [run for run in runs if run.setting == "xd" and (run.data in VARIANTS) == (setting == "dg")]
    return [transfer(runs, [run for run in found if run.source == source], setting, source)
            for source in ordered_datasets(run.source for run in found)]


def transfer(runs: Sequence[Run], found: list[Run], setting: str, source: str) -> Table:
    """Return the table of evaluations, ``found``, of what was trained on ``source``, which is the first column."""
    on_source = {run.dataset for run in found if run.dataset == source}  # the source is no target
    found = [run for run in found if run.dataset != source] or found
    there, notes, kept = gather(found)
    targets = ordered_datasets(dataset for _, dataset, _ in there)
    lines = ordered_lines(line for line, _, _ in there)
    here, more, trained = gather(run for run in runs if run.setting == "few_shot" and run.dataset == source
                                 and line_of(run) in lines)
    notes += more + consistency.notes(kept + trained, line_of)
    first = [source] if any((line, source, "all") in here for line in lines) else []
    names, rows = labels(lines), []
    for line in lines:
        row = [Cell.of(there.get((line, d, "all"))) for d in targets]
        notes += seeds_notes(f"average of {names[line]}", map(column_name, targets), row, lines=(line,),
                             column="average")
        cells = [Cell.of(here.get((line, source, "all"))) for _ in first] + row
        rows.append(Row(line, names[line], "", cells + ([average(row)] if len(targets) > 1 else [])))
    notes += [Note(f"evaluations of {column_name(d)} are left out where it is what was trained on")
              for d in on_source - {*targets}]
    return replace(finish(setting, first + targets, rows, notes, average_from=targets), source=source)


def finish(setting: str, columns: list[str], rows: list[Row], notes: list[Note], average_from: Sequence[str]) -> Table:
    columns = columns + (["average"] if len(average_from) > 1 else [])
    return Table(setting, TITLES[setting], columns, rows, notes + rows_notes(rows))


def tables(runs: Iterable[Run], settings: Collection[str] = tuple(TITLES)) -> list[Table]:
    """Return the tables, in order, that the runs give rise to; empty ones are left out."""
    runs = list(runs)
    general = consistency.unrecorded(runs)
    made = {"base2new": lambda: [base2new(runs)], "few_shot": lambda: [few_shot(runs)],
            "xd": lambda: transfers(runs, "xd"), "dg": lambda: transfers(runs, "dg")}
    return [replace(table, notes=table.notes + general)
            for setting in TITLES if setting in settings for table in made[setting]() if table.rows]


def column_name(key: str) -> str:
    return "Average" if key == "average" else SHORT.get(key, key)
