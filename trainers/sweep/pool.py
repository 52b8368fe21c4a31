"""Runs jobs as processes of this machine, so many at a time; what fails is recorded, what dies takes nothing along."""
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from ..errors import Interrupted, SetupError
from ..training import checkpoint
from ..utils import atomic, lock
from ..utils.console import one_line
from . import guard
from .plan import Job, Step, interpreter
from .reaper import ChildReaper
from .state import SweepState
from .worker import Worker

WAITING, RUNNING, FINISHED, FAILED, ELSEWHERE = "waiting", "running", "finished", "failed", "elsewhere"
INTERRUPTED = "interrupted"  # by a signal of its own: saved, neither failed nor to be begun again by this sweep
ASKING = {signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}  # those upon which a run saves and leaves


def start_script(step: Step, console: IO[Any], environment: Mapping[str, str]) -> subprocess.Popen:
    """Start a step's script, in a process group of its own."""
    return subprocess.Popen(step.argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                            start_new_session=True, env={**os.environ, **environment})


class Stopped(Exception):
    """A signal asked the sweep to stop.

    Attributes:
        left: what is left running, if anything.
    """

    def __init__(self, name: str, left: str = "") -> None:
        super().__init__(name)
        self.left = left


class Pool:
    """Runs jobs on ``workers`` processes.

    Args:
        start: starts a step with (step, console's open file, environment); ``forked.start`` saves the imports.

    Attributes:
        states: {job's slug: state}; failures: {slug: what is noted}; seconds: {slug: wall time of a job that ended}.
    """

    def __init__(self, jobs: list[Job], state: SweepState, workers: int, per_gpu: int = 1,
                 gpus: Sequence[str] = (), start: Callable[..., Any] = start_script) -> None:
        self.jobs, self.state, self.reaper, self.start = jobs, state, ChildReaper(), start
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

    def run(self, watch: Callable[["Pool"], None] = lambda pool: None, pause: float = 0.2) -> None:
        """Run until nothing is left; ``watch`` is called every ``pause`` seconds and after every change.

        Raises:
            Stopped: a signal came; all processes have ended.
        """
        with signals() as came:
            try:
                while self.queue or any(worker.job for worker in self.workers):
                    if came:
                        raise Stopped(came[0])
                    self.reaper.renew()
                    self.advance()
                    watch(self)
                    time.sleep(pause)
            finally:
                self.end_all()
                self.reaper.close()
        watch(self)

    def advance(self) -> None:
        """Take note of processes that have ended and fill free places."""
        for worker in self.workers:
            if worker.job and worker.process.poll() is not None:
                self.step_ended(worker)
            while not worker.job and self.queue:
                self.begin_job(worker, self.queue.pop(0))

    def begin_job(self, worker: Worker, job: Job) -> None:
        worker.begin, worker.console = time.time(), self.state.console(job)
        try:
            worker.lock = self.state.lock(job)
            if worker.lock is None:
                self.states[job.slug] = ELSEWHERE
                return
            worker.console.parent.mkdir(parents=True, exist_ok=True)
            open(worker.console, "wb", opener=atomic.no_link).close()
        except OSError as error:
            worker.job = job
            self.cannot_begin(worker, job.steps[0], error)
            return
        self.state.forget_failure(job)
        worker.job = job
        self.states[job.slug] = RUNNING
        self.next_step(worker)

    def next_step(self, worker: Worker) -> None:
        """Start the job's first step that is not finished; end the job where there is none."""
        step = next((step for step in worker.job.steps if not step.finished), None)
        if step is None:
            self.job_ended(worker, FINISHED)
            return
        worker.step = step
        try:
            with open(worker.console, "ab", opener=atomic.no_link) as console:
                worker.process = self.start(step, console, {**worker.environment, **step.environment})
        except OSError as error:
            self.cannot_begin(worker, step, error)
            return
        self.reaper.add(worker.process.pid)

    def cannot_begin(self, worker: Worker, step: Step, error: OSError) -> None:
        """Note as a failure that the machine refuses: the disk or the memory is full, say; others may be luckier."""
        self.fail(worker, step, SetupError.exit_code, [f"error: {one_line(error)}"])

    def step_ended(self, worker: Worker) -> None:
        self.reaper.discard(worker.process.pid)
        code = worker.process.returncode
        guard.finish([worker.process.pid])  # what a killed script may have left
        tidy(worker.step)
        if worker.step.finished:  # its results are whole, whatever has hit it after that
            self.next_step(worker)
        elif code == Interrupted.exit_code or {-code, code - 128} & ASKING:  # the latter before a run takes signals
            self.job_ended(worker, INTERRUPTED)
        else:
            self.fail(worker, worker.step, code)

    def fail(self, worker: Worker, step: Step, code: int, lines: Sequence[str] = ()) -> None:
        self.failures[worker.job.slug] = self.state.note_failure(worker.job, step, code, lines)
        self.job_ended(worker, FAILED)

    def job_ended(self, worker: Worker, state: str) -> None:
        self.states[worker.job.slug] = state
        self.seconds[worker.job.slug] = time.time() - worker.begin
        if worker.lock:
            worker.lock.close()
        worker.job = worker.process = worker.lock = None

    def end_all(self) -> None:
        """End all processes with all that they started, which have some seconds to save."""
        groups = [worker.process.pid for worker in self.workers if worker.process]
        guard.end(groups, lambda: [worker.process.poll() for worker in self.workers if worker.process])
        for worker in self.workers:
            if worker.process:
                worker.process.wait()
                self.reaper.discard(worker.process.pid)
                tidy(worker.step)

    @property
    def places(self) -> int:
        return len(self.workers)


def tidy(step: Step) -> None:
    """Remove what a step's run that was killed while writing has left, and its lock."""
    for folder in step.folders:
        checkpoint.remove_partial_files(folder)
        lock.release_dead(folder)


@contextmanager
def signals() -> Iterator[list[str]]:
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


def visible_gpus() -> list[str]:
    """Return the names by which processes are given GPUs: CUDA_VISIBLE_DEVICES' entries, else all of nvidia-smi's."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]
