"""Runs jobs as one SLURM array through submitit: an element is a GPU with the jobs that share it.

An element is this house's own local pool on the node, so that consoles, failures and locks are kept in the same places
as by a local sweep; what is not finished when SLURM takes an element away (time limit, preemption) is put back into the
queue and resumes from its checkpoint.
"""
import argparse
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import InputError, SetupError
from .plan import Job, Step, expand
from .pool import FAILED, FINISHED, INTERRUPTED, RUNNING, WAITING, Pool, Stopped, signals, visible_gpus
from .state import SweepState

try:
    import submitit
except ImportError as error:
    raise SetupError("--executor slurm needs submitit: pip install submitit") from error

POLL = 10.0  # seconds between two questions to SLURM


class Chunk(submitit.helpers.Checkpointable):
    """What one element of the array runs: plain data, so that it can be sent to a node and put back into the queue."""

    def __init__(self, jobs: list[Job], output: str, workers: int) -> None:
        self.jobs = [(job.name, job.method, [(step.words, step.environment) for step in job.steps]) for job in jobs]
        self.output, self.workers = output, workers

    def __call__(self) -> dict[str, str]:
        jobs = [Job(name, method, [Step(words, environment) for words, environment in steps])
                for name, method, steps in self.jobs]
        expand([step for job in jobs for step in job.steps])
        pool = Pool(jobs, SweepState(self.output), self.workers, self.workers, visible_gpus())
        pool.run()
        return pool.states


class Array:
    """The jobs of a submitted array, with what ``progress`` shows of a pool: jobs, states, seconds, workers."""

    def __init__(self, jobs: list[Job], state: SweepState) -> None:
        self.jobs, self.state = jobs, state
        self.states = {job.slug: FINISHED if job.finished else WAITING for job in jobs}
        self.failures, self.seconds, self.begun = {}, {}, {}
        self.workers, self.elements = [], []

    def submit(self, executor: Any, output: str, size: int) -> None:
        """Submit what is not finished, ``size`` jobs an element."""
        waiting = [job for job in self.jobs if self.states[job.slug] == WAITING]
        for job in waiting:
            self.state.forget_failure(job)
        chunks = [waiting[n:n + size] for n in range(0, len(waiting), size)]
        with executor.batch():
            tasks = [executor.submit(Chunk(chunk, output, size)) for chunk in chunks]
        self.elements = list(zip(tasks, chunks, strict=True))

    def poll(self) -> None:
        """Ask SLURM and the folders how things stand."""
        for task, chunk in self.elements:
            state = task.state
            for job in chunk:
                if self.states[job.slug] not in (WAITING, RUNNING):
                    continue
                failure = self.state.failure(job)
                if job.finished:
                    self.end(job, FINISHED)
                elif failure:
                    self.failures[job.slug] = failure
                    self.end(job, FAILED)
                elif task.done() and state == "COMPLETED":  # by its own account it has failed at nothing
                    self.end(job, INTERRUPTED)
                elif task.done():
                    self.failures[job.slug] = {
                        "code": 1, "lines": [f"SLURM says {state} of element {task.job_id}", *tail(task.paths.stderr)],
                        "command": str(job.steps[0]), "console": str(task.paths.stderr)}
                    self.end(job, FAILED)
                elif state == "RUNNING" and self.state.console(job).exists():
                    self.states[job.slug] = RUNNING
                    self.begun.setdefault(job.slug, time.time())

    def end(self, job: Job, state: str) -> None:
        self.states[job.slug] = state
        self.seconds[job.slug] = time.time() - self.begun.get(job.slug, time.time())

    def seconds_left(self) -> None:
        """Return None: SLURM alone knows when it will start what waits."""

    def cancel(self) -> None:
        for task, _ in self.elements:
            task.cancel(check=False)


def tail(path: str | Path, count: int = 3) -> list[str]:
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-count:]


def executor_of(args: argparse.Namespace, output: str) -> Any:
    """Return submitit's executor for parsed flags.

    Raises:
        SetupError: this machine cannot submit to SLURM.
        InputError: a --slurm that is not KEY=VALUE.
    """
    wrong = [pair for pair in args.slurm if "=" not in pair]
    if wrong:
        raise InputError(f"--slurm {wrong[0]}: give KEY=VALUE, as in --slurm qos=long")
    try:
        executor = submitit.SlurmExecutor(folder=Path(output) / ".sweep" / "slurm", max_num_timeout=100)
    except RuntimeError:
        raise SetupError("--executor slurm: there is no srun here: submit from a machine of the cluster, or use "
                         "--executor local") from None
    given = {"job_name": "promptreg", "time": args.time, "cpus_per_task": args.cpus, "mem": args.mem,
             "gpus_per_node": args.gpus or None, "partition": args.partition, "account": args.account,
             "array_parallelism": args.jobs or 256, "stderr_to_stdout": False,
             "additional_parameters": dict(pair.split("=", 1) for pair in args.slurm) or None}
    executor.update_parameters(**{name: value for name, value in given.items() if value is not None})
    return executor


def run_slurm(args: argparse.Namespace, jobs: list[Job], state: SweepState, console: Console,
              watching: Callable[[Console], AbstractContextManager[Callable[[Any], None]]]) -> Array:
    """Submit jobs as an array and watch it; returns the ``Array``. A signal cancels it.

    Raises:
        Stopped: a signal came; the array is cancelled.
    """
    output = os.path.abspath(state.folder.parent)
    array = Array(jobs, state)
    executor = executor_of(args, output)
    array.submit(executor, output, args.per_gpu)
    if array.elements:
        console.print(f"array {array.elements[0][0].job_id.split('_')[0]} of {len(array.elements)} elements submitted")
    if args.no_wait or not array.elements:
        return array
    with watching(console) as show, signals() as came:
        while {WAITING, RUNNING} & set(array.states.values()):
            array.poll()
            show(array)
            wait = time.time() + POLL
            while time.time() < wait and not came:
                time.sleep(0.1)
            if came:
                array.cancel()
                raise Stopped(came[0])
    return array
