"""Pictures that lie in two splits under two names: a link, or a copy. They would be learned and then asked for."""
import hashlib
import os
from collections import defaultdict

from .checks import images_are
from .home import InputError, hashing, images
from .splits import Splits

TAIL = 4096  # bytes at a file's end, where compressed pictures of one size differ


def refuse_copies(splits: Splits, folder: str, remedy: str) -> None:
    """Raise InputError, naming three, where an image of one split of Splits is the same file, or a copy, in another.

    Of files of one size in two splits the ends are read, and the whole of those whose ends are the same.
    """
    found = [splits]
    for key in (lambda path: os.stat(path).st_size, _tail, _whole):
        found = [alike for group in found for alike in _alike(group, folder, key)]
    found = [group for group in found if not _is_blank(os.path.join(folder, *_first(group).split("/")))]
    pairs = sorted(f"{_first(group)} is also in {split} as {path}" for group in found for split, path in [_last(group)])
    if pairs:
        more = f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else ""
        raise InputError(f"{folder}: {images_are(pairs)} in two splits: {', '.join(pairs[:3])}{more}; {remedy}")


def _alike(splits, folder, key):
    """Return the groups, as Splits, of images in two splits or more whose files have one key."""
    groups = defaultdict(lambda: type(splits)([], [], []))
    for split, items in splits._asdict().items():
        for item in items:
            path = os.path.join(folder, *item.path.split("/"))
            if os.path.exists(path):  # what is missing is reported where it is read
                getattr(groups[key(path)], split).append(item)
    return [group for group in groups.values() if sum(map(bool, group)) > 1]


def _tail(path):
    with open(path, "rb") as file:
        file.seek(max(0, os.stat(path).st_size - TAIL))
        return file.read()


def _whole(path):
    return hashing.file_digest(path, hashlib.blake2b())


def _is_blank(path):
    """Return whether a picture has one colour: scans and films have such, and they are no leak."""
    try:
        low_and_high = images.read_image(path).getextrema()
    except InputError:  # a damaged one is reported where it is read
        return True
    return all(low == high for low, high in low_and_high)


def _first(group):
    return next(items[0].path for items in group if items)


def _last(group):
    return next((split, items[0].path) for split, items in reversed(group._asdict().items()) if items)
