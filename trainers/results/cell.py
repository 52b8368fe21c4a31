"""The figures of one cell of a table, and what is made of several: averages, harmonic means."""
from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .notes import Note, listed
from .published import ZERO_SHOT

if TYPE_CHECKING:
    from .table import Row


@dataclass(frozen=True)
class Cell:
    """The figures of one cell.

    Attributes:
        values: {seed: accuracy in percent}, unrounded.
        mean: what is printed: the mean over seeds (of H: the harmonic mean of the printed means' sources).
    """

    values: dict
    mean: float

    @classmethod
    def of(cls, values: dict[int, float] | None) -> Cell | None:
        return cls(dict(values), statistics.fmean(values.values())) if values else None

    def over(self, seeds: Collection[int]) -> Cell:
        """Return the cell over these of its seeds alone, of which it has one at least."""
        kept = {seed: value for seed, value in self.values.items() if seed in seeds}
        return self if len(kept) == self.n else Cell(kept, statistics.fmean(kept.values()))

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def std(self) -> float:
        """The population's deviation over seeds, as CoOp's parser prints it."""
        return statistics.pstdev(self.values.values())

    @property
    def standard_error(self) -> float | None:
        """Of the mean, from the sample's deviation; None for one seed."""
        return statistics.stdev(self.values.values()) / self.n ** 0.5 if self.n > 1 else None

    @property
    def interval(self) -> float | None:
        """Half the width of the 95% interval by Student's t; None for one seed."""
        error = self.standard_error
        if error is None:
            return None
        from scipy.stats import t
        return float(t.ppf(0.975, self.n - 1)) * error

    def spread(self, kind: str = "std") -> float | None:
        return None if self.n < 2 else self.std if kind == "std" else self.interval


def harmonic(base: float, new: float) -> float:
    """Return the harmonic mean of two accuracies."""
    return 2 * base * new / (base + new) if base + new else 0.0


def harmonic_cell(base: Cell | None, new: Cell | None) -> Cell | None:
    """Return the cell H of a base and a new cell: of their means over the seeds that both have; None without any."""
    if base is None or new is None or not (seeds := common_seeds([base, new])):
        return None
    base, new = base.over(seeds), new.over(seeds)
    values = {seed: harmonic(value, new.values[seed]) for seed, value in base.values.items()}
    return Cell(values, harmonic(base.mean, new.mean))


def average(cells: Sequence[Cell | None]) -> Cell | None:
    """Return the average over datasets and the seeds that all have; None where a dataset or such a seed is missing."""
    filled = [cell for cell in cells if cell is not None]
    if not cells or len(filled) < len(cells) or not (seeds := common_seeds(filled)):
        return None
    filled = [cell.over(seeds) for cell in filled]
    values = {seed: statistics.fmean(cell.values[seed] for cell in filled) for seed in sorted(seeds)}
    return Cell(values, statistics.fmean(cell.mean for cell in filled))


def common_seeds(cells: Iterable[Cell]) -> set[int]:
    return set.intersection(*(set(cell.values) for cell in cells))


def seeds_notes(what: str, names: Iterable[str], cells: Sequence[Cell | None], **place: Any) -> list[Note]:
    """Return a note in a list on the seeds that a figure made of cells leaves out; [] where these have the same.

    Args:
        place: where in the table the figure stands: Note's ``lines``, ``column`` and ``part``.
    """
    filled = [cell for cell in cells if cell is not None]
    if not cells or len(filled) < len(cells):
        return []
    seeds, every = common_seeds(filled), set().union(*(cell.values for cell in filled))
    lacking = "; ".join(f"{name} lacks {words(every - set(cell.values))}"
                        for name, cell in zip(names, filled, strict=True) if len(cell.values) < len(every))
    if not seeds:
        return [Note(f"no {what}, for no seed is in all its parts: {lacking}", **place)]
    alone = f"{what} over seed{'s' * (len(seeds) > 1)} {words(seeds)} alone: {lacking}"
    return [Note(alone, **place)] if lacking else []


def rows_notes(rows: Iterable[Row]) -> list[Note]:
    """Return notes on rows that are over fewer seeds than others of their table."""
    seeds = {}
    for row in rows:
        if row.part != "H" and row.line.method not in ZERO_SHOT:
            held = frozenset().union(*(cell.values for cell in row.cells if cell))
            seeds.setdefault(row.label, {}).setdefault(held, []).append(row)
    every = frozenset().union(*(held for found in seeds.values() for held in found))
    notes = []
    for label, found in seeds.items():
        for held, some in found.items():
            if held and held < every:
                part = f", {', '.join(row.part for row in some)}" if len(found) > 1 else ""
                notes.append(Note(f"{label}{part}: over seed{'s' * (len(held) > 1)} {words(held)} alone, where other "
                                  f"rows have {words(every)}", tuple(dict.fromkeys(row.line for row in some))))
    return notes


def words(numbers: Iterable[int]) -> str:
    return listed(sorted(numbers), 10)
