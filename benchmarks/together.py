"""Two runs of the demo started at the same moment, on one output folder, one cache folder, one dataset folder.

    python benchmarks/together.py [output cache dataset] [--times 50] [--out NAME]

output   the same command twice: one runs, the other says who holds the folder and leaves with 3 (or, having come when
         all was over, says that there is nothing to do); in turns on a new folder and on what a killed run has left
cache    two output folders, an empty cache of frozen text features
dataset  two output folders and caches, an empty dataset folder: the images and the few-shot set are being made

Both must end, with the bits of a run alone, and leave no other files than a run alone. What is kept:
benchmarks/results/together.json.
"""
import forked  # isort: skip  (before torch)
import argparse
import collections
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from common import keep
from kill_resume import outcome

PATIENCE = 1800.0  # seconds after which two runs count as deadlocked; a busy machine may halt them for minutes
TRAINER = "ProGrad"  # which keeps frozen text features in the cache


def both(folders, environments, scratch):
    """Start a run in each of two folders at once; returns their exit codes (None: they hang) and what they printed."""
    gate, opener = os.pipe()
    consoles = [folder / f"console{n}.txt" for n, folder in enumerate(folders)]
    pids = [forked.start(forked.demo(TRAINER), folder, console.name, environment, gate, lambda: os.close(opener))
            for folder, console, environment in zip(folders, consoles, environments, strict=True)]
    os.close(gate)
    os.close(opener)  # go
    until = time.monotonic() + PATIENCE
    codes = [forked.ended(pid, until) for pid in pids]
    for pid, code in zip(pids, codes, strict=True):
        if code is None:
            forked.kill(pid)
    return codes, [console.read_text() for console in consoles]


def files(folder):
    """Return the names of all files below ``folder``."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Pairs:
    """Pairs of runs in ``scratch``, compared with a run alone.

    Attributes:
        expected: the outcome of a run alone. alone: {"data": files, "cache": files} that it leaves.
    """

    def __init__(self, scratch):
        self.scratch = scratch
        for folder in (self.folder(name, self.shared("data")) for name in ("first", "alone")):
            if forked.ended(forked.start(forked.demo(TRAINER), folder, environment=self.cache("cache"))):
                raise SystemExit((folder / "console.txt").read_text()[-2000:])
        self.expected = outcome(folder, TRAINER)
        self.alone = {name: files(scratch / name) for name in ("data", "cache")}

    def shared(self, name):
        (self.scratch / name).mkdir(exist_ok=True)
        return self.scratch / name

    def folder(self, name, data):
        """Return a new folder of that name, in which ``data`` is the dataset folder."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "data").symlink_to(data)
        return folder

    def cache(self, name):
        return {"PROMPTREG_CACHE": str(self.scratch / name)}

    def output(self, number):
        folder = self.folder("one", self.scratch / "data")
        if number % 2:  # what a killed run has left: its lock, maybe more
            pid = forked.start(forked.demo(TRAINER), folder, environment=self.cache("cache"))
            while not (folder / "out" / "run.lock").exists():
                time.sleep(0.001)
            forked.kill(pid)
        codes, said = both([folder] * 2, [self.cache("cache")] * 2, self.scratch)
        if 0 not in codes:
            return f"codes {codes}: {' | '.join(text[-100:] for text in said)}"
        found = outcome(folder, TRAINER)
        if found != self.expected:
            return f"another outcome: {', '.join(part for part in found if found[part] != self.expected[part])}"
        loser = [text for code, text in zip(codes, said, strict=True) if code == 3]
        if sorted(codes, key=str) == [0, 3] and loser[0].startswith("error: out is in use by process ") \
                and loser[0].count("\n") == 1:
            return "one ran, the other said who holds the folder" + (", after a killed run" if number % 2 else "")
        if codes == [0, 0] and sum("not run again" in text for text in said) == 1:
            return "one ran, the other came when it was over"
        return f"codes {codes}: {' | '.join(text[-100:] for text in said)}"

    def cache_folder(self, number):
        shutil.rmtree(self.scratch / "new cache", ignore_errors=True)
        return self.two([self.scratch / "data"] * 2, [self.cache("new cache")] * 2, "cache", "new cache", "checkpoint")

    def dataset(self, number):
        shutil.rmtree(self.scratch / "new data", ignore_errors=True)
        # drawing the few-shot set moves Python's random state, which the checkpoint holds and the training does not use
        return self.two([self.shared("new data")] * 2, [self.cache("cache")] * 2, "data", "new data", "prompts")

    def two(self, data, environments, kind, made, compared):
        """Run in two folders; returns what came of it."""
        folders = [self.folder(name, place) for name, place in zip(("one", "other"), data, strict=True)]
        codes, said = both(folders, environments, self.scratch)
        if codes != [0, 0]:
            return f"codes {codes}: {' | '.join(text[-300:] for text in said)}"
        for found in (outcome(folder, TRAINER) for folder in folders):
            differs = [part for part in (compared, "results", "files") if found[part] != self.expected[part]]
            if differs:
                return f"another outcome: {', '.join(differs)}"
        if any("WARNING" in text for text in said):
            return f"a warning: {' | '.join(text[:300] for text in said)}"
        if files(self.scratch / made) != self.alone[kind]:
            return f"other files: {sorted({*files(self.scratch / made)} ^ {*self.alone[kind]})[:5]}"
        return "both ran, as alone"


FINE = ("one ran, the other said who holds the folder",
        "one ran, the other said who holds the folder, after a killed run",
        "one ran, the other came when it was over", "both ran, as alone")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["output", "cache", "dataset"], metavar="WHAT")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--out", default="together", help="name of the file of results; empty for none")
    args = parser.parse_args()
    begin, counts = time.monotonic(), {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as scratch:
        pairs = Pairs(Path(scratch))
        kinds = {"output": pairs.output, "cache": pairs.cache_folder, "dataset": pairs.dataset}
        for kind in args.what:
            found = counts[kind] = collections.Counter()
            for number in range(args.times):
                found[kinds[kind](number)] += 1
                print(f"{kind}: {json.dumps(found)}", flush=True)
    wrong = sum(count for found in counts.values() for came, count in found.items() if came not in FINE)
    print(f"{args.times} pairs on each of {', '.join(args.what)}: {wrong} went wrong")
    if args.out:
        keep(args.out, {"times": args.times, "wrong": wrong, "seconds": round(time.monotonic() - begin), **counts})
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
