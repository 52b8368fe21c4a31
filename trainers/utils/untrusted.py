"""Parses files of unknown origin: whatever a parser fails with becomes one line that names the file.

Of a damaged file, parsers raise almost anything: zipfile, zlib, struct, pickle and PyTorch have a dozen types between
them, and new versions add more. So this module, and no other, catches them all. ``parse`` should be the parser's call
and little else: a defect in it would pass for a damaged file.
"""
from collections.abc import Callable
from typing import TypeVar

from ..errors import InputError, PromptRegError, SetupError

S = TypeVar("S")
T = TypeVar("T")
LONGEST = 150  # characters of a parser's own message


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text (two, where the first only announces them), or its class's name."""
    first, *more = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first


def read_untrusted(source: S, parse: Callable[[S], T], refusal: Callable[[str], str], *, unclear: str = "",
                   kind: type[PromptRegError] = InputError) -> T:
    """Return ``parse(source)``.

    Args:
        source: the file's path, or what was read from it.
        parse: the parser. A PromptRegError of its own passes as it is, and so does a MemoryError.
        refusal: the whole message, which names the file, from the parser's reason.
        unclear: the reason where the parser's own is a single word (the key of a KeyError) or PyTorch's half page.
        kind: class of the error.

    Raises:
        InputError: the parser failed (another class by ``kind``).
        SetupError: the system does not permit reading the file.
    """
    try:
        return parse(source)
    except (PromptRegError, MemoryError):
        raise
    except PermissionError as error:
        raise SetupError(f"{error.filename or source}: permission denied: correct its permissions, or choose "
                         "another file") from error
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or first_line(error)
        if unclear and (" " not in reason or reason.startswith("Weights only load failed")):
            reason = unclear
        raise kind(refusal(reason[:LONGEST])) from error


def parse_or_none(parse: Callable[[S], T], content: S) -> T | None:
    """Return ``parse(content)``, or None where the parser fails; for a damaged cache, say, which is made again."""
    try:
        return parse(content)
    except MemoryError:
        raise
    except Exception:
        return None
