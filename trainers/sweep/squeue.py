"""What SLURM says of this user's jobs, by squeue alone: sacct needs accounting, which many clusters do not keep."""
import os
import subprocess
from dataclasses import dataclass

from ..errors import SetupError

ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "REVOKED", "TIMEOUT")


class NoAnswer(SetupError):
    """squeue failed: its controller may be down for a while."""


@dataclass(frozen=True)
class Element:
    """A job of SLURM's, or one element of an array.

    Attributes:
        job_id: as ``scancel`` takes it: "6", or "6_0".
        state: squeue's long word.
        seconds: since it was started, the last time.
        comment: the one it was submitted with.
    """

    job_id: str
    state: str
    seconds: int
    comment: str

    @property
    def array_id(self) -> str:
        return self.job_id.partition("_")[0]

    @property
    def index(self) -> int:
        """Its number in the array; 0 outside of one."""
        return int(self.job_id.partition("_")[2] or 0)

    @property
    def token(self) -> str:
        """The word of the comment by which a sweep knows its own (``submission``); "" where there is none."""
        return next((word for word in self.comment.split() if word.startswith("promptreg-")), "")

    @property
    def key(self) -> str:
        """What ``Submission.key`` calls it."""
        return f"{self.token}-{self.index}"

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def squeue(*flags: str) -> str:
    """Return what squeue prints. Raises NoAnswer where it fails."""
    try:
        done = subprocess.run(["squeue", "--noheader", *flags], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(f"squeue failed: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise NoAnswer(f"squeue failed: {last}")
    return done.stdout


def elements() -> list[Element]:
    """Return this user's jobs, each array's element for itself, with those that ended in the last minutes."""
    text = squeue("--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%M|%k")
    found = []
    for line in text.splitlines():
        job_id, state, passed, comment = line.split("|", 3)
        if job_id.replace("_", "").isdecimal():
            found.append(Element(job_id, state, seconds(passed), comment))
    return found


def seconds(passed: str) -> int:
    """Return squeue's DAYS-HOURS:MINUTES:SECONDS, of which the first may be missing, in seconds; 0 for INVALID."""
    days, _, clock = passed.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in parts) or days and not days.isdecimal():
        return 0
    total = 0
    for part in parts:
        total = 60 * total + int(part)
    return 86400 * int(days or 0) + total


def still_wanted(job_id: str) -> bool:
    """Return whether SLURM counts a job as running: it was neither cancelled nor put back into the queue."""
    try:
        return squeue(f"--jobs={job_id}", "--format=%T").strip() in ("RUNNING", "SIGNALING")
    except NoAnswer:
        return False
