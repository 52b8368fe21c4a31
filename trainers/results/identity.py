"""Which dataset and which weights a run is of: by their content where its result.json has that, else by name and path.

One name may stand for several datasets (two folders called ``data``, a split made anew) or files of weights. These are
told apart in the name itself, so that no table, picture or comparison takes one for the other.
"""
from __future__ import annotations

import functools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.yaml_text import parsed
from .published import DATASETS, KEYS, SHORT

if TYPE_CHECKING:
    from .collect import Run

OWN = "image_folder"  # what configs and scripts call the user's images
DATASET = re.compile(r"^DATASET:.*\n(?: .*\n?)*", re.MULTILINE)


@functools.lru_cache(256)
def section(text: str) -> dict[str, Any]:
    """Return what a section DATASET of YAML holds; {} where that is none."""
    node = (parsed(text) or {}).get("DATASET")
    return node if isinstance(node, dict) else {}


def settings(content: dict[str, Any]) -> tuple[str, str]:
    """Return (the dataset's root, its split's seed) as a run's config has them; ("", "") where it has none."""
    found = DATASET.search(str(content.get("config") or ""))
    node = section(found[0]) if found else {}
    root = node.get("ROOT")
    root = os.path.normpath(replace_surrogates(root)) if root and isinstance(root, str) else ""
    return root, replace_surrogates(str(node.get("SPLIT_SEED", "")))


def dataset_names(content: dict[str, Any]) -> tuple[str, str]:
    """Return (what the dataset is called, its config's name) of a result.json.

    Both are the config's name for published datasets; the user's is called by the name of its folder or table.
    """
    registered, label = content["dataset"], content.get("dataset_label") or ""
    if registered in DATASETS:
        return (DATASETS[registered][0],) * 2
    if registered != "ImageFolder" and label in ("", registered):
        return (registered.lower(),) * 2
    name = label or os.path.basename(settings(content)[0])
    return re.sub(r"(?i)\.csv$", "", name) or OWN, OWN if registered == "ImageFolder" else registered.lower()


def tell_apart(runs: Collection[Run]) -> list[Run]:
    """Return runs whose ``dataset`` and ``backbone`` each name one content, and xd runs with the source they are of."""
    groups, names = defaultdict(list), defaultdict(dict)
    known = recorded(runs)
    for run in runs:
        groups[identity(run, known)].append(run)
    for key, held in groups.items():
        names[key[0], is_user_data(held[0])][key] = held
    others = {run.dataset for run in runs if not is_user_data(run)}
    taken = {"average", *KEYS, *(SHORT.get(name, name).casefold() for name in others)}
    renamed = {}
    for (name, user_data), alike in names.items():
        if len(alike) > 1 or user_data and name in taken:
            renamed.update(distinct_names(alike, user_data))
    weights = weights_names(runs)
    return with_sources([replace(run, dataset=renamed.get(identity(run, known), run.dataset), **weights(run))
                         for run in runs])


def is_user_data(run: Run) -> bool:
    """Return whether a run, not told apart yet, is on the user's images."""
    return run.data == OWN or run.dataset != run.data


def place(run: Run) -> tuple[str, str]:
    """Return where a dataset of the user's lies and how it is split; a published one is the same anywhere."""
    return settings(run.content) if is_user_data(run) else ("", "")


def recorded(runs: Iterable[Run]) -> dict[tuple, set[str]]:
    """Return {(name, config's name, place): the contents that runs have recorded}."""
    found = defaultdict(set)
    for run in runs:
        if run.hashes.get("dataset"):
            found[run.dataset.casefold(), run.data, place(run)].add(run.hashes["dataset"])
    return found


def identity(run: Run, known: dict[tuple, set[str]]) -> tuple:
    """Return what two runs on the same dataset share: (name, config's name, content, place if there is no content).

    A run without a recorded content has that of the others of its name (its place, where it is the user's), if
    there is but one.
    """
    key = run.dataset.casefold(), run.data, place(run)
    found = {run.hashes["dataset"]} if run.hashes.get("dataset") else known.get(key, set())
    return (*key[:2], *found, ()) if len(found) == 1 else (*key[:2], "", key[2])


def distinct_names(groups: dict[tuple, list[Run]], user_data: bool) -> dict[tuple, str]:
    """Return {identity: name} of datasets of one name: the shortest ends of their paths that differ, else hashes."""
    roots = {key: min(settings(run.content)[0] for run in held) for key, held in groups.items()}
    ends, found = path_ends(set(roots.values()), 1 + (len(groups) == 1)), {}
    for key, held in groups.items():
        alone = sum(root == roots[key] for root in roots.values()) == 1
        name, end = SHORT.get(held[0].dataset, held[0].dataset), ends[roots[key]]
        if user_data and alone and end:
            found[key] = end if end != name or len(groups) > 1 else f"{name} (own)"
        else:
            seed = f"split seed {key[3][1] or 1}" if user_data and key[3] else "content not recorded"
            found[key] = f"{name} ({end if alone and end else key[2][:8] or seed})"
    return found


def path_ends(paths: Collection[str], least: int = 1) -> dict[str, str]:
    """Return {path: its shortest end of ``least`` parts or more}, so short that all are different."""
    parts = {path: [part for part in Path(path).parts if part != os.sep] for path in paths}
    longest = max(map(len, parts.values()), default=0)
    for count in range(least, longest + 1):
        ends = {path: "/".join(found[-count:]) for path, found in parts.items()}
        if len(set(ends.values())) == len(ends):
            return ends
    return {path: path for path in paths}


def weights_words(weights: str) -> str:
    return f" weights {weights[:8] or 'not recorded'}"


def weights_names(runs: Iterable[Run]) -> Callable[[Run], dict[str, Any]]:
    """Return a function: {"weights", "backbone"} of a run, the weights named in a backbone's name that has several."""
    found = defaultdict(set)
    for run in runs:
        if run.hashes.get("weights"):
            found[run.backbone].add(run.hashes["weights"])

    def named(run: Run) -> dict[str, str]:
        held = found[run.backbone]
        digest = run.hashes.get("weights") or (next(iter(held)) if len(held) == 1 else "")
        return {"weights": digest, "backbone": run.backbone + (weights_words(digest) if len(held) > 1 else "")}
    return named


def with_sources(runs: Iterable[Run]) -> list[Run]:
    """Return the runs, those evaluated elsewhere with the dataset and shots of the training they are of.

    Where that training is not among the runs, its other seeds, in the same folder, tell its dataset.
    """
    trainings, siblings = {}, defaultdict(set)
    for run in runs:
        if run.setting != "xd":
            place = os.path.realpath(run.folder)
            trainings[place] = run
            siblings[os.path.dirname(place)].add((run.dataset, run.shots))

    def sourced(run: Run) -> Run:
        directory = following(list(run.content.get("command") or []), "--model-dir")
        if not directory:
            return run
        place = os.path.realpath(directory)
        found = siblings[os.path.dirname(place)]
        if training := trainings.get(place):
            found = {(training.dataset, training.shots)}
        if len(found) != 1:
            return run
        (source, shots), = found
        return replace(run, source=source, shots=shots)
    return [sourced(run) if run.setting == "xd" else run for run in runs]


def replace_surrogates(text: str) -> str:
    """Return a text with a question mark for what no file and no picture can hold: half of a surrogate pair."""
    return text.encode(errors="replace").decode()


def following(command: list[str], flag: str) -> str:
    """Return the word behind a flag of a command line, or ""."""
    return command[command.index(flag) + 1] if flag in command[:-1] else ""
