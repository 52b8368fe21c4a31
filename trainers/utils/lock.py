"""One run at a time in an output folder: ``run.lock`` names the process that has it.

The lock is made by a hard link (or O_EXCL), which is exclusive on network disks as well. That its holder is dead can be
known on the holder's own machine only, and there one of several takers wins by flock on the very file that is stale.

The library filelock does not do this: its locks by flock do not say who holds them, and none knows of a SLURM job that
was put back into the queue, onto another machine.
"""
import contextlib
import errno
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputDirLocked, PromptRegError, SetupError
from .untrusted import parse_or_none

try:
    import fcntl
except ImportError:  # not a POSIX system: stale locks are named and not taken over
    fcntl = None  # type: ignore[assignment]  # a module, or None

NAME = "run.lock"
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)
Holder = dict[str, Any]  # which process holds a folder: machine, number, start and what else tells it from others


@contextlib.contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold ``folder`` (made where missing) for this process; it is given back however the block ends.

    A folder that was made for this and is still empty is removed again.

    Raises:
        OutputDirLocked: another process holds it; says which.
        InputError: it is a file. SetupError: it cannot be written to.
    """
    folder = Path(folder)
    path, mine, made = folder / NAME, _identity(), []
    try:
        _enter(path, mine, made)
        yield
    finally:
        if (_read(path) or {}).get("token") == mine["token"]:
            path.unlink(missing_ok=True)
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()


def release_dead(folder: str | Path) -> None:
    """Remove the lock that a process which is gone has left in ``folder``; that of a living one stays."""
    if (Path(folder) / NAME).exists():
        with contextlib.suppress(PromptRegError), held(folder):  # takes it over, and gives it back
            pass


def _enter(path: Path, mine: Holder, made: list[Path]) -> None:
    """Take the lock ``path``; adds the folders that had to be made for it to ``made``."""
    folder = path.parent
    try:
        made += _make(folder)
        try:
            _take(path, mine)
        except FileNotFoundError:  # another run, which had made the folder in vain, has just removed it
            made += _make(folder)
            _take(path, mine)
    except FileExistsError:
        raise InputError(f"{folder} is a file, or below one: choose another --output-dir") from None
    except NotADirectoryError:
        raise InputError(f"{folder} is below a file: choose another --output-dir") from None
    except OSError as error:
        raise SetupError(f"{folder} cannot be written to ({error.strerror}): correct its permissions, free some "
                         "space, or choose another --output-dir") from error


def _make(folder: Path) -> list[Path]:
    """Make ``folder``; return those folders that were missing, the deepest first."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _take(path: Path, mine: Holder) -> None:
    text = json.dumps(mine)
    draft = path.with_name(f".{NAME}.{mine['token']}")
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        for attempt in range(50):
            if _create(draft, path, text) or _take_over(draft, path):
                break
            if attempt > 20:  # somebody else's lock comes and goes, or is being written
                time.sleep(0.1)
        else:
            raise OutputDirLocked(f"{path} cannot be read as a lock: delete it if no run is using the folder")
    finally:
        draft.unlink(missing_ok=True)
    for left in path.parent.glob(f".{NAME}.*"):  # of processes killed at this very place
        if not _alive(_read(left)):
            left.unlink(missing_ok=True)


def _create(draft: Path, path: Path, text: str) -> bool:
    """Make the lock unless there is one; return whether it is ours."""
    try:
        os.link(draft, path)
        return True
    except FileExistsError:
        return draft.stat().st_nlink == 2  # NFS may have made the link and lost the answer
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _take_over(draft: Path, path: Path) -> bool:
    """Put ``draft`` in the place of a dead process's lock; return whether it was.

    Raises:
        OutputDirLocked: the holder lives, or this cannot be known from here.
    """
    holder = _read(path)
    if holder is None:  # gone, or not written yet
        return False
    if _alive(holder):
        raise OutputDirLocked(_describe(path, holder))
    if fcntl is None:
        raise OutputDirLocked(f"{path} was left by a process that is gone: delete it")
    try:
        with open(path, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if file.read() != json.dumps(holder) or not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return False  # another taker was first
            os.replace(draft, path)
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputDirLocked(f"{path} was left by a process that is gone, and cannot be taken over "
                              f"({error.strerror}): delete it") from error


def _read(path: Path) -> Holder | None:
    """Return the identity that a lock holds, or None where there is none or it is damaged."""
    content = parse_or_none(lambda path: json.loads(path.read_text(encoding="utf-8")), path)
    whole = isinstance(content, dict) and type(content.get("pid")) is int and 0 < content["pid"] < 2 ** 31
    return content if whole else None


def _describe(path: Path, holder: Holder) -> str:
    elsewhere = "" if _same_machine(holder) else f"; should it be gone, delete {path}"
    return (f"{path.parent} is in use by process {holder['pid']} on {holder.get('host')} since {holder.get('since')}: "
            f"wait for it, or choose another --output-dir{elsewhere}")


# ---- who holds it, and whether that process lives

def _identity() -> Holder:
    return {"host": socket.gethostname(), "machine": _text("/etc/machine-id"), "boot": _boot(), "space": _pid_space(),
            "job": _job(), "restart": _restart(), "pid": os.getpid(), "start": _state_and_start(os.getpid())[1],
            "since": time.strftime("%Y-%m-%d %H:%M:%S"), "token": uuid.uuid4().hex}


def _same_machine(holder: Holder) -> bool:
    return holder.get("host") == socket.gethostname() and holder.get("machine") == _text("/etc/machine-id")


def _alive(holder: Holder | None) -> bool:
    """Return whether the process that a lock names may still be running; False only where that is certain."""
    if holder is None:
        return True
    # SLURM may have put the job back into the queue, and has ended it before; where that can be seen, it is looked at.
    requeued = bool(holder.get("job")) and holder["job"] == _job() and holder.get("restart") != _restart()
    if not _same_machine(holder):
        return not requeued
    if holder.get("boot") != _boot():
        return False
    if holder.get("space") != _pid_space():  # another container's numbers
        return not requeued
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, which /proc may hide
        if not os.path.exists(f"/proc/{holder['pid']}"):
            return True
    state, start = _state_and_start(holder["pid"])
    return state not in ("Z", "X") and holder.get("start") in (None, start)


def _state_and_start(pid: int) -> tuple[str, str | None]:
    """Return a process's state letter and when it started; a number that is used again has another start."""
    stat = _text(f"/proc/{pid}/stat")
    if stat:
        fields = stat.rpartition(")")[2].split()
        return fields[0], fields[19]
    if os.path.isdir("/proc/self"):  # it has just ended
        return "X", None
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return "R", done.stdout.strip() or None


def _job() -> str:
    return " ".join(os.environ.get(name, "") for name in ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_PROCID")).strip()


def _restart() -> str:
    return os.environ.get("SLURM_RESTART_COUNT", "0")


def _boot() -> str | None:
    return _text("/proc/sys/kernel/random/boot_id")


def _pid_space() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
