"""Pictures that lie in two splits under two names: a link, or a copy. They would be learned and then asked for."""
import hashlib
import os
from collections import defaultdict

from .home import InputError

TAIL = 4096  # bytes at a file's end, where compressed pictures of one size differ


def refuse_copies(splits, folder, remedy):
    """Raise InputError, naming three, where an image of one split of Splits is the same file, or a copy, in another.

    Of files of one size in two splits the ends are read, and the whole of those whose ends are the same.
    """
    found = [splits]
    for key in (lambda path: os.stat(path).st_size, _tail, _whole):
        found = [alike for group in found for alike in _alike(group, folder, key)]
    pairs = sorted(f"{_first(group)} is also in {split} as {path}" for group in found for split, path in [_last(group)])
    if pairs:
        more = f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else ""
        raise InputError(f"{folder}: {len(pairs):,} images are in two splits: {', '.join(pairs[:3])}{more}; "
                         f"{remedy}")


def _alike(splits, folder, key):
    """Return the groups, as Splits, of images in two splits or more whose files have one key."""
    groups = defaultdict(lambda: type(splits)([], [], []))
    for split, items in splits._asdict().items():
        for item in items:
            path = os.path.join(folder, *item.path.split("/"))
            if os.path.exists(path):  # what is missing is told where it is read
                getattr(groups[key(path)], split).append(item)
    return [group for group in groups.values() if sum(map(bool, group)) > 1]


def _tail(path):
    with open(path, "rb") as file:
        file.seek(max(0, os.stat(path).st_size - TAIL))
        return file.read()


def _whole(path):
    digest = hashlib.blake2b()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _first(group):
    return next(items[0].path for items in group if items)


def _last(group):
    return next((split, items[0].path) for split, items in reversed(group._asdict().items()) if items)
