"""Tables as papers print them: rows methods, columns datasets, mean and spread over seeds, an average at the end."""
import statistics
from dataclasses import dataclass, field, replace

from . import mixed
from .collect import KEYS, SHORT, VARIANTS, ZERO_SHOT

TITLES = {"base2new": "Base-to-new", "few_shot": "Few-shot", "xd": "Cross-dataset", "dg": "Domain generalization"}
ORDER = ("ZeroshotCLIP", "ZeroshotCLIP2", "CoOp", "CoCoOp", "KgCoOp", "ProGrad", "VPT", "IVLP", "MaPLe", "PromptSRC")
EPOCHS_BY_SHOTS = "epochs by shots"
PARTS = {"base": "Base", "new": "New", "H": "H"}


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


@dataclass(frozen=True, order=True)
class Line:
    """What makes a row of its own: a method with its config, variant, shots and backbone.

    With ``by_shots`` the row holds CoOp's and ProGrad's configs of several epochs, and ``config`` bears none.
    """

    method: str
    config: str = ""
    variant: str = ""
    shots: int = 0
    backbone: str = ""
    by_shots: bool = False


@dataclass
class Row:
    """A row: its line, the part of it ("Base", "New", "H", "4 shots" or ""), and a cell, or None, for each column."""

    line: Line
    label: str
    part: str
    cells: list


@dataclass
class Table:
    """A table of a setting; ``columns`` are datasets' keys (and "average")."""

    setting: str
    title: str
    columns: list
    rows: list
    notes: list = field(default_factory=list)

    def cell(self, label, part, column):
        """Return the cell of a row's label and part in a column, or None."""
        for row in self.rows:
            if (row.label, row.part) == (label, part):
                return row.cells[self.columns.index(column)]
        return None


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


def seeds_notes(what, names, cells):
    """Return a note in a list on the seeds that a figure made of cells leaves out; [] where these have the same."""
    if None in cells or not cells:
        return []
    seeds, every = common_seeds(cells), set().union(*(cell.values for cell in cells))
    lacking = "; ".join(f"{name} lacks {words(every - set(cell.values))}"
                        for name, cell in zip(names, cells, strict=True) if len(cell.values) < len(every))
    if not seeds:
        return [f"no {what}, for no seed is in all its parts: {lacking}"]
    return [f"{what} over seed{'s' * (len(seeds) > 1)} {words(seeds)} alone: {lacking}"] if lacking else []


def words(numbers):
    return ", ".join(map(str, sorted(numbers)))


def line_of(run):
    return Line(run.method, run.config, run.variant, run.shots, run.backbone)


def gather(runs):
    """Return ({(line, dataset, classes): {seed: accuracy}}, notes on runs that fill a filled cell, the other runs)."""
    cells, kept, notes = {}, {}, []
    for run in sorted(runs, key=lambda run: ("train_base" not in run.parts, run.folder)):
        key = line_of(run), run.dataset, run.classes
        first = kept.setdefault((key, run.seed), run)
        if first is not run:
            notes.append(f"{run.folder} is left out: {first.folder} has the same method, dataset and seed")
            continue
        cells.setdefault(key, {})[run.seed] = run.accuracy
    return cells, notes, list(kept.values())


def labels(lines):
    """Return {line: label}: the method, and in brackets what tells it from others of the same method.

    Backbone and shots are told wherever they differ within the table: rows stand there to be compared.
    """
    several = len({line.backbone for line in lines}) > 1, len(learned_shots(lines)) > 1
    told = {}
    for line in lines:
        same = [other for other in lines if other.method == line.method]
        more = [line.config] if len({(o.config, o.by_shots) for o in same}) > 1 else []
        namesake = any(other.config == line.config and not other.by_shots for other in same)
        more += [EPOCHS_BY_SHOTS] if line.by_shots and namesake else []
        more += [line.variant] if len({other.variant for other in same}) > 1 else []
        backbone = [line.backbone] if several[0] else []
        learned = line.shots in learned_shots([line])
        shots = [f"{line.shots} shots"] if several[1] and learned or len({o.shots for o in same}) > 1 else []
        words = list(filter(None, more + backbone + shots))
        told[line] = line.method + (f" ({', '.join(words)})" if words else "")
    return told


def learned_shots(lines):
    """Return the set of the numbers of shots that methods have learned from; zero-shot CLIP learns from none."""
    return {line.shots for line in lines if line.shots > 0 and line.method not in ZERO_SHOT}


def ordered_lines(lines):
    """Return lines in the papers' order of methods; unknown methods come last."""
    def place(line):
        return ORDER.index(line.method) if line.method in ORDER else len(ORDER), line
    return sorted(set(lines), key=place)


def ordered_datasets(datasets):
    """Return datasets' keys in the papers' order; unknown ones come last."""
    return sorted(set(datasets), key=lambda key: (KEYS.index(key) if key in KEYS else len(KEYS), key))


def base2new(runs):
    """Return the base-to-new table: Base, New and H of each method."""
    cells, notes, kept = gather(run for run in runs if run.setting == "base2new")
    notes += mixed.notes(kept, line_of)
    columns = ordered_datasets(dataset for _, dataset, _ in cells)
    lines = ordered_lines(line for line, _, _ in cells)
    names, rows = labels(lines), []
    for line in lines:
        parts = {part: [Cell.of(cells.get((line, d, part))) for d in columns] for part in ("base", "new")}
        parts["H"] = [harmonic_cell(b, n) for b, n in zip(parts["base"], parts["new"], strict=True)]
        means = {part: average(parts[part]) for part in ("base", "new")}
        means["H"] = harmonic_cell(means["base"], means["new"])
        datasets = list(map(column_name, columns))
        for number, dataset in enumerate(datasets):
            pair = [parts["base"][number], parts["new"][number]]
            notes += seeds_notes(f"H of {names[line]} on {dataset}", ["Base", "New"], pair)
        for part in ("base", "new"):
            notes += seeds_notes(f"average of {names[line]}, {PARTS[part]}", datasets, parts[part])
        if len(columns) > 1:
            notes += seeds_notes(f"H of {names[line]}'s averages", ["Base", "New"], [means["base"], means["new"]])
        for part, word in PARTS.items():
            rows.append(Row(line, names[line], word, parts[part] + ([means[part]] if len(columns) > 1 else [])))
    return finish("base2new", columns, rows, notes, average_from=columns)


def few_shot(runs):
    """Return the few-shot table: one row for a method and a number of shots."""
    cells, notes, kept = gather(run for run in runs if run.setting == "few_shot" and run.dataset not in VARIANTS)
    notes += mixed.notes(kept, line_of)
    columns = ordered_datasets(dataset for _, dataset, _ in cells)
    found = families(cells)
    names, rows = labels([shotless(line) for line in found]), []
    for family in ordered_lines(found):
        row = [Cell.of(found[family].get(dataset)) for dataset in columns]
        label, shots = names[shotless(family)], shots_words(family.shots)
        notes += seeds_notes(f"average of {label}, {shots}", map(column_name, columns), row)
        rows.append(Row(family, label, shots,
                        row + ([average(row)] if len(columns) > 1 else [])))
    return finish("few_shot", columns, rows, notes, average_from=columns)


def families(cells):
    """Return {line: {dataset: {seed: accuracy}}} of few-shot cells.

    CoOp's and ProGrad's configs change with the shots and ImageNet's: there they tell no methods apart, and the
    published ones are one line. A config used elsewhere, or alone, is a line of its own.
    """
    def series(line):
        return replace(line, config=epochless(line.config), shots=0)

    def published(line, dataset):
        return line.config == epochs_by_shots(epochless(line.config), dataset, line.shots)
    configs = {}
    for line, _, _ in cells:
        configs.setdefault(series(line), set()).add(line.config)
    own = {line for line, dataset, _ in cells if len(configs[series(line)]) == 1 or not published(line, dataset)}
    found = {}
    for (line, dataset, _), values in cells.items():
        if line in own:
            found.setdefault(line, {})[dataset] = values
        if len(configs[series(line)]) > 1 and published(line, dataset):
            family = replace(series(line), shots=line.shots, by_shots=True)
            found.setdefault(family, {})[dataset] = values
    return found


def shotless(line):
    return replace(line, shots=0)


def shots_words(shots):
    return {0: "zero-shot", 1: "1 shot"}.get(shots, f"{shots} shots")


def epochless(config):
    """Return a config's name without the epochs that the number of shots decides (rn50_ep100 → rn50)."""
    name, _, epochs = config.rpartition("_ep")
    return name if name and epochs.isdigit() else config


def epochs_by_shots(config, dataset, shots):
    """Return the config of CoOp and ProGrad for a dataset and shots, as the scripts' function of this name does."""
    if dataset == "imagenet" or shots == 1:
        return f"{config}_ep50"
    return f"{config}_ep100" if shots in (2, 4) else config


def transfer(runs, setting):
    """Return the cross-dataset ("xd") or the domain generalization ("dg") table; the source is the first column."""
    found = [run for run in runs if run.setting == "xd" and (run.dataset in VARIANTS) == (setting == "dg")]
    own = {run.dataset for run in found if run.dataset == run.source}  # the source is no target
    found = [run for run in found if run.dataset != run.source] or found
    there, notes, kept = gather(found)
    if not there:
        return finish(setting, [], [], [], [])
    targets = ordered_datasets(dataset for _, dataset, _ in there)
    lines = ordered_lines(line for line, _, _ in there)
    here, more, trained = gather(run for run in runs if run.setting == "few_shot" and run.dataset == "imagenet"
                                 and line_of(run) in lines)
    notes += more + mixed.notes(kept + trained, line_of)
    source = ["imagenet"] if any((line, "imagenet", "all") in here for line in lines) else []
    names, rows = labels(lines), []
    for line in lines:
        first = [Cell.of(here.get((line, "imagenet", "all")))] if source else []
        row = [Cell.of(there.get((line, d, "all"))) for d in targets]
        notes += seeds_notes(f"average of {names[line]}", map(column_name, targets), row)
        rows.append(Row(line, names[line], "", first + row + ([average(row)] if len(targets) > 1 else [])))
    notes += [f"evaluations of {column_name(d)} are left out where it is what was trained on" for d in own - {*targets}]
    return finish(setting, source + targets, rows, notes, average_from=targets)


def finish(setting, columns, rows, notes, average_from):
    columns = columns + (["average"] if len(average_from) > 1 else [])
    return Table(setting, TITLES[setting], columns, rows, notes)


def tables(runs, settings=TITLES):
    """Return the tables, in order, that the runs give rise to; empty ones are left out."""
    made = {"base2new": lambda: base2new(runs), "few_shot": lambda: few_shot(runs),
            "xd": lambda: transfer(runs, "xd"), "dg": lambda: transfer(runs, "dg")}
    return [table for setting in TITLES if setting in settings and (table := made[setting]()).rows]


def column_name(key):
    return "Average" if key == "average" else SHORT.get(key, key)
