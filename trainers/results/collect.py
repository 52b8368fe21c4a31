"""Finds the finished runs below any folders and says of each which cell of a table it fills."""
from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..training.result import FILE
from ..utils.untrusted import read_untrusted
from .identity import OWN, dataset_names, following, replace_surrogates, tell_apart
from .published import KEYS, ZERO_SHOT

LARGEST = 2 ** 63 - 1  # of the integers in a data frame
UNKNOWN_SOURCE = "a dataset that is not recorded"


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        setting: "base2new", "xd" (trained on one dataset, evaluated on another) or "few_shot" (all classes).
        dataset: the dataset's name, which no other of the same runs has: the config file's ("dtd"), of the user's
            images their folder's or table's.
        classes: "base", "new" or "all".
        shots: images a class; 0 for methods that learn nothing.
        variant: what else distinguishes the run ("nctx16_cscFalse_ctpend"), or "".
        accuracy: percent, unrounded.
        content: all of result.json.
        source: of "xd", the dataset that was trained on.
        parts: the folders of its path that may say what it is; those above what the user named may not.
        data: the config file's name of the dataset; "image_folder" of the user's images.
        weights: hash of the backbone's weights, "" where it is not known.
        split: "validation" where the figures are not of the test set, else "".
    """

    folder: str
    setting: str
    method: str
    config: str
    dataset: str
    classes: str
    shots: int
    seed: int
    variant: str
    backbone: str
    accuracy: float
    content: dict = field(repr=False, compare=False)
    source: str = ""
    parts: tuple = ()
    data: str = ""
    weights: str = ""
    split: str = ""

    @property
    def hashes(self) -> dict[str, str]:
        """The hashes of what the run was made of, {name: hash}; {} in results of earlier versions."""
        return {key: replace_surrogates(value) for key, value in (self.content.get("identity") or {}).items() if value}


def collect(paths: Iterable[str]) -> list[Run]:
    """Return the finished runs below ``paths``, in the order of their folders.

    Raises:
        InputError: a path that is not there, or a result.json that is not whole.
    """
    found = {}
    for path in paths:
        if not os.path.isdir(path):
            raise InputError(f"there is no folder {path}: name the folder that holds the runs' outputs")
        for folder, below, files in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if FILE in files:
                found.setdefault(os.path.realpath(folder), (folder, path))
    return read_runs(sorted(found.values()))


def read_runs(places: Iterable[tuple[str, str]]) -> list[Run]:
    """Return the runs of [(folder, root as ``read_run`` takes it), …], each dataset among them under a name of its own.

    Raises:
        InputError: a result.json that is not whole.
    """
    return tell_apart([run for folder, root in places if (run := read_run(folder, root))])


def _parse(path: Path) -> tuple[dict[str, Any], dict[str, Any], float, int, int] | None:
    """Return (content, figures, accuracy, shots, seed) of a result.json; None of a meta-training's."""
    content = json.loads(path.read_text(encoding="utf-8"))
    results = content["results"]
    if set(results) == {"held_out"}:
        return None
    figures = results.get("test") or next(iter(results.values()))
    zero_shot = content["trainer"] in ZERO_SHOT and content["classes"] == "all"
    shots = 0 if zero_shot else number(content, "shots", -1, LARGEST, (int,))
    accuracy, seed = float(number(figures, "accuracy", 0, 100)), number(content, "seed", -LARGEST, LARGEST, (int,))
    check(content, figures)
    return content, figures, accuracy, shots, seed


def read_run(folder: str | Path, root: str | Path = os.sep) -> Run | None:
    """Return the ``Run`` of a folder with a result.json; None of a meta-training, which fills no cell of a table.

    What folders above ``root`` are called says nothing about the run.

    Raises:
        InputError: it is not whole.
    """
    path = Path(folder) / FILE
    found = read_untrusted(path, _parse, lambda reason: f"{path} is not a whole result ({reason}): delete it, and the "
                           "run is made again")
    if found is None:
        return None
    content, figures, accuracy, shots, seed = found
    method, classes = content["trainer"], content["classes"]
    command = list(content.get("command") or [])
    parts = telling_parts(folder, root, method, command)
    setting = "base2new" if classes in ("base", "new") else "xd" if "evaluation" in parts else "few_shot"
    source = trained_on(method, command) if setting == "xd" else ""
    if setting == "xd":  # of the training: the evaluation's command does not say
        trained = parts + Path(following(command, "--model-dir")).parts
        shots = next((int(match[1]) for part in trained if (match := re.fullmatch(r".+_(\d+)shots", part))), shots)
    variant = next((part for part in parts if re.match(r"nctx\d+_", part)), "")
    weight = next((match[1] for part in parts if (match := re.fullmatch(r"shots_\d+_(.+)", part))), "")
    method, config, variant, backbone, *names = map(replace_surrogates, (
        method, config_name(command, parts, folder), variant or weight, str(content.get("backbone", "")),
        *dataset_names(content)))
    return Run(str(folder), setting, method, config, names[0], classes, shots, seed, variant, backbone, accuracy,
               content, source, parts, names[1], split="" if content["results"].get("test") else "validation")


def check(content: dict[str, Any], figures: dict[str, Any]) -> None:
    """Raise ValueError, TypeError or another of ``read_run``'s where a result.json holds what no run has written."""
    for key in ("seconds", "peak_memory_mib"):
        if content.get(key) is not None:
            number(content, key, 0)
    if figures.get("macro_f1") is not None:
        number(figures, "macro_f1", 0, 100)
    for count in figures.get("per_class", {}).values():
        number(count, "correct", 0, number(count, "total", 0))
    for taken_for in figures.get("confusion", {}).values():
        for name in taken_for:
            number(taken_for, name, 1, kinds=(int,))
    for key in {"correct", "total"} & set(figures):
        number(figures, key, 0, LARGEST, (int,))
    if {"correct", "total"} <= set(figures):
        share = 100 * number(figures, "correct", 0, number(figures, "total", 1)) / figures["total"]
        if abs(share - figures["accuracy"]) > 0.01:
            raise ValueError(f"accuracy is {figures['accuracy']:g}, but correct and total make {share:g}")
    if content["classes"] not in ("all", "base", "new"):
        raise ValueError(f"classes is {content['classes']!r}")
    if not isinstance(content.get("versions", {}), dict):
        raise TypeError("versions must be an object")
    words = [content["trainer"], content["dataset"], content["classes"], content.get("dataset_label") or "",
             content.get("prompts") or "", *(content.get("command") or []), *(content.get("notes") or []),
             *((content.get("identity") or {}).values())]
    if not all(word is None or isinstance(word, str) and "\0" not in word for word in words):
        raise TypeError("trainer, dataset, classes, prompts, command, notes and identity must be words")
    if not isinstance(content.get("notes") or [], list):
        raise TypeError("notes must be a list")


def number(content: dict[str, Any], key: str, least: float = -math.inf, most: float = math.inf,
           kinds: tuple[type, ...] = (int, float)) -> Any:
    """Return the figure ``key``; raises ValueError unless it is a finite number (and no bool) within these bounds."""
    value = content[key]
    if type(value) not in kinds or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{key} is {value!r}")
    return value


def telling_parts(folder: str | Path, root: str | Path, method: str, command: list[str]) -> tuple[str, ...]:
    """Return the parts of a run's path that may say what it is: those below ``root``.

    Where ``root`` lies inside of the method's own folder, from the folder above that on: the scripts' layout.
    """
    parts, first = Path(os.path.abspath(folder)).parts, len(Path(os.path.abspath(root)).parts)
    at = max((n for n, part in enumerate(parts) if part == method), default=first)
    if at > first or at == first and parts[at - 1:at] != ("evaluation",):
        return parts[first:]
    return parts[at - (parts[at - 1] != "evaluation" or "--eval-only" in command):]


def trained_on(method: str, command: list[str]) -> str:
    """Return the dataset that an evaluation's prompts were trained on, by the folder they come from: ImageNet without
    one."""
    parts = Path(following(command, "--model-dir")).parts
    sources = (before for before, part in zip(parts, parts[1:], strict=False)
            if part == method and before in (*KEYS, OWN))
    return next(sources, UNKNOWN_SOURCE if parts else "imagenet")


def config_name(command: list[str], parts: Iterable[str], folder: str | Path) -> str:
    """Return the name of the run's config file: from its command line, else from its folder."""
    if "--config-file" in command[:-1]:
        return Path(following(command, "--config-file")).stem
    named = [match[1] for part in parts if (match := re.fullmatch(r"(.+)_\d+shots", part))]
    return named[0] if named else Path(os.path.abspath(folder)).parent.name
