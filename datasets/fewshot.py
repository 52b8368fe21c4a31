"""Few-shot sets: drawing them, keeping them on disk, and choosing base or new classes.

The protocol is CoOp's (arXiv 2109.01134, 2203.05557): per class a plain ``random.sample`` in the order the classes
first appear, the training split first, then the validation split; then, for base-to-new, a choice of classes.
Items are `splits.Item`: paths relative to the dataset's folder.
"""
import io
import logging
import math
import os
import pickle
import posixpath
import random
from collections import Counter
from collections.abc import Iterable

from .checks import check_apart
from .files import parsed, read_json
from .home import InputError, atomic
from .splits import Item, Splits, lines_of_json, parse_items

log = logging.getLogger("promptreg")
REMEDY = "delete it, and the set is drawn anew"


def sample(items: Iterable[Item], shots: int) -> list[Item]:
    """Draw ``shots`` items of each class with Python's global random state; all of a class that has fewer."""
    groups = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return [item for group in groups.values()
            for item in (random.sample(group, shots) if len(group) >= shots else group)]


def choose_classes(splits: Splits, which: str) -> Splits:
    """Keep the ``"base"`` (first half, rounded up) or ``"new"`` classes of Splits, relabelled from 0; or ``"all"``.

    Raises:
        InputError: there is one class only, so none is new.
    """
    if which == "all":
        return splits
    labels = sorted({item.label for item in splits.train})
    half = math.ceil(len(labels) / 2)
    relabel = {old: new for new, old in enumerate(labels[:half] if which == "base" else labels[half:])}
    if not relabel:
        raise InputError("DATASET.SUBSAMPLE_CLASSES new: the dataset has one class only, so there are no new ones")
    return type(splits)(*([item._replace(label=relabel[item.label]) for item in items if item.label in relabel]
                          for items in splits))


class _PickledDatum:
    """What a pickled Dassl Datum becomes: a bare holder of the attributes that it was saved with."""


class _DatumUnpickler(pickle.Unpickler):
    """Reads lists and dicts of Dassl's Datum and refuses everything else, so that a cache can never run code."""

    def find_class(self, module, name):
        if name == "Datum" and module.endswith(("data.datasets", "data.datasets.base_dataset")):
            return _PickledDatum
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read_pickle(path, splits):
    """Read CoOp's ``.pkl`` cache into ``{"train": [Item], "val": [Item]}`` ("val" may be missing).

    The absolute paths in it are another machine's as likely as not: each is found again by its longest end that
    the split knows.
    """
    content = parsed(path, lambda raw: _DatumUnpickler(io.BytesIO(raw)).load(), "refused, not a plain few-shot cache",
                     REMEDY)
    if not isinstance(content, dict) or not isinstance(content.get("train"), list):
        raise InputError(f"{path}: not a few-shot cache; {REMEDY}")
    sets = {}
    for name in ("train", "val"):
        if name not in content:
            continue
        known = {item.path: item for item in getattr(splits, name)}
        sets[name] = []
        for datum in content[name]:
            saved, label = getattr(datum, "_impath", None), getattr(datum, "_label", None)
            if not isinstance(saved, str):
                raise InputError(f"{path}: {name}: an entry without a path; {REMEDY}")
            parts = posixpath.normpath(saved.replace("\\", "/")).split("/")
            item = next((known[end] for end in ("/".join(parts[i:]) for i in range(len(parts))) if end in known), None)
            if item is None or item.label != label:
                raise InputError(f"{path}: {name}: {saved} (label {label}) is not in the dataset's split; {REMEDY}")
            sets[name].append(item)
    return sets


def _read_json_cache(path, splits):
    content = read_json(path, REMEDY)
    if not isinstance(content, dict) or "train" not in content:
        raise InputError(f"{path}: not a few-shot cache; {REMEDY}")
    sets = {}
    for name in ("train", "val"):
        if name not in content:
            continue
        known = {item.path: item for item in getattr(splits, name)}
        sets[name] = []
        for saved in parse_items(content[name], f"{path}: {name}", REMEDY):
            item = known.get(saved.path)
            if item is None or item.label != saved.label:
                raise InputError(f"{path}: {name}: {list(saved)} is not in the dataset's split; {REMEDY}")
            sets[name].append(item)
    return sets


def few_shot(splits: Splits, shots: int, seed: int, folder: str, save: bool = True) -> Splits:
    """Return Splits with ``shots`` training and ``min(shots, 4)`` validation images a class; test is left whole.

    The set is read from ``folder/shot_K-seed_S.json``, or from CoOp's ``.pkl`` of the same name, and only where
    neither is there drawn and saved. Of several processes that draw at the same moment, all return what the first
    one saved. With a negative seed (Dassl's "no seed") a set is drawn each time and nothing is read or saved. ``save``
    unset: nothing is saved in any case.

    Raises InputError for a cache that is damaged, was made from another split, or could run code.
    """
    base = os.path.join(folder, f"shot_{shots}-seed_{seed}")
    source = next((base + ending for ending in (".json", ".pkl") if os.path.exists(base + ending)), None)
    if seed < 0 or source is None:
        before = random.getstate()
        sets = {"train": sample(splits.train, shots), "val": sample(splits.val, min(shots, 4))}
        if seed >= 0:
            random.setstate(before)  # what is drawn after it does not depend on whether the set was there
        if seed < 0 or not save or _save_first(base + ".json", sets):
            return splits._replace(**sets)
        source = base + ".json"
    sets = (_read_json_cache if source.endswith(".json") else _read_pickle)(source, splits)
    check_apart(Splits(sets["train"], sets.get("val", []), []), source, REMEDY)
    for split, drawn in sets.items():
        _check_shots(split, drawn, getattr(splits, split), shots, source)
    return splits._replace(**sets)


def _check_shots(split, drawn, items, shots, source):
    """Raise InputError unless ``drawn`` has ``shots`` images of each class, or all of a class that has fewer.

    Of validation images implementations have taken other numbers: some are enough.
    """
    there, found = (Counter(item.label for item in part) for part in (items, drawn))
    names = {item.label: item.classname for item in items}
    for label, number in there.items():
        if not found[label]:
            raise InputError(f"{source}: {split}: no image of class '{names[label]}'; {REMEDY}")
        if split == "train" and found[label] != min(number, shots):
            raise InputError(f"{source}: {found[label]} images of class '{names[label]}' instead of "
                             f"{min(number, shots)}; {REMEDY}")


def _save_first(path, sets):
    """Save a set just drawn; False where another process has saved one since, which is then the one to use."""
    try:
        return atomic.write_file(path, lines_of_json(sets), once=True)
    except OSError as error:
        log.warning("%s: cannot be saved (%s), so each run draws its own few-shot set", path, error.strerror)
        return True
