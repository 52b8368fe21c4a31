"""Files that appear whole or not at all, also when their writer is killed or the power fails, and nothing else.

A file is written under another name, ``.NAME.XXXX.part`` in its folder, by a process that holds a lock on it until it
takes its place. The system lets go of the lock however the process ends, so that whoever comes to the folder next can
tell what has been left from what is being written, and removes it.

The library filelock does ``exclusive_lock``, and cannot do the rest: it opens and locks a file of its own, not the one
that is being written. So the temporary file's lock stays flock.
"""
import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock

from ..errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system: what killed processes leave stays
    fcntl = None  # type: ignore[assignment]  # a module, or None


class Linked(InputError, OSError):
    """Where a file is to be written a link stands, which would lead the writing elsewhere."""


def no_link(path: str | Path, flags: int) -> int:
    """``open(path, mode, opener=no_link)``: as ``open``, but not through a link that somebody has put there.

    Folders on the way may be links. Raises Linked.
    """
    with _refusing_link(path):
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextlib.contextmanager
def _refusing_link(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if os.path.islink(path):
            raise Linked(f"{path} is a link: it is not written through; remove it") from error
        raise


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let an OSError name ``path``: one of a write does not say of which file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def atomic_open(path: str | Path) -> Iterator[IO[bytes]]:
    """Give an open binary file, which has a ``name``, that becomes ``path`` if the block succeeds; parents are made.

    Raises:
        OSError: names ``path``; what was there is untouched.
    """
    path = Path(path)
    with temporary(path) as file:
        yield file
        _settle(file)
        os.replace(file.name, path)
        sync(path.parent)


def write_file(path: str | Path, content: str | bytes, once: bool = False) -> bool:
    """Write bytes, or a text in UTF-8, to ``path``; returns whether this call's content is the one that stands.

    Args:
        once: leave ``path`` alone where somebody else was first.

    Raises:
        OSError: as ``atomic_open``.
    """
    path = Path(path)
    with temporary(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
        _settle(file)
        try:
            if once:
                os.link(file.name, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            once = False
        if not once:
            os.replace(file.name, path)
        sync(path.parent)
    return True


def tidy(folder: str | Path) -> None:
    """Remove what killed processes have left in ``folder``; what is being written stays."""
    for part in Path(folder).glob(".*.part"):
        with contextlib.suppress(OSError), open(part, "r+b") as file:  # gone meanwhile, or somebody else's
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[IO[bytes]]:
    """Give a new file beside ``path``, open and locked, that is gone after the block if it still has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tidy(path.parent)
    with naming(path), _locked(path) as file:
        try:
            yield file
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name)


def _locked(path: Path) -> IO[bytes]:
    """Return a new open file beside ``path``, locked."""
    while True:
        file = open(str(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")), "xb")
        with contextlib.suppress(OSError):  # a disk without locks: nobody tidies there either
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(file.name):
            return file
        file.close()  # taken for a leftover in the moment before the lock


@contextlib.contextmanager
def exclusive_lock(path: str | Path) -> Iterator[None]:
    """Hold the file ``path``, which stays, once nobody else does; the system lets go of it however the process ends."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    with _refusing_link(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _settle(file: IO) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync(folder: str | Path) -> None:
    """Have a folder's new names outlast a power failure, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
