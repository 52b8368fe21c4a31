"""What a sweep keeps in OUTPUT/.sweep: jobs' consoles, failures and locks."""
import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..utils import atomic
from .plan import Job, Step


class SweepState:
    """What a sweep notes below OUTPUT/.sweep: consoles' text, failures, locks."""

    def __init__(self, output: str | Path) -> None:
        self.folder = Path(output) / ".sweep"

    def console(self, job: Job) -> Path:
        return self.folder / "console" / f"{job.slug}.txt"

    def failure(self, job: Job) -> dict[str, Any] | None:
        """Return what is noted of the job's failure, or None."""
        path = self.folder / "failed" / f"{job.slug}.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            return None

    def note_failure(self, job: Job, step: Step, code: int, lines: Sequence[str] = ()) -> dict[str, Any]:
        """Return what is noted of the job's failure; it is also written down, unless the disk is full."""
        content = {"job": job.name, "command": str(step), "code": code, "folders": step.folders,
                   "console": str(self.console(job)), "lines": list(lines) or last_lines(self.console(job))}
        with suppress(OSError):
            atomic.write_file(self.folder / "failed" / f"{job.slug}.json", json.dumps(content, indent=1))
        return content

    def forget_failure(self, job: Job) -> None:
        (self.folder / "failed" / f"{job.slug}.json").unlink(missing_ok=True)

    def lock(self, job: Job) -> IO[str] | None:
        """Return an open file that holds the job's lock, or None where another process has it."""
        path = self.folder / "locks" / f"{job.slug}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a", opener=atomic.no_link)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        with suppress(OSError):
            os.utime(file.fileno())  # tells other machines when the job began
        return file

    def began(self, job: Job) -> float:
        """Return when the job was last begun, in seconds since the epoch; 0 where it never was."""
        try:
            return (self.folder / "locks" / f"{job.slug}.lock").stat().st_mtime
        except OSError:
            return 0.0

    def busy(self, job: Job) -> bool:
        """Return whether a process, here or on another machine, holds the job's lock."""
        try:
            with open(self.folder / "locks" / f"{job.slug}.lock", "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except OSError:
            return True


def last_lines(path: Path, count: int = 4) -> list[str]:
    """Return the last lines of a console's text that say something: the error where there is one."""
    try:
        text = path.read_bytes()[-20000:].decode(errors="replace")
    except OSError:
        return []
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip() and "%|" not in line]
    errors = [line for line in lines if line.startswith("error:")]
    return errors[-1:] or lines[-count:]
