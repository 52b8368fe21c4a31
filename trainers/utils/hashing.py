"""Hashing of files, a block at a time: hashlib.file_digest of Python 3.11, for 3.10 as well."""
from os import PathLike
from typing import Any


def file_digest(path: str | PathLike, algorithm: Any) -> str:
    """Return the hexadecimal digest of a file by one of hashlib's objects. Raises OSError."""
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            algorithm.update(block)
    return algorithm.hexdigest()
