"""Runs methods over datasets, shots and seeds, by the scripts' own commands, and prints the table.

    python -m trainers.sweep --methods PromptSRC ProGrad --setting base2new --datasets all --seeds 1 2 3

What is finished is not run again, what was interrupted resumes, what failed is listed and is tried again by the next
call (--retry-failed: that alone).
"""
import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from ..errors import InputError, Interrupted, SetupError
from ..results import render
from ..results.collect import read_runs
from ..results.table import tables
from ..sweep import preflight
from ..sweep.plan import METHODS, SETTINGS, check_configs, check_finished, interpreter, plan
from ..sweep.pool import ELSEWHERE, FAILED, INTERRUPTED, Books, Pool, Stopped, visible_gpus
from ..sweep.progress import watching
from ..utils.console import Parser, cli_errors, escape_control_chars


def parser():
    p = Parser(prog="python -m trainers.sweep", description=__doc__,
               formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", "--method", nargs="+", required=True, help=f"of {', '.join(METHODS)}, or all")
    p.add_argument("--setting", required=True, choices=SETTINGS,
                   help="xd: cross-dataset; dg: domain generalization (the variants of ImageNet)")
    p.add_argument("--datasets", "--dataset", nargs="+",
                   default=["all"], help="config files' names, or all of the setting's")
    p.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    p.add_argument("--shots", nargs="+", type=int, default=[], help="images a class (default: as published)")
    p.add_argument("--source", default="imagenet", help="what xd and dg train on")
    p.add_argument("--cfg", help="config file's name for all methods, not the published ones (demo, say)")
    p.add_argument("--root", help="folder of the datasets (default: DATA, else data)")
    p.add_argument("--output", help="folder of the results (default: OUTPUT, else output)")
    p.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE",
                   help="config keys for all runs, after those of OPTS; a value may hold blanks")
    p.add_argument("--executor", choices=("local", "slurm"), default="local")
    p.add_argument("--jobs", type=int, help="jobs at a time (default: one, or --per-gpu for each GPU)")
    p.add_argument("--per-gpu", type=int, default=1, help="jobs that share a GPU")
    slurm = p.add_argument_group("for --executor slurm")
    slurm.add_argument("--time", type=int, default=720, help="minutes an element may take (default: 720)")
    slurm.add_argument("--gpus", type=int, default=1, help="GPUs an element (default: 1)")
    slurm.add_argument("--cpus", type=int, default=8, help="CPUs an element (default: 8)")
    slurm.add_argument("--mem", default="32GB")
    slurm.add_argument("--partition")
    slurm.add_argument("--account")
    slurm.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="further parameters of sbatch")
    slurm.add_argument("--no-wait", action="store_true", help="submit and leave")
    p.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    p.add_argument("--retry-failed", action="store_true", help="only the jobs that failed")
    p.add_argument("--skip-missing", action="store_true",
                   help="run the jobs whose data and weights are there, and say which are left out")
    p.add_argument("--no-table", action="store_true", help="do not print the results at the end")
    p.add_argument("--quiet", action="store_true", help="print nothing where all is finished already, but the table")
    return p


def environment(args):
    """Return what the scripts are given of the flags: {name: value}."""
    given = {"CFG": args.cfg, "DATA": args.root, "OUTPUT": args.output}
    return {name: value for name, value in given.items() if value}


def output_folder(args):
    return args.output or os.environ.get("OUTPUT") or "output"


def check(args):
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


def dry_run(jobs):
    """Print every job's calls of scripts and the commands of train.py below them."""
    for job in jobs:
        print(f"# {job.name}" + (" (finished)" if job.finished else ""))
        for step in job.steps:
            print(step)
            for command in step.commands:
                print(f"    {shlex.join(command)}")


def report(pool, console):
    """Print what failed, with its last lines and the command for it alone."""
    for job in pool.jobs:
        failure = pool.failures.get(job.slug)
        if failure:
            code = failure["code"]
            number = -code if code < 0 else code - 128  # the script's own signal, or the one that its command died of
            how = f"killed by signal {number}" if number > 0 else f"exit code {code}"
            console.print(f"failed: {job.name} ({how})", style="bold red", highlight=False, markup=False)
            for line in failure["lines"] or ["nothing is in its console's file: is the disk full?"]:
                console.print(f"    {escape_control_chars(line)}", highlight=False, markup=False, soft_wrap=True)
            console.print(f"    again: {failure['command']}", highlight=False, markup=False, soft_wrap=True)
            console.print(f"    all it printed: {failure['console']}", highlight=False, markup=False, soft_wrap=True)
        elif pool.states[job.slug] == INTERRUPTED:
            console.print(f"interrupted: {job.name}: the same command goes on with it", highlight=False, markup=False)
        elif pool.states[job.slug] == ELSEWHERE:
            console.print(f"left out: {job.name}: another sweep is running it", highlight=False, markup=False)


def print_tables(jobs, console, output):
    """Print the tables of the jobs' finished runs, and their notes."""
    folders = [folder for job in jobs for step in job.steps if step.finished for folder in step.folders]
    made = tables(read_runs([(folder, output) for folder in dict.fromkeys(folders)]))
    for table in made:
        render.terminal(table, console)
    render.say_notes([note for table in made for note in table.notes])


def run_local(args, jobs, books, console):
    """Run jobs on this machine; returns the pool."""
    gpus = visible_gpus()
    workers = args.jobs or max(1, len(gpus) * args.per_gpu)
    pool = Pool(jobs, books, workers, args.per_gpu, gpus)
    finished = len(jobs) - len(pool.queue)
    if pool.queue or not args.quiet:
        console.print(f"{len(jobs)} jobs, {finished} finished already, {min(workers, len(pool.queue))} at a time",
                      highlight=False)
    if pool.queue:
        with watching(console) as show:
            pool.run(show)
    return pool


def check_first(args, jobs):
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


def planned(args, seeds):
    return plan(args.methods, args.setting, args.datasets, seeds, args.shots, environment(args), args.source, args.opts)


def run(args):
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
    books = Books(output_folder(args))
    if args.retry_failed:
        jobs = [job for job in jobs if books.failure(job) and not job.finished]
    jobs, code = check_first(args, jobs)
    if code:
        return code
    if args.executor == "slurm":
        from ..sweep.slurm import run_slurm
        pool = run_slurm(args, jobs, books, console, watching)
        if args.no_wait:
            return 0
    else:
        pool = run_local(args, jobs, books, console)
    if not args.no_table:
        print_tables(jobs, console, output_folder(args))
    report(pool, console)
    states = set(pool.states.values())
    return 1 if {FAILED, ELSEWHERE} & states else Interrupted.exit_code if INTERRUPTED in states else 0


@cli_errors
def main(argv=None):
    """Run the command line; returns the exit code: 0, 1 where a job failed, 2 for the user's input, 3 for the
    environment, 75 where a job was interrupted and none failed, 130 if stopped."""
    try:
        return run(parser().parse_args(argv))
    except Stopped as signal:
        print(f"stopped by {signal}: nothing is left running; the same command goes on where this left off",
              file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
