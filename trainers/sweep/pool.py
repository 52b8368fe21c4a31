"""Runs jobs as processes of this machine, so many at a time; what fails is recorded, what dies takes nothing along."""
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Interrupted, SetupError
from ..training import checkpoint
from ..utils import atomic, lock
from ..utils.console import one_line
from . import guard
from .plan import interpreter

WAITING, RUNNING, FINISHED, FAILED, ELSEWHERE = "waiting", "running", "finished", "failed", "elsewhere"
INTERRUPTED = "interrupted"  # by a signal of its own: saved, neither failed nor to be begun again by this sweep
EPOCH = re.compile(rb"epoch \[(\d{1,9})/([1-9]\d{0,8})\] batch \[(\d{1,9})/([1-9]\d{0,8})\]")


class Stopped(Exception):
    """A signal, which the message names, asked the sweep to stop."""


class Books:
    """What a sweep notes below OUTPUT/.sweep: consoles' text, failures, locks."""

    def __init__(self, output):
        self.folder = Path(output) / ".sweep"

    def console(self, job):
        return self.folder / "console" / f"{job.slug}.txt"

    def failure(self, job):
        """Return what is noted of the job's failure, or None."""
        path = self.folder / "failed" / f"{job.slug}.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            return None

    def note_failure(self, job, step, code, lines=()):
        """Return what is noted of the job's failure; it is also written down, unless the disk is full."""
        content = {"job": job.name, "command": str(step), "code": code, "folders": step.folders,
                   "console": str(self.console(job)), "lines": list(lines) or last_lines(self.console(job))}
        with suppress(OSError):
            atomic.write_file(self.folder / "failed" / f"{job.slug}.json", json.dumps(content, indent=1))
        return content

    def forget_failure(self, job):
        (self.folder / "failed" / f"{job.slug}.json").unlink(missing_ok=True)

    def lock(self, job):
        """Return an open file that holds the job's lock, or None where another process has it."""
        path = self.folder / "locks" / f"{job.slug}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a", opener=atomic.no_link)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            file.close()
            return None


def last_lines(path, count=4):
    """Return the last lines of a console's text that say something: the error where there is one."""
    try:
        text = path.read_bytes()[-20000:].decode(errors="replace")
    except OSError:
        return []
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip() and "%|" not in line]
    errors = [line for line in lines if line.startswith("error:")]
    return errors[-1:] or lines[-count:]


@dataclass(eq=False)
class Worker:
    """A place where one job runs at a time; what is None here is set while one does."""

    environment: dict
    job: Any = None
    step: Any = None
    process: Any = None
    lock: Any = None
    console: Any = None
    begin: float = 0.0

    @property
    def share(self):
        """How much of the job is done, 0 to 1, by its training's last line."""
        steps = self.job.steps
        done = self.job.steps.index(self.step)
        try:
            with open(self.console, "rb") as file:
                file.seek(max(0, os.path.getsize(self.console) - 4000))
                found = EPOCH.findall(file.read())
        except OSError:
            found = []
        inside = 0.0
        if found:
            epoch, epochs, batch, batches = map(int, found[-1])
            inside = min(1.0, max(0.0, (epoch - 1 + batch / batches) / epochs))
        # A training takes far longer than what evaluates it, in its own step and in those that follow.
        return 0.9 * inside if done == 0 else 0.9 + 0.1 * done / len(steps)


class Guard:
    """Has guard.py end process groups should this process be killed outright; has another where it is killed itself."""

    def __init__(self):
        self.groups, self.process = set(), None

    def add(self, group):
        self.groups.add(group)
        self.tell(f"+{group}")

    def discard(self, group):
        self.groups.discard(group)
        self.tell(f"-{group}")

    def tell(self, line):
        if self.process:
            with suppress(BrokenPipeError):  # it is gone: the next will be told
                print(line, file=self.process.stdin)

    def renew(self):
        """Start the program where none runs; tried again at every call, should there be no memory for it."""
        if self.process and self.process.poll() is None:
            return
        self.close()
        with suppress(OSError):
            self.process = subprocess.Popen([sys.executable, "-S", "-E", guard.__file__], stdin=subprocess.PIPE,
                                            text=True, start_new_session=True, bufsize=1)
        for group in self.groups:
            self.tell(f"+{group}")

    def close(self):
        """Let the program end what is left, and itself."""
        if self.process:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.wait()
            self.process = None


class Pool:
    """Runs jobs on ``workers`` processes.

    Attributes:
        states: {job's slug: state}; failures: {slug: what is noted}; seconds: {slug: wall time of a job that ended}.
    """

    def __init__(self, jobs, books, workers, per_gpu=1, gpus=()):
        self.jobs, self.books, self.guard = jobs, books, Guard()
        self.states, self.failures, self.seconds = {}, {}, {}
        threads = str(max(1, len(os.sched_getaffinity(0)) // workers))
        self.workers = []
        for number in range(workers):
            own = {"PYTHON": interpreter(), "PYTHONUNBUFFERED": "1", "DRY_RUN": ""}  # these are to run
            own.update({} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads})
            own.update({"CUDA_VISIBLE_DEVICES": gpus[number // per_gpu % len(gpus)]} if gpus else {})
            self.workers.append(Worker(own))
        self.queue = []
        for job in jobs:
            self.states[job.slug] = FINISHED if job.finished else WAITING
            if not job.finished:
                self.queue.append(job)

    def run(self, watch=lambda pool: None, pause=0.2):
        """Run until nothing is left; ``watch`` is called every ``pause`` seconds and after every change.

        Raises:
            Stopped: a signal came; all processes have ended.
        """
        with signals() as came:
            try:
                while self.queue or any(worker.job for worker in self.workers):
                    if came:
                        raise Stopped(came[0])
                    self.guard.renew()
                    self.advance()
                    watch(self)
                    time.sleep(pause)
            finally:
                self.end_all()
                self.guard.close()
        watch(self)

    def advance(self):
        """Take note of processes that have ended and fill free places."""
        for worker in self.workers:
            if worker.job and worker.process.poll() is not None:
                self.step_ended(worker)
            while not worker.job and self.queue:
                self.begin_job(worker, self.queue.pop(0))

    def begin_job(self, worker, job):
        worker.begin, worker.console = time.time(), self.books.console(job)
        try:
            worker.lock = self.books.lock(job)
            if worker.lock is None:
                self.states[job.slug] = ELSEWHERE
                return
            worker.console.parent.mkdir(parents=True, exist_ok=True)
            open(worker.console, "wb", opener=atomic.no_link).close()
        except OSError as error:
            worker.job = job
            self.cannot_begin(worker, job.steps[0], error)
            return
        self.books.forget_failure(job)
        worker.job = job
        self.states[job.slug] = RUNNING
        self.next_step(worker)

    def next_step(self, worker):
        """Start the job's first step that is not finished; end the job where there is none."""
        step = next((step for step in worker.job.steps if not step.finished), None)
        if step is None:
            self.job_ended(worker, FINISHED)
            return
        worker.step = step
        try:
            with open(worker.console, "ab", opener=atomic.no_link) as console:
                worker.process = subprocess.Popen(
                    step.argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                    start_new_session=True, env={**os.environ, **worker.environment, **step.environment})
        except OSError as error:
            self.cannot_begin(worker, step, error)
            return
        self.guard.add(worker.process.pid)

    def cannot_begin(self, worker, step, error):
        """Note as a failure that the machine refuses: the disk or the memory is full, say; others may be luckier."""
        self.fail(worker, step, SetupError.exit_code, [f"error: {one_line(error)}"])

    def step_ended(self, worker):
        self.guard.discard(worker.process.pid)
        code = worker.process.returncode
        guard.finish([worker.process.pid])  # what a killed script may have left
        tidy(worker.step)
        if worker.step.finished:  # its results are whole, whatever has hit it after that
            self.next_step(worker)
        elif code == Interrupted.exit_code:
            self.job_ended(worker, INTERRUPTED)
        else:
            self.fail(worker, worker.step, code)

    def fail(self, worker, step, code, lines=()):
        self.failures[worker.job.slug] = self.books.note_failure(worker.job, step, code, lines)
        self.job_ended(worker, FAILED)

    def job_ended(self, worker, state):
        self.states[worker.job.slug] = state
        self.seconds[worker.job.slug] = time.time() - worker.begin
        if worker.lock:
            worker.lock.close()
        worker.job = worker.process = worker.lock = None

    def end_all(self):
        """End all processes with all that they started, which have some seconds to save."""
        groups = [worker.process.pid for worker in self.workers if worker.process]
        guard.end(groups, lambda: [worker.process.poll() for worker in self.workers if worker.process])
        for worker in self.workers:
            if worker.process:
                worker.process.wait()
                self.guard.discard(worker.process.pid)
                tidy(worker.step)

    def seconds_left(self):
        """Return an estimate of the time until all is done, or None before anything has ended."""
        def typical(method):
            own = [s for slug, s in self.seconds.items() if method_of[slug] == method and self.states[slug] == FINISHED]
            every = own or [s for slug, s in self.seconds.items() if self.states[slug] == FINISHED]
            return sum(every) / len(every) if every else None

        method_of = {job.slug: job.method for job in self.jobs}
        ahead = [typical(job.method) for job in self.queue]
        for worker in self.workers:
            if worker.job:
                passed, share = time.time() - worker.begin, worker.share
                whole = passed / share if share > 0.05 else typical(worker.job.method)
                ahead.append(None if whole is None else max(0.0, whole - passed))
        return None if None in ahead else sum(ahead) / len(self.workers)


def tidy(step):
    """Remove what a step's run that was killed while writing has left, and its lock."""
    for folder in step.folders:
        checkpoint.tidy(folder)
        lock.release_dead(folder)


@contextmanager
def signals():
    """Collect the names of signals that ask the sweep to stop as they come, so that nothing is cut off halfway."""
    came = []
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:  # submitit may be told to listen to it
        numbers.append(signal.SIGUSR1)
    before = [signal.signal(number, lambda number, _: came.append(signal.Signals(number).name)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def visible_gpus():
    """Return the names by which processes are given GPUs: CUDA_VISIBLE_DEVICES' entries, else all of nvidia-smi's."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
