"""What a sweep notes of the arrays that it submits, so that another one finds their jobs: OUTPUT/.sweep/slurm/*.json.

A note is written before sbatch is called, and names the array by a token that is also the array's comment: a sweep that
is killed in between loses nothing.
"""
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..utils import atomic
from ..utils.untrusted import parse_or_none


@dataclass(frozen=True)
class Submission:
    """An array: its token, and the slugs of each element's jobs."""

    token: str
    chunks: list[list[str]]

    def key(self, index: int) -> str:
        """Return the name of an element's notes."""
        return f"{self.token}-{index}"


def note(folder: Path, chunks: list[list[str]]) -> Submission:
    """Note an array that is about to be submitted."""
    made = Submission(f"promptreg-{uuid.uuid4().hex[:12]}", chunks)
    atomic.write_file(folder / f"{made.token}.json", json.dumps(chunks))
    return made


def noted(folder: Path) -> Iterator[Submission]:
    """Yield the arrays that were submitted from here; a damaged note is passed over, as its array cannot be known."""
    for path in sorted(folder.glob("promptreg-*.json")):
        chunks = parse_or_none(lambda path: json.loads(path.read_text()), path)
        if path.stem.count("-") == 1 and isinstance(chunks, list):
            yield Submission(path.stem, chunks)


def write_account(folder: Path, key: str, states: dict[str, str]) -> None:
    """Note how an element has left its jobs: {slug: state}."""
    atomic.write_file(folder / f"{key}.json", json.dumps(states))


def account(folder: Path, key: str) -> dict[str, Any]:
    """Return how an element has left its jobs; empty where it did not come to say so."""
    found = parse_or_none(lambda path: json.loads(path.read_text()), folder / f"{key}.json")
    return found if isinstance(found, dict) else {}
