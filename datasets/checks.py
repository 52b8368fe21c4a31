"""Checks of a whole dataset: labels fit names, no image is in two places, nothing is lacking; and its fingerprint."""
import hashlib
import json
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING

from .home import InputError

if TYPE_CHECKING:  # splits imports this module
    from .splits import Splits


def check_items(splits: "Splits", where: str, remedy: str, apart: bool = True) -> None:
    """Raise InputError where labels and class names do not fit together, or where an image is listed twice.

    Labels must be 0..n-1 with training images for each, and mean the same class name everywhere. ``where`` names
    the source in the message and ``remedy`` says what to do about it. ``apart`` unset: the splits may share images.
    """
    names = {}
    for split, items in splits._asdict().items():
        for item in items:
            if item.label < 0:
                raise InputError(f"{where}: {split}: label {item.label} of {item.path} is out of range; {remedy}")
            known = names.setdefault(item.label, item.classname)
            if known != item.classname:
                raise InputError(f"{where}: {split}: label {item.label} is '{known}' and, for {item.path}, "
                                 f"'{item.classname}'; {remedy}")
    trained = {item.label for item in splits.train}
    if not trained:
        raise InputError(f"{where}: no training image; {remedy}")
    if trained != set(range(len(names))):
        _refuse_labels(splits, trained, names, where, remedy)
    if apart:
        check_apart(splits, where, remedy)


def _refuse_labels(splits, trained, names, where, remedy):
    gapless = len(names) == max(names) + 1
    for split, items in splits._asdict().items():
        for item in items:
            if gapless and item.label not in trained:
                raise InputError(f"{where}: class '{item.classname}' (label {item.label}) has no training image; "
                                 f"{remedy}")
            if not gapless and item.label >= len(trained):
                raise InputError(f"{where}: {split}: label {item.label} of {item.path} is out of range "
                                 f"0..{len(trained) - 1} ({len(trained)} classes have training images); {remedy}")


def check_apart(splits: "Splits", where: str, remedy: str) -> None:
    """Raise InputError, naming three, where images are listed in two splits, or twice in one."""
    seen = {}
    for split, items in splits._asdict().items():
        paths = [item.path for item in items]
        here = set(paths)
        if len(here) < len(paths):
            _refuse_images(_repeated(paths), f"listed twice in {split}", where, remedy)
        for other, there in seen.items():
            _refuse_images(sorted(here & there), f"both in {other} and in {split}", where, remedy)
        seen[split] = here


def _repeated(paths):
    """Return, sorted, what occurs more than once."""
    seen, twice = set(), set()
    for path in paths:
        (twice if path in seen else seen).add(path)
    return sorted(twice)


def _refuse_images(paths, what, where, remedy):
    if paths:
        more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
        raise InputError(f"{where}: {images_are(paths)} {what}: {', '.join(paths[:3])}{more}; {remedy}")


def images_are(found: Sized) -> str:
    """Return "1 image is" or "N images are"."""
    return "1 image is" if len(found) == 1 else f"{len(found):,} images are"


def shortfalls(splits: "Splits", published: Mapping[str, int], dealt: bool = False) -> tuple[list[str], list[str]]:
    """Return (what makes a dataset another one than published, what else differs), lists of sentences.

    Another one: other classes to choose from, or other test images. With ``dealt`` set, the splits were made here,
    and only the number of all images can be compared.
    """
    serious, minor = [], []
    for split, items in splits._asdict().items():
        count = len({item.label for item in items})
        if split != "val" and count != published.get("classes", count):
            of = "" if split == "train" else f" in {split}"
            serious.append(f"has {count:,} of the published {published['classes']:,} classes{of}")
    counts = {split: len(items) for split, items in splits._asdict().items()}
    expected = {split: published[split] for split in counts if split in published}
    if dealt:
        counts, expected = {"all": sum(counts.values())}, {"all": sum(expected.values())} if expected else {}
    for split, number in expected.items():
        if counts[split] != number and (counts[split] or split != "val"):  # ImageNet has no val of its own
            (minor if split in ("train", "val") else serious).append(
                f"has {counts[split]:,} of the published {number:,} images{'' if split == 'all' else f' in {split}'}")
    return serious, minor


def fingerprint(splits: "Splits") -> str:
    """Return a hash of a whole dataset: class names by label, and split, path and label of every image."""
    names = {}
    for items in splits:
        for item in items:
            names.setdefault(item.label, item.classname)
    digest = hashlib.blake2b(json.dumps([names[label] for label in sorted(names)]).encode(), digest_size=16)
    for split, items in splits._asdict().items():
        lines = sorted(f"{item.path}\0{item.label}" for item in items)
        digest.update("\n".join([f"\0{split}", *lines]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
