"""The scripts' calls that fill the gaps of tables: runs that other rows, or other seeds of the same row, have."""
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from ..results.cell import Cell
from ..results.collect import Run
from ..results.identity import OWN, following, settings
from ..results.line import Line, epochs_by_shots
from ..results.published import KEYS, ZERO_SHOT
from ..results.table import Table, column_name
from .methods import TARGETS, scripts_of
from .plan import Step, plan, scripts


def missing(tables: Sequence[Table], runs: Sequence[Run], output: str) -> tuple[list[str], list[str]]:
    """Return (the calls that fill the tables' empty cells and seeds that other cells have, why some are left out)."""
    places, calls, reasons = Places(runs, output), {}, {}
    for table in tables:
        for line, column, seeds in gaps(table):
            try:
                found = steps(table, line, column, seeds, places)
            except InputError as reason:
                reasons[f"missing runs of {column_name(column)} are not listed: {reason}"] = None
            else:
                calls.update({str(step): None for step in found})
    return list(calls), list(reasons)


def gaps(table: Table) -> Iterator[tuple[Line, str, list[int]]]:
    """Yield (line, column, seeds) of the cells of a table that lack seeds which others have."""
    seeds = sorted({seed for row in table.rows for cell in row.cells if isinstance(cell, Cell) for seed in cell.values})
    for line in (line for line in table.lines if scripts_of(line.method) and not line.split):
        for number, column in enumerate(table.columns):
            cells = [row.cells[number] for row in table.rows if row.line == line]
            lacking = [seed for seed in seeds if not all(cell and seed in cell.values for cell in cells)]
            seedless = line.method in ZERO_SHOT and table.setting != "base2new"
            if column != "average" and lacking and not (seedless and all(cells)):
                yield line, column, lacking


class Places:
    """What scripts must be given to add to the runs of a dataset that its name alone does not say.

    Scripts put all image folders into OUTPUT/image_folder, and find a published dataset below DATA.
    """

    def __init__(self, runs: Sequence[Run], output: str) -> None:
        self.output, self.runs, self.held = output, defaultdict(list), defaultdict(set)
        for run in runs:
            self.runs[run.dataset].append(run)
            self.held[run.data, script_output(run)].add(run.dataset)

    def of(self, column: str) -> tuple[str, dict[str, str]]:
        """Return (the dataset config's name, environment) of a column.

        Raises:
            InputError: no call of a script would add to it.
        """
        if column in KEYS:
            return column, {"OUTPUT": self.output}
        runs = self.runs[column]
        if not runs or runs[0].data not in (*KEYS, OWN):
            raise InputError("no script knows the dataset")
        outputs = {script_output(run) for run in runs}
        if len(outputs) != 1 or not (output := outputs.pop()):
            raise InputError("its runs do not lie where scripts put them, below one OUTPUT")
        if others := self.held[runs[0].data, output] - {column}:
            raise InputError(f"{', '.join(sorted(others))} shares its folders below OUTPUT {output}: run each of them "
                             "with an OUTPUT of its own")
        roots = [root for run in runs if os.path.exists(root := settings(run.content)[0] or "\0")]
        if not roots:
            raise InputError("its DATASET.ROOT is not there")
        return runs[0].data, {"OUTPUT": output, "DATA": roots[0]}


def script_output(run: Run) -> str:
    """Return OUTPUT of the scripts' layout that a run lies in; "" where it lies in none."""
    parts = Path(run.folder).parts
    first = {"base2new": "base2new", "xd": "evaluation"}.get(run.setting, run.data)
    if run.method in ZERO_SHOT and run.setting == "few_shot":
        first = run.method
    return str(Path(*parts[:len(parts) - 1 - parts[::-1].index(first)])) if first in parts[1:] else ""


def steps(table: Table, line: Line, column: str, seeds: list[int], places: "Places") -> list[Step]:
    """Return the unfinished steps that make a line's runs of a dataset.

    Raises:
        InputError: no call of a script makes them.
    """
    dataset, environment = places.of(column)
    transfer = table.setting in ("xd", "dg")
    source = places.of(table.source)[0] if transfer and table.source != "imagenet" else "imagenet"
    training = transfer and column == table.source and scripts(line.method).train
    target = TARGETS[table.setting][0] if training else dataset  # by its own script: few_shot.sh passes other keys
    config = epochs_by_shots(line.config, target, line.shots) if line.by_shots else line.config
    setting = "few_shot" if transfer and column == table.source and not training else table.setting
    if config and scripts(line.method).first:  # its scripts name no config of their own
        environment = {**environment, "CFG": config}
    given = [line.method], setting, [target], seeds, [line.shots] if line.shots > 0 else []
    jobs = plan(*given, environment, source)
    commands = [command for job in jobs for step in job.steps for command in step.commands]
    if config and {Path(following(command, "--config-file")).stem for command in commands} != {config}:
        jobs = plan(*given, {**environment, "CFG": config}, source)
    if transfer and not training and source not in KEYS and not all(job.steps[0].finished for job in jobs):
        raise InputError(f"what it was trained on, {table.source}, lies in another DATA: train there first")
    return [step for job in jobs for step in job.steps[:1 if training else None] if not step.finished]
