"""What a reader must know of a table's figures, with the rows and columns it is about; every format prints it."""
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Note:
    """A sentence about figures of a table.

    Attributes:
        lines: the rows' lines it is about; () for all.
        column: the column it is about; "" for all.
        part: the rows' part it is about ("Base", "H", …); "" for all.
    """

    text: str
    lines: tuple = ()
    column: str = ""
    part: str = ""

    def __str__(self) -> str:
        return self.text

    def about(self, row: Any, column: str) -> bool:
        """Return whether the cell of a row in a column is among what the note is about."""
        return ((not self.lines or row.line in self.lines) and self.column in ("", column)
                and self.part in ("", row.part))


def texts(notes: Iterable[Any]) -> list[str]:
    """Return the notes' texts, each once, in their order."""
    return list(dict.fromkeys(map(str, notes)))


def listed(words: Iterable[Any], most: int = 3) -> str:
    """Return words as a list that names the first of them and counts the others."""
    words = list(words)
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(map(str, words[:most])) + more
