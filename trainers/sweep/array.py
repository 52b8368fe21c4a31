"""A sweep's jobs in elements of SLURM arrays: how they stand, by squeue and by what the runs themselves write."""
import time
from collections import Counter
from collections.abc import Iterable, Sequence
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
        self.news = False  # squeue has answered since the last look
        self.own: set[str] = set()
        self.others: set[str] = set()

    @property
    def places(self) -> int:
        return len(self.workers)

    def waiting(self) -> list[Job]:
        """Return the jobs that are in no element."""
        return [job for job in self.jobs if self.states[job.slug] == WAITING and job.slug not in self.element_of]

    def add(self, submission: Submission) -> None:
        """Take jobs to be in the elements of a submission of this sweep's."""
        for index, chunk in enumerate(submission.chunks):
            self.element_of.update(dict.fromkeys(chunk, submission.key(index)))

    def find(self, submissions: Iterable[Submission], listed: Sequence[Element]) -> None:
        """Take jobs to be in those elements of earlier submissions that SLURM has yet to run, or is running."""
        known = {submission.token: submission for submission in submissions}
        wanted = {job.slug for job in self.waiting() if not self.state.failure(job)}
        for element in listed:
            submission = known.get(element.token)
            if submission is None or element.ended or element.index >= len(submission.chunks):
                continue
            key, chunk = submission.key(element.index), wanted.intersection(submission.chunks[element.index])
            if chunk and not account(self.folder, key):  # else it is about to leave
                self.element_of.update(dict.fromkeys(chunk, key))
                self.others.add(element.array_id)
                wanted -= chunk

    def heard(self, listed: Sequence[Element]) -> None:
        """Take note of squeue's answer."""
        keys = set(self.element_of.values())
        found = {element.key: element for element in listed if element.key in keys}
        self.elements.update(found)
        for key in keys:
            self.without[key] = 0 if key in found and not found[key].ended else self.without[key] + 1
        self.news = True

    def look(self) -> None:
        """Look at results, failures and consoles of the jobs that have not finished.

        Between squeue's answers, of those alone that are not known to wait: there may be thousands.
        """
        self.workers, news, self.news = [], self.news, False
        for job in self.jobs:
            slug = job.slug
            element = self.elements.get(self.element_of.get(slug, ""))
            pending = element is not None and element.state == "PENDING"
            if self.states[slug] == FINISHED or slug not in self.element_of or pending and not news:
                continue
            self.states[slug] = state = self.state_of(job)
            began = self.state.began(job)
            if state == RUNNING:
                step = next((step for step in job.steps if not step.finished), job.steps[-1])
                self.workers.append(Worker({}, job, step, console=self.state.console(job), begin=began or time.time()))
            elif state != WAITING:
                self.seconds.setdefault(slug, max(0.0, self.ended(job) - began) if began else 0.0)

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
