"""Trainings of the demo, each killed at random moments and resumed until done: the final checkpoints, bit for bit.

    python benchmarks/kill_resume.py [--runs 100] [--signal KILL|TERM|USR1] [--seed 0] [--out NAME]

Every run is a true process (forked.py) and is killed at least once. The runs take turns in when:
    anytime  at a moment drawn uniformly over an unkilled run's duration
    writing  within the writing of a checkpoint or of result.json, drawn likewise
    stepwise anytime, and the state within the epoch is saved after every batch
A run that was killed once is killed again with even odds. What is kept: benchmarks/results/kill_resume.json.
"""
import forked  # isort: skip  (before torch)
import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import torch
from common import keep

from trainers.base import PromptTrainer
from trainers.training import checkpoint
from trainers.utils import atomic

TRAINERS = {"CoOp": "prompt_learner", "ProGrad": "prompt_learner", "PromptSRC": "VLPromptLearner"}
WHEN = ("anytime", "writing", "stepwise")


def digest(content):
    """Return a hash of all that a checkpoint holds: the bits of its tensors, and its plain data."""
    if isinstance(content, torch.Tensor):
        described = [str(content.dtype), list(content.shape), hashlib.sha256(content.numpy().tobytes()).hexdigest()]
    elif isinstance(content, dict):
        described = [[repr(key), digest(value)] for key, value in content.items()]
    elif isinstance(content, (list, tuple)):
        described = [digest(value) for value in content]
    else:
        described = repr(content)
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def outcome(folder, trainer):
    """Return what must not depend on how often a run was killed: {part: hash or figure}."""
    last = folder / "out" / TRAINERS[trainer] / "model.pth.tar-3"
    content = torch.load(last, weights_only=True)
    result = json.loads((folder / "out" / "result.json").read_text())
    return {"prompts": digest(content["state_dict"]), "checkpoint": digest(content), "results": result["results"],
            "files": sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*")
                            if "tensorboard" not in path.parts)}


def announce(pipe, every_step):
    """Return what prepares a child: it tells of every write by a byte, and saves after every batch if asked to."""
    def telling(temporary):
        def tell_and_begin(path):
            if path.name.startswith(("model", "interim", "result")):
                os.write(pipe, b".")
            return temporary(path)
        return tell_and_begin

    def prepare():
        atomic.temporary = telling(atomic.temporary)
        if every_step:
            PromptTrainer.interim_due = lambda self: True
    return prepare


class Runs:
    """Starts and kills runs of one trainer, in folders that share a dataset and a cache.

    Attributes:
        seconds, writes: of the unkilled run. expected: its outcome.
    """

    def __init__(self, trainer, scratch, draw, number):
        self.trainer, self.scratch, self.draw, self.number = trainer, scratch, draw, number
        self.argv = forked.demo(trainer)
        self.make(scratch / f"warm {trainer}")  # makes dataset and cache
        folder = scratch / f"whole {trainer}"
        begin = time.monotonic()
        self.writes = self.make(folder)
        self.seconds = time.monotonic() - begin
        self.expected = outcome(folder, trainer)

    def make(self, folder):
        """Make an unkilled run; returns how often it wrote."""
        pid, told = self.start(folder, False)
        code = forked.ended(pid)
        if code:
            raise SystemExit(f"the unkilled run of {self.trainer} left with {code}: "
                             + (folder / "console.txt").read_text()[-2000:])
        return len(told.read())

    def start(self, folder, every_step):
        """Begin a run in ``folder``; returns its process and the pipe by which it tells of writes."""
        folder.mkdir(exist_ok=True)
        (self.scratch / "data").mkdir(exist_ok=True)
        if not (folder / "data").exists():
            (folder / "data").symlink_to(self.scratch / "data")
        read, write = os.pipe()
        pid = forked.start(self.argv, folder, environment={"PROMPTREG_CACHE": str(self.scratch / "cache")},
                           prepare=announce(write, every_step))
        os.close(write)
        return pid, open(read, "rb", buffering=0)

    def attempt(self, folder, when):
        """Begin a run, or go on with it, and kill it; returns how it ended (0: before the kill)."""
        pid, told = self.start(folder, when == "stepwise")
        with told:
            if when == "writing":
                for _ in range(self.draw.randint(1, self.writes)):
                    if not told.read(1):
                        return forked.ended(pid)
                until = time.monotonic() + self.draw.uniform(0, 0.02)
            else:
                until = time.monotonic() + self.draw.uniform(0, self.seconds)
            code = forked.ended(pid, until)
            return forked.kill(pid, self.number) if code is None else code

    def killed(self, folder, when):
        """Kill a run at least once, then let it finish; returns a list of what each kill left on disk."""
        left = []
        while not left or self.draw.random() < 0.5:
            code = self.attempt(folder, when)
            if code == 0 and not left:  # done before the kill came: once more from the start
                shutil.rmtree(folder)
                continue
            if code == 0:
                return left
            if code not in (-self.number, 75):
                raise AssertionError(f"left with {code}")
            left.append(self.state(folder))
        code = self.attempt_to_the_end(folder)
        if code:
            raise AssertionError(f"left with {code}")
        return left

    def attempt_to_the_end(self, folder):
        pid, told = self.start(folder, False)
        with told:
            return forked.ended(pid)

    def state(self, folder):
        """Return in words where a kill has hit."""
        out = folder / "out"
        if not out.exists():
            return "before the output folder"
        if list(out.rglob("*.part")):
            return "within a write"
        if (out / "result.json").exists():
            return "after the result"
        if (out / TRAINERS[self.trainer] / checkpoint.INTERIM).exists():
            return "within an epoch, state saved"
        done = checkpoint.saved_epochs(out / TRAINERS[self.trainer])
        return f"after {done[-1]} of 3 epochs" if done else "before the first checkpoint"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--signal", choices=("KILL", "TERM", "USR1"), default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="kill_resume", help="name of the file of results; empty for none")
    args = parser.parse_args()
    draw = random.Random(args.seed)
    kills, wrong, counts = collections.Counter(), [], collections.Counter()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCRATCH")) as scratch:
        scratch = Path(scratch)
        makers = [Runs(name, scratch, draw, getattr(signal, f"SIG{args.signal}")) for name in TRAINERS]
        for number in range(args.runs):
            maker, when = makers[number % len(makers)], WHEN[number // len(makers) % len(WHEN)]
            folder = scratch / f"run {number}"
            try:
                left = maker.killed(folder, when)
                found = outcome(folder, maker.trainer)
                differs = [part for part, value in found.items() if value != maker.expected[part]]
            except (AssertionError, OSError) as error:
                left, differs = [], [str(error), (folder / "console.txt").read_text()[-1500:]]
            kills.update(left)
            counts[f"{maker.trainer}, {when}"] += not differs
            if differs:
                wrong.append([number, maker.trainer, when, differs])
                print(f"run {number} ({maker.trainer}, {when}): {'; '.join(differs)}")
            else:
                shutil.rmtree(folder)
            print(f"{number + 1 - len(wrong)} of {number + 1} identical after {sum(kills.values())} kills", flush=True)
        seconds = {maker.trainer: round(maker.seconds, 2) for maker in makers}
    print(f"{args.runs - len(wrong)} of {args.runs} runs, killed {sum(kills.values())} times by SIG{args.signal}, "
          "ended with the unkilled run's checkpoint, result and files")
    if args.out:
        keep(args.out, {"runs": args.runs, "identical": args.runs - len(wrong), "signal": f"SIG{args.signal}",
                        "seed": args.seed, "kills": sum(kills.values()), "where": dict(kills.most_common()),
                        "identical_by": dict(sorted(counts.items())), "unkilled_seconds": seconds, "wrong": wrong,
                        "seconds": round(time.monotonic() - begin)})
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
