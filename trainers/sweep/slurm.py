"""Runs jobs as one SLURM array through submitit: an element is a GPU with the jobs that share it.

An element is a local pool on the node, so that consoles, failures and locks are kept in the same places as by a local
sweep; what is not finished when SLURM takes an element away (time limit, preemption) is put back into the queue and
resumes from its checkpoint. submitit submits and is the element's main program; how things stand is asked of squeue and
of the runs' own files, for submitit would ask sacct, ever more seldom, which a cluster without accounting refuses.
"""
import argparse
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import InputError, SetupError
from ..utils import atomic
from . import squeue
from .array import Array
from .plan import Job, Step, expand
from .pool import RUNNING, WAITING, Pool, Stopped, signals, visible_gpus
from .state import SweepState
from .submission import note, noted, write_account

try:
    import submitit
except ImportError as error:
    raise SetupError("--executor slurm needs submitit: pip install submitit") from error

ASK = 5.0  # seconds between two questions to SLURM
LOOK = 1.0  # seconds between two looks at the runs' files


class Chunk(submitit.helpers.Checkpointable):
    """What one element of the array runs: plain data, so that it can be sent to a node and put back into the queue."""

    def __init__(self, jobs: list[Job], output: str, workers: int, key: str) -> None:
        self.jobs = [(job.name, job.method, [(step.words, step.environment) for step in job.steps]) for job in jobs]
        self.output, self.workers, self.key = output, workers, key

    def __call__(self) -> dict[str, str]:
        jobs = [Job(name, method, [Step(words, environment) for words, environment in steps])
                for name, method, steps in self.jobs]
        expand([step for job in jobs for step in job.steps])
        state = SweepState(self.output)
        pool = Pool(jobs, state, self.workers, self.workers, visible_gpus())
        try:
            pool.run()
        except Stopped:
            self.requeue()
            raise
        write_account(state.folder / "slurm", self.key, pool.states)
        return pool.states

    @staticmethod
    def requeue() -> None:
        """Put this element back into the queue where SLURM only warned it.

        A preempted job that leaves within its GraceTime counts as ended, and SLURM would not put it back.
        """
        job_id = os.environ.get("SLURM_JOB_ID", "")
        if job_id and squeue.still_wanted(job_id):
            subprocess.run(["scontrol", "requeue", job_id], timeout=60)


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
             "array_parallelism": args.jobs or 256, "stderr_to_stdout": False}
    executor.update_parameters(**{name: value for name, value in given.items() if value is not None})
    return executor


def submit(array: Array, executor: Any, args: argparse.Namespace, output: str) -> str:
    """Submit the jobs that are in no element, ``--per-gpu`` an element; returns the array's job id, "" for none.

    Raises:
        SetupError: sbatch refuses; says why.
    """
    jobs, size = array.waiting(), args.per_gpu
    if not jobs:
        return ""
    for job in jobs:
        array.state.forget_failure(job)
    chunks = [jobs[n:n + size] for n in range(0, len(jobs), size)]
    submission = note(array.folder, [[job.slug for job in chunk] for chunk in chunks])
    given = {"requeue": True, **dict(pair.split("=", 1) for pair in args.slurm)}
    given["comment"] = f"{given.get('comment', '')} {submission.token}".strip()
    executor.update_parameters(additional_parameters=given)
    try:
        with executor.batch():
            tasks = [executor.submit(Chunk(chunk, output, size, submission.key(index)))
                     for index, chunk in enumerate(chunks)]
    except submitit.core.utils.FailedJobError as error:
        (array.folder / f"{submission.token}.json").unlink(missing_ok=True)
        lines = [line.strip() for line in str(error).splitlines() if "sbatch: error" in line]
        raise SetupError(f"sbatch refuses: {'; '.join(lines) or error}") from error
    array.add(submission)
    array.own.add(tasks[0].job_id.partition("_")[0])
    return f"{tasks[0].job_id.partition('_')[0]}: {counted(len(chunks), 'element')}, {counted(len(jobs), 'job')}"


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def run_slurm(args: argparse.Namespace, jobs: list[Job], state: SweepState, console: Console,
              watching: Callable[[Console], AbstractContextManager[Callable[[Any], None]]]) -> Array:
    """Submit jobs as an array, but for those that an earlier one still has, and watch all; returns the ``Array``.

    Raises:
        Stopped: a signal came; the array that was submitted here is cancelled.
    """
    output = os.path.abspath(state.folder.parent)
    array, executor = Array(jobs, state), executor_of(args, output)
    with signals() as came:
        with atomic.exclusive_lock(array.folder / "submit.lock"):  # of two sweeps the second finds the first one's
            listed = squeue.elements() if array.waiting() else []
            array.find(noted(array.folder), listed)
            found = len(array.element_of)
            submitted = submit(array, executor, args, output)
        if found:
            console.print(f"{counted(found, 'job')} of array {', '.join(sorted(array.others))} found at work or "
                          "waiting: not submitted again", highlight=False)
        if submitted:
            console.print(f"submitted array {submitted}", highlight=False)
        if not args.no_wait and array.element_of:
            watch(array, console, watching, came)
    return array


def watch(array: Array, console: Console,
          watching: Callable[[Console], AbstractContextManager[Callable[[Any], None]]], came: list[str]) -> None:
    """Show an array until none of its jobs waits or runs."""
    asked, answers = 0.0, True
    with watching(console) as show:
        while {WAITING, RUNNING} & {array.states[slug] for slug in array.element_of}:
            if came:
                raise cancelled(array, came[0])
            if time.time() - asked >= ASK:
                asked = time.time()
                try:
                    array.heard(squeue.elements())
                    answers = True
                except squeue.NoAnswer as error:  # its controller may be restarting: the jobs go on without it
                    if answers:
                        console.print(f"note: {error}: asked again every {ASK:.0f} s", highlight=False, markup=False)
                    answers = False
            array.look()
            show(array)
            wait = time.time() + LOOK
            while time.time() < wait and not came:
                time.sleep(0.1)


def cancelled(array: Array, signal: str) -> Stopped:
    """Cancel what was submitted here; returns what to raise."""
    for job_id in array.own:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["scancel", job_id], timeout=60)
    others = " ".join(sorted(array.others))
    return Stopped(signal, f"array {others}, submitted before, goes on (scancel {others} ends it)" if others else "")
