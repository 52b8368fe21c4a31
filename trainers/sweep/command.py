"""What the command ``sweep`` does with its parsed flags: check, run, tables, what failed."""
import argparse
import functools
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import InputError, Interrupted, SetupError
from ..results import render
from ..results.collect import read_runs
from ..results.table import tables
from ..utils.console import escape_control_chars
from . import preflight
from .plan import Job, check_configs, check_finished, interpreter, plan
from .pool import ELSEWHERE, FAILED, INTERRUPTED, Pool, visible_gpus
from .progress import watching
from .state import SweepState

MOST_NAMED = 8  # jobs that failed for one reason


def environment(args: argparse.Namespace) -> dict[str, str]:
    """Return what the scripts are given of the flags: {name: value}."""
    given = {"CFG": args.cfg, "DATA": args.root, "OUTPUT": args.output}
    return {name: value for name, value in given.items() if value}


def output_folder(args: argparse.Namespace) -> str:
    return args.output or os.environ.get("OUTPUT") or "output"


def check(args: argparse.Namespace) -> None:
    """Raise InputError or SetupError for what would fail later."""
    for flag in ("jobs", "per_gpu", "shots"):
        given = getattr(args, flag)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and number < 1:
                raise InputError(f"--{flag.replace('_', '-')} {number}: give 1 or more")
    if len(args.opts) % 2:
        raise InputError(f"--opts {shlex.join(args.opts)}: the last key has no value")
    output = Path(output_folder(args)).absolute()
    there = next(path for path in (output, *output.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise InputError(f"--output {output_folder(args)}: {there} is no folder: choose another")
    if not shutil.which(interpreter()):
        raise SetupError(f"there is no PYTHON {interpreter()}: name another in PYTHON, or unset it")


def dry_run(jobs: list[Job]) -> None:
    """Print every job's calls of scripts and the commands of train.py below them."""
    for job in jobs:
        print(f"# {job.name}" + (" (finished)" if job.finished else ""))
        for step in job.steps:
            print(step)
            for command in step.commands:
                print(f"    {shlex.join(command)}")


def report(pool: Any, console: Console) -> None:
    """Print what failed, once for each reason: its last lines, the jobs, and the command for one of them alone."""
    reasons: dict[tuple, list] = {}
    for job in pool.jobs:
        if failure := pool.failures.get(job.slug):
            reasons.setdefault(reason(failure), []).append((job, failure))
    for (code, _), failed in reasons.items():
        print_failures(code, failed, console)
    for job in pool.jobs:
        if job.slug not in pool.failures and pool.states[job.slug] == INTERRUPTED:
            console.print(f"interrupted: {job.name}: the same command goes on with it", highlight=False, markup=False)
        elif job.slug not in pool.failures and pool.states[job.slug] == ELSEWHERE:
            console.print(f"left out: {job.name}: another sweep is running it", highlight=False, markup=False)


def reason(failure: dict) -> tuple[int, str]:
    """Return (exit code, last line without what differs from job to job: paths and numbers) of a failure."""
    last = (failure["lines"] or [""])[-1]
    return failure["code"], re.sub(r"\d+(\.\d+)?", "0", re.sub(r"(?<!\w)[\w.~-]*/[^\s:;,]*", "PATH", last))


def print_failures(code: int, failed: list[tuple[Job, dict]], console: Console) -> None:
    """Print jobs that failed for one reason."""
    number = -code if code < 0 else code - 128  # the script's own signal, or the one that its command died of
    how = f"killed by signal {number}" if number > 0 else f"exit code {code}"
    job, failure = failed[0]
    what = job.name if len(failed) == 1 else f"{len(failed)} jobs"
    console.print(f"failed: {what} ({how})", style="bold red", highlight=False, markup=False)
    say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
    for line in failure["lines"] or ["nothing is in its console's file: is the disk full?"]:
        say(f"    {escape_control_chars(line)}")
    if len(failed) > 1:
        names = [other.name for other, _ in failed]
        more = f"; and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        say(f"    jobs: {'; '.join(names[:MOST_NAMED])}{more}")
    say(f"    again: {failure['command']}")
    say(f"    all it printed: {failure['console']}")


def print_tables(jobs: list[Job], console: Console, output: str) -> None:
    """Print the tables of the jobs' finished runs, and their notes."""
    folders = [folder for job in jobs for step in job.steps if step.finished for folder in step.folders]
    made = tables(read_runs([(folder, output) for folder in dict.fromkeys(folders)]))
    for table in made:
        render.terminal(table, console)
    render.say_notes([note for table in made for note in table.notes])


def run_local(args: argparse.Namespace, jobs: list[Job], state: SweepState, console: Console) -> Pool:
    """Run jobs on this machine; returns the pool."""
    gpus = visible_gpus()
    workers = args.jobs or max(1, len(gpus) * args.per_gpu)
    pool = Pool(jobs, state, workers, args.per_gpu, gpus)
    finished = len(jobs) - len(pool.queue)
    if pool.queue or not args.quiet:
        console.print(f"{len(jobs)} jobs, {finished} finished already, {min(workers, len(pool.queue))} at a time",
                      highlight=False)
    if pool.queue:
        with watching(console) as show:
            pool.run(show)
    return pool


def check_first(args: argparse.Namespace, jobs: list[Job]) -> tuple[list[Job], int]:
    """Return (the jobs that have all they need, the exit code where none may start); prints at once what is missing."""
    if all(job.finished for job in jobs):
        return jobs, 0
    machine = dict.fromkeys(preflight.check_machine(output_folder(args)), jobs)
    problems = machine | preflight.check_jobs(jobs)
    if not problems:
        return jobs, 0
    print(preflight.screen(problems), file=sys.stderr)
    lacking = {job.slug for without in problems.values() for job in without}
    left = [job for job in jobs if job.slug not in lacking]
    if args.skip_missing and left and not machine:
        print(f"left out: {len(lacking)} of {len(jobs)} jobs, which lack the above", file=sys.stderr)
        return left, 0
    hint = "" if machine or not left else "; --skip-missing runs the jobs that lack nothing"
    print(f"error: no job was started{hint}", file=sys.stderr)
    return [], max(problem.exit_code for problem in problems)


def planned(args: argparse.Namespace, seeds: list[int]) -> list[Job]:
    return plan(args.methods, args.setting, args.datasets, seeds, args.shots, environment(args), args.source, args.opts)


def run(args: argparse.Namespace) -> int:
    """Do what parsed flags say; returns the exit code."""
    check(args)
    if not args.skip_missing and not args.dry_run and len(args.seeds) > 1:
        # Seeds need the same data and weights: one tells enough, before all scripts are asked, which takes time.
        first = planned(args, args.seeds[:1])
        check_configs(first)
        code = check_first(args, first)[1]
        if code:
            return code
    jobs = planned(args, args.seeds)
    check_configs(jobs)
    if args.dry_run:
        dry_run(jobs)
        return 0
    check_finished(jobs)
    console = render.console()
    state = SweepState(output_folder(args))
    if args.retry_failed:
        jobs = [job for job in jobs if state.failure(job) and not job.finished]
    jobs, code = check_first(args, jobs)
    if code:
        return code
    if args.executor == "slurm":
        from .slurm import run_slurm
        pool = run_slurm(args, jobs, state, console, watching)
        if args.no_wait:
            return 0
    else:
        pool = run_local(args, jobs, state, console)
    if not args.no_table:
        print_tables(jobs, console, output_folder(args))
    report(pool, console)
    states = set(pool.states.values())
    return 1 if {FAILED, ELSEWHERE} & states else Interrupted.exit_code if INTERRUPTED in states else 0
