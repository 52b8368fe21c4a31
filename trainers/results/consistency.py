"""What runs that stand together in a table do not share though they should, and what each says of its own figures."""
from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..config.yaml_text import RUN_ONLY_KEYS, flatten, parsed
from ..training.identity import NOT_RECORDED
from .collect import Run
from .line import row_name, shots_words
from .notes import Note, listed
from .published import SHORT, ZERO_SHOT

if TYPE_CHECKING:
    from .collect import Run
    from .line import Line

OF_A_RUN = ("SEED", "DATASET.", *RUN_ONLY_KEYS)
OF_A_DATASET = ("TRAINER.PROMPTSRC.GPA_MEAN", "TRAINER.PROMPTSRC.GPA_STD", "LOSS.LAMBDA")  # scripts set them by it
# Sections of YAML, with the lines indented below them, without which the texts of a row are mostly the same.
SECTIONS = re.compile(r"^(?:SEED|DATASET|OUTPUT_DIR|RESUME|VERBOSE|USE_CUDA):.*\n(?: .*\n)*", re.MULTILINE)
MAX_EPOCH = re.compile(r"^ +MAX_EPOCH: (\d{1,9})$", re.MULTILINE)
BEST_VAL = re.compile(r"^ +FINAL_MODEL: ['\"]?best_val\b", re.MULTILINE)
MOST = 20  # texts of a row that are read: YAML takes milliseconds


def notes(runs: Sequence[Run], line_of: Callable[[Run], Line]) -> list[Note]:
    """Return the notes on the runs of a table, of which each is in the row ``line_of(run)``."""
    rows = defaultdict(list)
    for run in runs:
        rows[line_of(run)].append(run)
    found = []
    for line, held in rows.items():
        sentences = [*config_words(held), *validation_words(line, held), *epoch_words(held), *best_words(held),
                *prompt_words(held)]
        found += [Note(f"{row_name(line, rows)}{word}", (line,)) for word in sentences]
    return found + run_notes(runs, line_of) + image_notes(runs) + split_notes(runs) + alias_notes(runs)


def config_words(runs: Sequence[Run]) -> list[str]:
    """Return what to say of the config keys in which the runs of one row differ."""
    differing, read, there = differing_keys(runs)
    keys_text = ", ".join(key[:80] for key in differing[:3]) + (", …" if len(differing) > 3 else "")
    words = [f": {keys_text} differ{'s' * (len(differing) == 1)} between its runs"] if differing else []
    return words + [f": {there - read} of its {there} different configs were not compared"] * (there > read)


def validation_words(line: Line, runs: Sequence[Run]) -> list[str]:
    return [": figures of the validation set, not of the test set"] if line.split else []


def epoch_words(runs: Sequence[Run]) -> list[str]:
    """Return what to say of a row's figures of several epochs, of those runs that tell theirs."""
    epochs = Counter(filter(None, map(epoch, runs)))
    counts = ", ".join(f"{number} in {counted(epochs[number], 'run')}" for number in sorted(epochs, key=int))
    return [f": figures of different epochs: {counts}"] if len(epochs) > 1 else []


def epoch(run: Run) -> str:
    """Return the epoch whose prompts a run has been tested with, as text; "" where its result.json does not say."""
    command = list(run.content.get("command") or [])
    if "--load-epoch" in command[:-1]:
        loaded = command[command.index("--load-epoch") + 1]
        return loaded if re.fullmatch(r"\d{1,9}", loaded) else ""
    text = str(run.content.get("config") or "")
    last = MAX_EPOCH.search(text)
    return last[1] if last and not evaluates(run) and not BEST_VAL.search(text) else ""


def evaluates(run: Run) -> bool:
    """Return whether a run has learned nothing itself."""
    return "--eval-only" in (run.content.get("command") or [])


def best_words(runs: Sequence[Run]) -> list[str]:
    """Return what to say of runs whose best epoch was not, or may not have been, chosen on a validation set."""
    counts = Counter()
    for run in runs:
        if BEST_VAL.search(str(run.content.get("config") or "")) and not evaluates(run):
            results = run.content["results"]
            validated, tested = (results.get(split) for split in ("val", "test"))
            if not validated:
                counts[": TEST.FINAL_MODEL is best_val without figures of a validation set"] += 1
            elif tested and validated.get("total") and validated["total"] == tested.get("total"):
                counts[": TEST.FINAL_MODEL is best_val with as many validation as test images: if they are the same "
                       "ones, the test set has chosen the epoch"] += 1
    return [word + (f" (in {number} of {len(runs)} runs)" if number < len(runs) else "")
            for word, number in counts.items()]


def prompt_words(runs: Sequence[Run]) -> list[str]:
    """Return what to say of seeds with the same prompts, and of a seed that has other prompts on other datasets."""
    alike, of_seed = defaultdict(set), defaultdict(set)
    for run in runs:
        if evaluates(run) and (prompts := run.content.get("prompts")):
            alike[prompts, run.dataset, run.classes].add(run.seed)
            if run.setting == "xd":
                of_seed[run.seed].add(prompts)
    words = [f": seeds {listed(sorted(seeds), 10)} are evaluations of the same prompts on "
             f"{SHORT.get(dataset, dataset)}" for (_, dataset, _), seeds in alike.items() if len(seeds) > 1]
    return words + [f": seed {seed} is of different prompts on different datasets"
                    for seed, prompts in sorted(of_seed.items()) if len(prompts) > 1]


def run_notes(runs: Sequence[Run], line_of: Callable[[Run], Line]) -> list[Note]:
    """Return what runs say of their own figures, each sentence once, with the runs that say it."""
    said = defaultdict(list)
    for run in runs:
        for text in dict.fromkeys(run.content.get("notes") or []):
            if text != NOT_RECORDED:  # which ``unrecorded`` says once for all runs
                said[text].append(run)
    return [Note(f"{text} ({listed(run.folder for run in held)})", tuple(dict.fromkeys(map(line_of, held))),
                 held[0].dataset if len({run.dataset for run in held}) == 1 else "") for text, held in said.items()]


def image_notes(runs: Sequence[Run]) -> list[Note]:
    """Return notes on columns whose figures are not all over the same images."""
    found = defaultdict(lambda: defaultdict(list))
    for run in runs:
        figures = run.content["results"].get("test") or {}
        if classes := figures.get("per_class"):
            tested = tuple(sorted((name, count["total"]) for name, count in classes.items()))
            found[run.dataset, run.classes][tested].append(run)
    said = []
    for (dataset, classes), groups in found.items():
        if len(groups) > 1:
            counts = "; ".join(f"{counted(sum(n for _, n in tested), 'image')} of "
                             f"{counted(len(tested), 'class', 'classes')} in {listed((run.folder for run in held), 1)}"
                             for tested, held in groups.items())
            said.append(Note(f"{where(dataset, classes)}: figures over different images: {counts}", column=dataset))
    return said


def split_notes(runs: Sequence[Run]) -> list[Note]:
    """Return notes on runs that should have learned from the same few-shot set and have not."""
    found = defaultdict(set)
    for run in runs:
        if run.method not in ZERO_SHOT and (split := run.hashes.get("split")):
            found[run.dataset, run.classes, run.content["shots"], run.seed].add(split)
    return [Note(f"{where(dataset, classes)}, {shots_words(shots)}, seed {seed}: not all runs have learned from the "
                 "same images", column=dataset)
            for (dataset, classes, shots, seed), splits in found.items() if len(splits) > 1 and shots > 0]


def alias_notes(runs: Sequence[Run]) -> list[Note]:
    """Return notes on datasets of several names and one content."""
    names = defaultdict(set)
    for run in runs:
        if run.hashes.get("dataset"):
            names[run.hashes["dataset"]].add(SHORT.get(run.dataset, run.dataset))
    return [Note(f"{', '.join(sorted(found))} are the same images, classes and splits")
            for found in names.values() if len(found) > 1]


def where(dataset: str, classes: str) -> str:
    return SHORT.get(dataset, dataset) + (f", {classes} classes" if classes != "all" else "")


def unrecorded(runs: Sequence[Run]) -> list[Note]:
    """Return a note in a list on runs of earlier versions, which say less of what they are of; [] without any."""
    old = [run for run in runs if not run.hashes.get("dataset") or not run.hashes.get("weights")
           or NOT_RECORDED in (run.content.get("notes") or [])]
    return [Note(f"{len(old)} of {counted(len(runs), 'run')} did not record the content of the dataset and the "
                 "weights: there, names alone tell what belongs together")] if old else []


def counted(number: int, word: str, words: str = "") -> str:
    return f"{number} {word if number == 1 else words or word + 's'}"


def differing_keys(runs: Sequence[Run]) -> tuple[list[str], int, int]:
    """Return the config keys in which runs of one row differ (those that scripts set by dataset, within a dataset), how
    many different texts of configs were read, and how many there are."""
    texts = defaultdict(set)
    for run in runs:
        if isinstance(text := run.content.get("config"), str):
            texts[SECTIONS.sub("", text)].add(run.dataset)
    if len(texts) < 2:
        return [], 0, 0
    values = defaultdict(set)
    for text in sorted(texts)[:MOST]:
        for key, value in leaves(text):
            for dataset in texts[text] if key in OF_A_DATASET else [""]:
                values[key, dataset].add(value)
    return (sorted({key for (key, _), found in values.items() if len(found) > 1}), min(len(texts), MOST), len(texts))


@functools.lru_cache(256)
def leaves(text: str) -> list[tuple[str, str]]:
    """Return [(key, value as text), …] of a config's text that should be the same; of what is no config, none."""
    return [(key, repr(value)) for key, value in flatten(parsed(text) or {}).items() if not key.startswith(OF_A_RUN)]
