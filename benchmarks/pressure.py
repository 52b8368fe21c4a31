"""A sweep of short demo runs on a disk that fills up and in memory that runs out: nothing may be lost unsaid.

    python benchmarks/pressure.py [--runs 200] [--jobs 2] [--out NAME]

Output, cache, datasets and temporary files lie on a file system in memory of their own (Linux; needs unshare, and the
right to make user namespaces). While the sweep works,
    disk    is filled to the last byte for some seconds, again and again
    memory  every eighth process may take but a part, drawn at random, of the address space that a run needs; and now
            and then the largest process of all is killed, as a kernel does that has no memory left; every fourth time
            any other, a script or the sweep's guard as well
In the end every run has its result or is listed as failed, no process runs on, and no temporary file is left. Then the
same command, in peace, must bring what is missing. What is kept: benchmarks/results/pressure.json.
"""
import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from common import ROOT, keep

METHODS = ("CoOp", "ProGrad", "KgCoOp", "PromptSRC")
DISK_MIB = 160
MARK = "PROMPTREG_PRESSURE"  # in the environment of all that the sweep starts
LIMITED = """#!/bin/sh
if [ -s {limit} ] && [ $(($(od -An -N1 -tu1 /dev/urandom) % 8)) = 0 ]; then
  ulimit -v "$(shuf -n 1 -i "$(cat {limit})")"
fi
exec {python} "$@"
"""


def sweep(place, seeds, jobs):
    """Start the sweep; its output goes to console.txt beside the disk."""
    scratch = place / "scratch"
    scratch.mkdir(exist_ok=True)
    environment = {**os.environ, MARK: str(place), "PYTHON": str(place.parent / "python"), "TMPDIR": str(scratch),
                   "PROMPTREG_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "trainers.sweep", "--methods", *METHODS, "--setting", "few_shot", "--datasets",
               "digits", "--shots", "1", "--seeds", *map(str, seeds), "--cfg", "demo", "--root", str(place / "data"),
               "--output", str(place / "output"), "--jobs", str(jobs), "--opts", "OPTIM.MAX_EPOCH", "2"]
    with open(place.parent / "console.txt", "wb") as console:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=console, stderr=subprocess.STDOUT)


def members(place):
    """Return {process id: its memory in pages} of all processes of the sweep; 0 for those that are ending."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if f"{MARK}={place}\0".encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = int((entry / "statm").read_text().split()[1])
        except (OSError, ValueError):
            pass
    return found


def address_space(place, child):
    """Return the most address space in KiB that a process of the sweep takes until it ends."""
    most = 0
    while child.poll() is None:
        for pid in members(place):
            try:
                found = re.search(r"VmPeak:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
            except OSError:
                continue
            most = max(most, int(found[1]) if found and pid != child.pid else 0)
        time.sleep(0.05)
    return most


class Pressure(threading.Thread):
    """Fills the disk and kills a process by turns until ``stop`` is set.

    Attributes:
        done: how often it did what.
    """

    def __init__(self, place, child, draw):
        super().__init__(daemon=True)
        self.place, self.child, self.draw = place, child, draw
        self.stop, self.done = threading.Event(), collections.Counter()

    def run(self):
        while not self.stop.wait(self.draw.uniform(10, 30)):
            self.fill()
            if self.stop.wait(self.draw.uniform(10, 30)):
                return
            self.kill()

    def fill(self):
        ballast = self.place / "ballast"
        try:
            with open(ballast, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            self.done["disk filled"] += 1
        self.stop.wait(self.draw.uniform(0.5, 4))
        ballast.unlink()

    def kill(self):
        runs = {pid: size for pid, size in members(self.place).items() if pid != self.child.pid}
        if runs:
            try:
                chosen = self.draw.choice(sorted(runs)) if self.draw.random() < 0.25 else max(runs, key=runs.get)
                os.kill(chosen, signal.SIGKILL)
                self.done["processes killed"] += 1
            except ProcessLookupError:
                pass


def account(place, names):
    """Return what came of a sweep that has ended: counts, and what is wrong with it."""
    said = (place.parent / "console.txt").read_text()
    listed = dict(re.findall(r"^failed: (.*) \((.*)\)$", said, re.MULTILINE))
    runs = [json.loads(path.read_text()) for path in (place / "output").rglob("result.json")]
    results = {f"{run['trainer']} digits 1 shots seed {run['seed']}" for run in runs}
    deadline = time.monotonic() + 20  # for what has just been killed to be gone
    while (orphans := members(place)) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() and (
        path.suffix == ".part" or path.name.startswith(("run.lock", ".run.lock")) or "scratch" in path.parts)]
    reasons = collections.Counter()
    for name, lines in re.findall(r"^failed: (.*?) \(.*\)\n((?:    .*\n)*)", said, re.MULTILINE):
        reasons[reason(listed[name], lines)] += 1
    wrong = {"neither result nor listed": sorted(names - results - set(listed)), "both": sorted(results & set(listed)),
             "unknown": sorted((results | set(listed)) - names), "processes left": sorted(orphans),
             "temporary files left": left,  # and the sweep's own traceback: a job's last lines are indented
             "a traceback": re.findall(r"^Traceback.*(?:\n.+)*", said, re.MULTILINE)}
    return {"results": len(results), "failed": len(listed), "reasons": dict(reasons.most_common()),
            "wrong": {what: found for what, found in wrong.items() if found}}


def reason(how, lines):
    """Return in short why a run failed."""
    said = lines.partition("    again: ")[0].strip()
    if how.startswith("killed"):
        return how
    for words in ("No space left on device", "memory is full", "cannot be saved", "cannot be written"):
        if words in said:
            return words
    return f"{how}: {said.splitlines()[-1].strip().partition(':')[0]}"


def inside(place, runs, jobs, draw):
    """Make the two sweeps on the disk ``place``; returns what is to be kept."""
    seeds = range(1, -(-runs // len(METHODS)) + 1)
    names = {f"{method} digits 1 shots seed {seed}" for method in METHODS for seed in seeds}
    limit, python = place.parent / "limit", place.parent / "python"
    python.write_text(LIMITED.format(limit=limit, python=sys.executable))
    python.chmod(0o755)
    most = address_space(place, sweep(place, [1], 1))
    for made in ("output", "cache", "data"):
        shutil.rmtree(place / made)
    limit.write_text(f"{most // 2}-{most}")  # the drawn limit lies between
    begin = time.monotonic()
    child = sweep(place, seeds, jobs)
    pressure = Pressure(place, child, draw)
    pressure.start()
    code = child.wait()
    pressure.stop.set()
    pressure.join()
    pressed = {"exit code": code, "seconds": round(time.monotonic() - begin), **pressure.done,
               **account(place, names)}
    print(f"under pressure: {pressed}", flush=True)
    limit.write_text("")
    begin = time.monotonic()
    code = sweep(place, seeds, jobs).wait()
    calm = {"exit code": code, "seconds": round(time.monotonic() - begin), **account(place, names)}
    print(f"afterwards: {calm}")
    return {"runs": len(names), "jobs": jobs, "address_space_mib": most // 1024, "under pressure": pressed,
            "afterwards": calm}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="pressure", help="name of the file of results; empty for none")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as folder:
            disk = Path(folder) / "disk"
            disk.mkdir()
            unshare = ["unshare", "--mount", "--map-root-user", "--propagation", "private", "sh", "-c",
                       f'mount -t tmpfs -o size={DISK_MIB}m none "$1" && shift && exec "$@"', "sh", str(disk)]
            return subprocess.run([*unshare, sys.executable, *sys.argv, "--inside", str(disk)]).returncode
    found = inside(Path(args.inside), args.runs, args.jobs, random.Random(args.seed))
    if args.out:
        keep(args.out, found)
    fine = not found["under pressure"]["wrong"] and not found["afterwards"]["wrong"]
    return 0 if fine and found["afterwards"]["results"] == found["runs"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
