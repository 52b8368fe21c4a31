"""A sweep's jobs in elements of SLURM arrays: how they stand, by squeue and by what the runs themselves write."""
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .plan import Job
from .pool import ELSEWHERE, FAILED, FINISHED, INTERRUPTED, RUNNING, WAITING
from .squeue import Element
from .state import SweepState
from .submission import Submission, account
from .worker import Worker

ANSWERS = 2  # of squeue's without an element until that counts as ended: a requeued one may be missing from one
CLOCKS = 5.0  # seconds by which the clocks of a cluster may differ


class Array:
    """What ``progress`` shows of a pool: jobs, states, seconds, workers; by SLURM's elements.

    Attributes:
        own: ids of the arrays that this sweep has submitted; others: of those that it has found.
    """

    def __init__(self, jobs: list[Job], state: SweepState) -> None:
        self.jobs, self.state, self.folder = jobs, state, state.folder / "slurm"
        self.states = {job.slug: FINISHED if job.finished else WAITING for job in jobs}
        self.failures: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self.workers: list[Worker] = []
        self.element_of: dict[str, str] = {}  # {job's slug: key of its element}
        self.elements: dict[str, Element] = {}  # {key: what squeue said last}
        self.without: Counter[str] = Counter()  # {key: answers in a row without it}
        self.own: set[str] = set()
        self.others: set[str] = set()

    @property
    def places(self) -> int:
        return len(self.workers)

    def waiting(self) -> list[Job]:
        """Return the jobs that are in no element."""
        return [job for job in self.jobs if self.states[job.slug] == WAITING and job.slug not in self.element_of]

    def add(self, submission: Submission) -> None:
        """Take jobs to be in the elements of a submission, but for those that are in another's."""
        for index, chunk in enumerate(submission.chunks):
            for slug in chunk:
                if self.states.get(slug) == WAITING:
                    self.element_of.setdefault(slug, submission.key(index))

    def find(self, submission: Submission, listed: Sequence[Element]) -> None:
        """Take jobs to be in those elements of an earlier submission that SLURM has yet to run, or is running."""
        failed = {job.slug for job in self.jobs if self.states[job.slug] == WAITING and self.state.failure(job)}
        for element in listed:
            if (submission.token not in element.comment.split() or element.ended
                    or account(self.folder, submission.key(element.index))):  # it is leaving
                continue
            before = len(self.element_of)
            chunks = [[slug for slug in chunk if index == element.index and slug not in failed]
                      for index, chunk in enumerate(submission.chunks)]
            self.add(Submission(submission.token, chunks))
            if len(self.element_of) > before:
                self.others.add(element.array_id)

    def heard(self, listed: Sequence[Element]) -> None:
        """Take note of squeue's answer."""
        keys = set(self.element_of.values())
        for element in listed:
            token = next((word for word in element.comment.split() if word.startswith("promptreg-")), "")
            if f"{token}-{element.index}" in keys:
                self.elements[f"{token}-{element.index}"] = element
        there = {key for key, element in self.elements.items() if element in listed and not element.ended}
        for key in keys:
            self.without[key] = 0 if key in there else self.without[key] + 1

    def look(self) -> None:
        """Look at results, failures and consoles of the jobs that have not finished."""
        self.workers = []
        for job in self.jobs:
            if self.states[job.slug] == FINISHED or job.slug not in self.element_of:
                continue
            self.states[job.slug] = self.state_of(job)
            began = self.state.began(job)
            if self.states[job.slug] == RUNNING:
                step = next((step for step in job.steps if not step.finished), job.steps[-1])
                self.workers.append(Worker({}, job, step, console=self.state.console(job), begin=began or time.time()))
            elif self.states[job.slug] != WAITING:
                self.seconds.setdefault(job.slug, max(0.0, self.ended(job) - began) if began else 0.0)

    def state_of(self, job: Job) -> str:
        key = self.element_of[job.slug]
        failure = self.state.failure(job)
        if job.finished:
            return FINISHED
        if failure:
            self.failures[job.slug] = failure
            return FAILED
        self.failures.pop(job.slug, None)  # its element was put back into the queue, and runs it again
        element = self.elements.get(key)
        if element and not self.without[key]:
            begun = element.state == "RUNNING" and self.state.began(job) > time.time() - element.seconds - CLOCKS
            return RUNNING if begun else WAITING
        return self.left(job, key, element) if self.without[key] >= ANSWERS else self.states[job.slug]

    def left(self, job: Job, key: str, element: Element | None) -> str:
        """Return the state of a job whose element has ended without its result and without a note of failure."""
        said = account(self.folder, key).get(job.slug)
        if said == ELSEWHERE and self.state.busy(job):
            return RUNNING  # in another sweep, or in an element on a node that SLURM has lost sight of
        if said in (INTERRUPTED, ELSEWHERE):
            return said
        if element and element.state in ("CANCELLED", "PREEMPTED"):
            return INTERRUPTED
        name = element.job_id if element else "that was submitted for it"
        word = f"ended as {element.state}" if element and element.ended else "is gone"
        console = self.folder / f"{name}_0_log.err"
        self.failures[job.slug] = {"code": 1, "lines": [*tail(console), f"SLURM's element {name} {word}"],
                                   "command": str(job.steps[0]), "console": str(console)}
        return FAILED

    def ended(self, job: Job) -> float:
        """Return when a job's last file was written; now where none was."""
        files = [Path(folder) / "result.json" for step in job.steps for folder in step.folders]
        times = [path.stat().st_mtime for path in (*files, self.state.console(job)) if path.exists()]
        return max(times, default=time.time())


def tail(path: str | Path, count: int = 3) -> list[str]:
    """Return a file's last lines that are not empty."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-count:]
