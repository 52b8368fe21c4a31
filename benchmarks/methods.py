"""DePT over CoOp, TCP, MMA and ProMetaR, a step each: ours beside the plain way of 77 positions, in turns, in one run.

    python benchmarks/methods.py [--classes 20] [--rounds 3] [--methods TCP …]

As benchmarks/run.py: random weights of ViT-B/16's shape, float32, batch 4, no data. Both sides' seconds are the
process's own, which a busy machine stretches less than the clock's, by one thread. A step's peak of memory is that of a
process of its own. ProMetaR's step is its two.
"""
import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import class_names, keep, random_clip_file
from run import pair, step_of, without_frozen_text
from support import plain

from trainers.clip.text import give_back

METHODS = ("DePT+CoOp", "TCP", "MultiModalAdapter", "ProMetaR")
BATCH = 4
SIDES = ("ours", "plain way")


def batch(classes):
    torch.manual_seed(0)
    return torch.randn(BATCH, 3, 224, 224), torch.tensor([0, 1, 1, 2]) % classes


def timed(method, file, classes, rounds):
    """Return {side: seconds of the rounds' steps, in turns}."""
    steps = {side: step_of(trainer, *batch(classes))
             for side, trainer in zip(SIDES, pair(method, file, class_names(classes)), strict=True)}
    taken = {side: [] for side in SIDES}
    for turn in range(rounds + 1):  # the first is not counted
        for side, step in steps.items():
            begin = time.process_time()
            step()
            if turn:
                taken[side].append(time.process_time() - begin)
    return taken


def peak(method, side, file, classes):
    """Print how much memory one step takes at its peak beyond the built trainer, in MiB (Linux)."""
    trainer = without_frozen_text(method, file, class_names(classes))
    if side == "plain way":
        plain.make_plain(trainer)
    step = step_of(trainer, *batch(classes))
    give_back()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here: loading the weights has one, too
    before = high_water_mib()
    step()
    print(high_water_mib() - before)


def high_water_mib():
    found = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(found[0]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default="methods", help="name of the file of results; empty for none")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peak:
        return peak(*args.peak, args.classes)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        file = random_clip_file("ViT-B/16", folder)
        for method in args.methods:
            taken = timed(method, file, args.classes, args.rounds)
            found[method] = {side: {"median_s": statistics.median(t), "low_s": min(t), "high_s": max(t),
                                    "peak_mib": float(subprocess.run(
                                        [sys.executable, __file__, "--peak", method, side, str(file), "--classes",
                                         str(args.classes)], capture_output=True, text=True,
                                        check=True).stdout.split()[-1])} for side, t in taken.items()}
            ours, slow = (found[method][side] for side in SIDES)
            print(f"{method:18s} a step {ours['median_s']:6.2f} s, plain way {slow['median_s']:6.2f} s: "
                  f"{slow['median_s'] / ours['median_s']:4.1f} times; memory {ours['peak_mib']:6.0f} MiB, "
                  f"{slow['peak_mib']:6.0f} MiB: {slow['peak_mib'] / ours['peak_mib']:4.1f} times", flush=True)
            if args.out:  # so far
                keep(args.out, {"classes": args.classes, "batch": BATCH, "rounds": args.rounds, **found})


if __name__ == "__main__":
    main()
