"""What the command ``study`` does with its parsed flags: plan, check, run in forks, tables, claims and page."""
import argparse
import os
import sys
import time
from pathlib import Path

from ..errors import InputError, Interrupted
from ..results import render
from ..sweep import command, forked
from ..sweep.methods import check_names
from ..sweep.plan import Job, check_configs, check_finished
from ..sweep.pool import ELSEWHERE, FAILED, INTERRUPTED, Pool
from ..sweep.progress import watching
from ..sweep.state import SweepState
from . import report
from .plan import ABLATIONS, GRAM_METHODS, METHODS, QUICK, SETTINGS, jobs, main_folder, start
from .variants import register_variants


def seeds(args: argparse.Namespace) -> list[int]:
    """Return the seeds: the flag's, else of SEEDS, else 1 to 3 (--quick: 1).

    Raises:
        InputError: SEEDS are no whole numbers.
    """
    if args.seeds:
        return list(args.seeds)
    given = os.environ.get("SEEDS", "").split()
    try:
        return [int(word) for word in given] or ([1] if args.quick else [1, 2, 3])
    except ValueError:
        raise InputError(f"SEEDS='{' '.join(given)}': give whole numbers, SEEDS='1 2 3' say") from None


def methods(args: argparse.Namespace) -> list[str]:
    """Return the methods that run: those named, and what they are compared with.

    Raises:
        InputError: a method that no sweep knows (names the nearest), or a GRAM method without a meta-trained file.
    """
    files = {name: start(name, args.meta)["META"] for name in GRAM_METHODS}
    started = [name for name, file in files.items() if args.meta and os.path.isfile(file)]
    if args.meta and not started:
        raise InputError(f"--meta {args.meta}: it holds none of {', '.join(map(os.path.basename, files.values()))}")
    found = ["ZeroshotCLIP", *([args.against] if args.against else []), *(args.methods or [*METHODS, *started])]
    check_names(found, [], "emoji_things")
    for name in found:
        if name in files and name not in started:
            raise InputError(f"--methods {name}: it starts from a meta-trained file: give --meta FOLDER that holds "
                             f"{os.path.basename(files[name])}")
    return list(dict.fromkeys(found))


def pair(args: argparse.Namespace) -> tuple[str, str] | None:
    """Return the two methods to compare, None where the papers' claims are asked for.

    Raises:
        InputError: --against without one other method.
    """
    if not args.against:
        return None
    others = [name for name in args.methods or () if name != args.against]
    if len(others) != 1:
        raise InputError(f"--against {args.against}: name one method to compare with it, --methods NAME")
    return others[0], args.against


def planned(args: argparse.Namespace) -> list[Job]:
    """Return the jobs that flags ask for."""
    ablations = () if args.methods or args.quick else ABLATIONS
    if ablations:
        register_variants()
    return jobs(args.output, args.root, methods(args), seeds(args), QUICK if args.quick else SETTINGS, ablations,
                args.meta and os.path.abspath(args.meta))


def run_jobs(found: list[Job], args: argparse.Namespace) -> Pool:
    """Run jobs in forks of this process; returns the pool."""
    forked.prepare()
    console = render.console()
    pool = Pool(found, SweepState(args.output), args.jobs or len(os.sched_getaffinity(0)), start=forked.start)
    console.print(f"{len(found)} jobs, {len(found) - len(pool.queue)} finished already, {len(pool.workers)} at a time",
                  highlight=False)
    if pool.queue:
        with watching(console) as show:
            pool.run(show, pause=0.05)
    command.report(pool, console)
    return pool


def tell(args: argparse.Namespace, compared: tuple[str, str] | None, seconds: float | None = None) -> None:
    """Print and write what the finished runs come to."""
    study, method = report.read(args.output, compared), compared[0] if compared else "PromptSRC"
    report.show(study, method)
    report.write(study, args.output, method, seconds)
    print(f"wrote {args.output}/study.html, study.json and pictures/", file=sys.stderr)


def run(args: argparse.Namespace) -> int:
    """Do what parsed flags say; returns the exit code."""
    begin, compared = time.monotonic(), pair(args)
    if args.jobs is not None and args.jobs < 1:
        raise InputError(f"--jobs {args.jobs}: give 1 or more")
    command.check(args)
    if args.no_run:
        if not any(Path(main_folder(args.output)).rglob("result.json")):
            raise InputError(f"--no-run: {main_folder(args.output)} holds no finished run")
        tell(args, compared)
        return 0
    found = planned(args)
    check_configs(found)
    if args.dry_run:
        command.dry_run(found)
        return 0
    check_finished(found)
    code = command.check_first(args, found)[1]
    if code:
        return code
    fresh = not any(step.finished for job in found for step in job.steps)
    states = set(run_jobs(found, args).states.values())
    if os.path.isdir(main_folder(args.output)):
        tell(args, compared, round(time.monotonic() - begin) if fresh else None)
    return 1 if {FAILED, ELSEWHERE} & states else Interrupted.exit_code if INTERRUPTED in states else 0
