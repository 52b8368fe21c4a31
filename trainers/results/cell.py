"""The figures of one cell of a table, and what is made of several: averages, harmonic means."""
import statistics
from dataclasses import dataclass

from .notes import Note, listed
from .published import ZERO_SHOT


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
    def of(cls, values):
        return cls(dict(values), statistics.fmean(values.values())) if values else None

    def over(self, seeds):
        """Return the cell over these of its seeds alone."""
        kept = {seed: value for seed, value in self.values.items() if seed in seeds}
        return self if len(kept) == self.n else Cell.of(kept)

    @property
    def n(self):
        return len(self.values)

    @property
    def std(self):
        """The population's deviation over seeds, as CoOp's parser prints it."""
        return statistics.pstdev(self.values.values())

    @property
    def standard_error(self):
        """Of the mean, from the sample's deviation; None for one seed."""
        return statistics.stdev(self.values.values()) / self.n ** 0.5 if self.n > 1 else None

    @property
    def interval(self):
        """Half the width of the 95% interval by Student's t; None for one seed."""
        if self.n < 2:
            return None
        from scipy.stats import t
        return float(t.ppf(0.975, self.n - 1)) * self.standard_error

    def spread(self, kind="std"):
        return None if self.n < 2 else self.std if kind == "std" else self.interval


def harmonic(base, new):
    """Return the harmonic mean of two accuracies."""
    return 2 * base * new / (base + new) if base + new else 0.0


def harmonic_cell(base, new):
    """Return the cell H of a base and a new cell: of their means over the seeds that both have; None without any."""
    if base is None or new is None or not (seeds := common_seeds([base, new])):
        return None
    base, new = base.over(seeds), new.over(seeds)
    values = {seed: harmonic(value, new.values[seed]) for seed, value in base.values.items()}
    return Cell(values, harmonic(base.mean, new.mean))


def average(cells):
    """Return the average over datasets and the seeds that all have; None where a dataset or such a seed is missing."""
    if not cells or None in cells or not (seeds := common_seeds(cells)):
        return None
    cells = [cell.over(seeds) for cell in cells]
    values = {seed: statistics.fmean(cell.values[seed] for cell in cells) for seed in sorted(seeds)}
    return Cell(values, statistics.fmean(cell.mean for cell in cells))


def common_seeds(cells):
    return set.intersection(*(set(cell.values) for cell in cells))


def seeds_notes(what, names, cells, **place):
    """Return a note in a list on the seeds that a figure made of cells leaves out; [] where these have the same.

    Args:
        place: where in the table the figure stands: Note's ``lines``, ``column`` and ``part``.
    """
    if None in cells or not cells:
        return []
    seeds, every = common_seeds(cells), set().union(*(cell.values for cell in cells))
    lacking = "; ".join(f"{name} lacks {words(every - set(cell.values))}"
                        for name, cell in zip(names, cells, strict=True) if len(cell.values) < len(every))
    if not seeds:
        return [Note(f"no {what}, for no seed is in all its parts: {lacking}", **place)]
    alone = f"{what} over seed{'s' * (len(seeds) > 1)} {words(seeds)} alone: {lacking}"
    return [Note(alone, **place)] if lacking else []


def rows_notes(rows):
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


def words(numbers):
    return listed(sorted(numbers), 10)
