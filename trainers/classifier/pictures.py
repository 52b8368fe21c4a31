"""Which files somebody means who names pictures and folders."""
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")


def pictures_below(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the pictures below a folder, by their suffix, in the order of their paths.

    Raises:
        InputError: there are none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"{folder}: no pictures ({', '.join(SUFFIXES)}) in this folder or below it")
    return found


def expanded(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Yield pictures' paths, a folder's as ``pictures_below``.

    Raises:
        InputError: a path that is not there, before any is yielded; a folder without pictures.
    """
    named = [Path(path) for path in paths]
    for path in named:
        if not path.exists():
            raise InputError(f"{path}: there is no such image or folder: correct the path")
    for path in named:
        yield from pictures_below(path) if path.is_dir() else [path]
