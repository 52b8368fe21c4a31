"""Reading the files that datasets come with: text, JSON, MATLAB. What cannot be read is named, with its remedy."""
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .home import InputError, untrusted


def read_lines(path: str, remedy: str) -> list[str]:
    """Return the lines of a text file without white space at their ends and without empty ones.

    Raises InputError naming the file and the ``remedy``.
    """
    def lines(raw):
        return [line.strip() for line in io.StringIO(raw.decode("utf-8-sig"), newline=None) if line.strip()]
    return parsed(path, lines, "not a text file", remedy)


def parsed(path: str, parse: Callable[[bytes], Any], problem: str, remedy: str) -> Any:
    """Return what ``parse`` makes of the bytes of a file. Raises InputError: "PATH: PROBLEM (…); REMEDY"."""
    raw = untrusted.read_untrusted(path, lambda path: Path(path).read_bytes(),
                                   lambda reason: f"{path}: cannot be read ({reason}); {remedy}")
    return untrusted.read_untrusted(raw, parse, lambda reason: f"{path}: {problem} ({reason}); {remedy}")


def read_mat(path: str, name: str, remedy: str) -> Any:
    """Return the variable ``name`` of a MATLAB file, as scipy reads it. Raises InputError, also where it is empty."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise InputError(f"{path}: reading it needs scipy: pip install scipy") from None
    content = parsed(path, lambda raw: loadmat(io.BytesIO(raw))[name],
                     f"cannot be read as a MATLAB file with '{name}' in it", remedy)
    if not content.size:
        raise InputError(f"{path}: '{name}' in it is empty; {remedy}")
    return content


def _unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' occurs twice")
    return found


def read_json(path: str, remedy: str) -> Any:
    """Return what the JSON file ``path`` holds. Raises InputError naming the file and the ``remedy``."""
    return parsed(path, lambda raw: json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_unique), "not valid JSON",
                  remedy)
