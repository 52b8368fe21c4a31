"""The demo as a sweep with mishaps, and the same by hand: 3 methods, 2 shots, 3 seeds, base-to-new.

    python benchmarks/sweep.py [--jobs 2] [--pictures] [--out NAME]

In the first call one training is killed outright and another cannot have its folder; the second call must run those two
alone and leave no hole. By hand are the same scripts, one after the other. All figures must be the same. ``--pictures``
(needs Chromium) draws docs/img/sweep.png, the live table in the middle of the first call. What is kept:
benchmarks/results/sweep.json.
"""
import argparse
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from common import ROOT, keep
from rich.console import Console

from trainers.cli import sweep
from trainers.sweep import command, plan, progress

METHODS, SHOTS, SEEDS = ("CoOp", "ProGrad", "PromptSRC"), (4, 16), (1, 2, 3)
KILLED, FAILING = "shots_16/PromptSRC/demo/seed1", "shots_4/ProGrad/demo/seed2"


def flags(data, output, jobs):
    numbers = [*map(str, SHOTS)], [*map(str, SEEDS)]
    return ["--methods", *METHODS, "--setting", "base2new", "--datasets", "digits", "--seeds", *numbers[1], "--shots",
            *numbers[0], "--cfg", "demo", "--root", str(data), "--output", str(output), "--jobs", str(jobs)]


def kill_one(output, done):
    """Kill the training in KILLED when it has saved an epoch."""
    folder = output / "base2new" / "train_base" / "digits" / KILLED
    while not list(folder.glob("*/model.pth.tar-*")):
        time.sleep(0.05)
    os.kill(json.loads((folder / "run.lock").read_text())["pid"], signal.SIGKILL)
    done.append(time.monotonic())


def recording(frames):
    """Return what takes the place of the sweep's watching: it also keeps the live table every 5 s."""
    @contextlib.contextmanager
    def watching(console):
        begin = time.time()
        with progress.watching(console) as show:
            def watch(pool):
                show(pool)
                if time.time() - begin > 5 * len(frames):
                    page = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
                    page.print(progress.view(pool, begin))
                    frames.append(page.export_svg(title="promptreg sweep"))
            yield watch
    return watching


def draw(svg, folder):
    """Write the page to docs/img/sweep.png."""
    from support.browser import Browser
    width, height = (round(float(side)) for side in re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups())
    (folder / "page.html").write_text(f"<body style='margin: 0; width: {width}px'>{svg}</body>")
    page = Browser(folder / "profile", size=(width, height))
    page.open(f"file://{folder}/page.html")
    page.screenshot(ROOT / "docs" / "img" / "sweep.png")
    page.close()


def call(argv):
    """Make one call of the sweep; returns (exit code, seconds, what it printed)."""
    said, begin = io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(said):
        code = sweep.main(argv)
    return code, time.monotonic() - begin, said.getvalue()


def figures(output):
    """Return {run's folder: its figures}."""
    return {str(path.parent.relative_to(output)): json.loads(path.read_text())["results"]
            for path in sorted(output.rglob("result.json"))}


def by_hand(argv):
    """Run the sweep's scripts one after the other, as typed; returns the seconds."""
    args = sweep.parser().parse_args(argv)
    jobs = plan.plan(args.methods, args.setting, args.datasets, args.seeds, args.shots, command.environment(args))
    begin = time.monotonic()
    for job in jobs:
        for step in job.steps:
            subprocess.run(step.argv, env={**os.environ, "PYTHON": sys.executable, **step.environment}, check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pictures", action="store_true", help="draw docs/img/sweep.png")
    parser.add_argument("--out", default="sweep", help="name of the file of results; empty for none")
    args = parser.parse_args()
    os.environ["PYTHON"] = sys.executable
    frames, killed = [], []
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as scratch:
        data, output, hand = (Path(scratch) / name for name in ("data", "sweep", "hand"))
        os.environ["PROMPTREG_CACHE"] = str(Path(scratch) / "cache")
        in_the_way = output / "base2new" / "train_base" / "digits" / FAILING
        in_the_way.parent.mkdir(parents=True)
        in_the_way.write_text("no folder\n")
        threading.Thread(target=kill_one, args=(output, killed), daemon=True).start()
        if args.pictures:
            command.watching = recording(frames)
        first = call(flags(data, output, args.jobs))
        command.watching = progress.watching
        if args.pictures:
            draw(frames[2 * len(frames) // 3], Path(scratch))
        after_first = len(figures(output))
        in_the_way.unlink()
        second = call(flags(data, output, args.jobs))
        print(first[2], second[2], sep="\n")
        seconds = by_hand(flags(data, hand, 1))
        same = figures(output) == figures(hand)
        runs = len(figures(output))
    jobs = len(METHODS) * len(SHOTS) * len(SEEDS)
    found = {"jobs": jobs, "at a time": args.jobs, "killed": len(killed), "first": {"exit code": first[0],
             "seconds": round(first[1]), "runs finished": after_first, "failed": first[2].count("\nfailed: ")},
             "second": {"exit code": second[0], "seconds": round(second[1]),
                        "jobs run": second[2].count("] finished: "),
                        "runs finished": runs}, "by hand": round(seconds), "same figures as by hand": same}
    print(json.dumps(found, indent=1))
    if args.out:
        keep(args.out, found)
    return 0 if (first[0], second[0], runs, same) == (1, 0, 2 * jobs, True) else 1


if __name__ == "__main__":
    raise SystemExit(main())
