"""Answers "results are available" without torch: remembers calls whose result was compared with all it is made of.

A finished folder is compared with the config, the data and the weights that are there today (``run.finished``), which
imports torch and reads the dataset's lists. What was compared is remembered in the cache by what a look at the disk
tells: the call's flags, this package's files, and time and size of the config files, of result.json, of the weights, of
the dataset's folders and lists. Where any of it differs, the call is compared anew.
"""
import argparse
import hashlib
import json
import os
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from ..utils import atomic
from ..utils.paths import PACKAGE_ROOT

MOST_FOLDERS = 20_000  # of a dataset: more are not looked at one by one
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff", ".gif"}
FEW_SHOT = "split_fewshot"  # folders to which runs with other seeds add


def record_of(output_dir: str) -> Path:
    """Return the file in the cache for an output folder; the cache is that of the frozen text features."""
    cache = Path(os.environ.get("PROMPTREG_CACHE") or "~/.cache/promptreg").expanduser()
    name = hashlib.blake2b(os.path.abspath(output_dir).encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return cache / "finished" / f"{name}.json"


def recall(args: argparse.Namespace) -> list[str] | None:
    """Return the notes of the finished run that parsed flags ask for; None where it is not known to be unchanged."""
    if not args.output_dir:
        return None
    try:
        found = json.loads(record_of(args.output_dir).read_text(encoding="utf-8"))
        same = found["call"] == _call(args) and all(_look(path) == seen for path, seen in found["seen"].items())
        return list(map(str, found["notes"])) if same and found["seen"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remember(args: argparse.Namespace, notes: Iterable[str], files: Iterable[str | Path],
             folders: Iterable[str | Path]) -> None:
    """Keep that the call's result has been compared, and with which files and folders; where it cannot be, it is not.

    Args:
        args: parsed flags.
        notes: of the result.
        files: whose time and size tell that they are unchanged.
        folders: of datasets: their folders, and the files in them that are no images.
    """
    try:
        paths = [args.config_file, args.dataset_config_file, os.path.join(args.output_dir, "result.json"), *files]
        for folder in folders:
            paths += _lists_below(folder)
        seen = {os.path.abspath(path): _look(path) for path in filter(None, paths)}
        text = json.dumps({"call": _call(args), "seen": seen, "notes": list(notes)})
        record = record_of(args.output_dir)
        record.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(record, text)
    except (OSError, ValueError):
        return


def _call(args: argparse.Namespace) -> str:
    """Return a hash of the flags, the folder they are read in, and this package's and Dassl's files."""
    flags: dict[str, Any] = {key: value for key, value in vars(args).items() if not key.startswith("_")}
    dassl = PathFinder.find_spec("dassl")  # and not minidassl, which answers to the name once it is loaded
    code = [(str(path), _look(path)) for root in (PACKAGE_ROOT, PACKAGE_ROOT.parent / "datasets") if root.is_dir()
            for path in sorted(root.rglob("*.py"))]
    said = [flags, os.getcwd(), os.environ.get("WORLD_SIZE"), dassl and (dassl.origin, _look(dassl.origin or "")), code]
    return hashlib.blake2b(json.dumps(said, default=str).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _look(path: str | Path) -> list[int] | None:
    """Return [time of the last change in ns, size] of a file or folder, None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _lists_below(folder: str | Path) -> list[str]:
    """Return the folders below a dataset's, and what lies in them besides images. Raises ValueError where too many."""
    found = []
    for number, (where, _, names) in enumerate(os.walk(folder)):
        if number == MOST_FOLDERS:
            raise ValueError(f"{folder} has more than {MOST_FOLDERS} folders")
        if FEW_SHOT not in Path(where).parts:
            found.append(where)
        found += [os.path.join(where, name) for name in names if os.path.splitext(name)[1].lower() not in IMAGES]
    return found or [str(folder)]
