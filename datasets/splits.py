"""What a dataset is before anything is sampled: which image belongs to which split and which class.

Here and in ``fewshot`` an image is an `Item`, whose path is relative to a dataset's folder, so that nothing that
is computed or saved depends on where the data lie.
"""
import json
import os
import posixpath
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .checks import check_items
from .files import read_json
from .home import InputError, atomic

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp")
UNREAD_ENDINGS = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".tga", ".dng", ".cr2", ".cr3",
                  ".nef", ".arw", ".raf", ".orf", ".rw2", ".exr", ".hdr", ".pgm", ".pbm", ".pnm", ".ico", ".eps")


class Item(NamedTuple):
    path: str
    label: int
    classname: str


class Splits(NamedTuple):
    train: list
    val: list
    test: list


def under(prefix: str, splits: Splits) -> Splits:
    """Return ``splits`` with ``prefix`` before each path; separators are ``/`` on every system."""
    if not prefix:
        return splits
    return Splits(*([item._replace(path=f"{prefix}/{item.path}") for item in items] for items in splits))


def list_folders(folder: str, ignored: Collection[str] = ()) -> list[str]:
    """Return the names of the folders in ``folder``, sorted, without hidden and ``ignored`` ones."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.name[0] != "." and e.name not in ignored and e.is_dir())


def list_images(folder: str) -> list[str]:
    """Return the names of the images in ``folder``, sorted, without hidden files."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.name[0] != "." and e.name.lower().endswith(IMAGE_ENDINGS))


def list_unread(folder: str) -> list[str]:
    """Return the names of the pictures in ``folder``, sorted, whose format is not read."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.name[0] != "." and e.name.lower().endswith(UNREAD_ENDINGS))


def read_class_folders(folder: str, ignored: Collection[str] = (),
                       rename: Mapping[str, str] | None = None) -> list[Item]:
    """Return an Item for every image of a folder that holds one folder a class.

    Labels are the positions in the sorted folder names; class names are these names or what ``rename`` makes of
    them. Raises InputError for a folder without a class and for a class without an image.
    """
    items = []
    for label, name in enumerate(list_folders(folder, ignored)):
        images = list_images(os.path.join(folder, name))
        if not images:
            raise InputError(f"{os.path.join(folder, name)}: a class folder without an image; fill it or remove it")
        classname = (rename or {}).get(name, name)
        items += [Item(f"{name}/{image}", label, classname) for image in images]
    if not items:
        raise InputError(f"{folder}: no class folders with images in them")
    return items


def _by_label(items):
    groups = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return groups


def split_by_class(items: Iterable[Item], train: float = 0.5, val: float = 0.2, seed: int = 1) -> Splits:
    """Deal each class's items into train, val and the rest (test), shuffled by a generator of its own.

    Python's global random state is left alone, so that whether a split had to be made has no influence on the
    few-shot sets drawn from it. Every class keeps at least one item for training.
    """
    generator = random.Random(seed)
    splits = Splits([], [], [])
    for _, group in sorted(_by_label(items).items()):
        group = sorted(group)
        generator.shuffle(group)
        n_train, n_val = max(1, round(train * len(group))), round(val * len(group))
        splits.train.extend(group[:n_train])
        splits.val.extend(group[n_train:n_train + n_val])
        splits.test.extend(group[n_train + n_val:])
    return splits


def split_off_val(trainval: Iterable[Item], val: float = 0.2, seed: int = 1) -> tuple[list[Item], list[Item]]:
    """Divide items into (train, val), ``val`` of each class, shuffled like `split_by_class`."""
    splits = split_by_class(trainval, 1 - val, val, seed)
    return splits.train, splits.val + splits.test


def parse_items(rows: Any, where: str, remedy: str) -> list[Item]:
    """Turn a list of ``[relative path, label, class name]`` into Items; raises InputError for anything else."""
    if not isinstance(rows, list):
        raise InputError(f"{where}: a list of [path, label, class name] should stand here; {remedy}")
    items = []
    for number, row in enumerate(rows):
        fits = isinstance(row, list) and len(row) == 3 and [type(cell) for cell in row] == [str, int, str]
        if not fits:
            raise InputError(f"{where}: row {number} is {str(row)[:80]} and not [path, label, class name]; {remedy}")
        path = row[0].replace("\\", "/")
        if path.startswith("/") or ".." in path.split("/"):
            raise InputError(f"{where}: row {number}: {row[0]} leads out of the dataset's folder; {remedy}")
        path = posixpath.normpath(path)
        if path == ".":
            raise InputError(f"{where}: row {number} names no image; {remedy}")
        items.append(Item(path, row[1], row[2]))
    return items


def read_split_file(path: str, remedy: str) -> Splits:
    """Read a split file, ``{"train"|"val"|"test": [[path, label, class name], ...]}``, into Splits.

    Raises InputError that names the file, the row and the ``remedy``.
    """
    content = read_json(path, remedy)
    if not isinstance(content, dict) or not {"train", "val", "test"} <= set(content):
        raise InputError(f"{path}: the lists train, val and test should stand in it; {remedy}")
    splits = Splits(*(parse_items(content[name], f"{path}: {name}", remedy) for name in Splits._fields))
    check_items(splits, path, remedy)
    return splits


def lines_of_json(sets: Mapping[str, Sequence[Item]]) -> str:
    """Return ``{name: [Item]}`` as JSON, one image a line."""
    lists = (f'"{name}": [\n' + ",\n".join(json.dumps(item) for item in items) + "\n]" for name, items in sets.items())
    return "{\n" + ",\n".join(lists) + "\n}\n"


def write_split_file(path: str, splits: Splits) -> bool:
    """Save Splits in the published format, unless the file is there already. Raises OSError."""
    return atomic.write_file(path, lines_of_json(splits._asdict()), once=True)
