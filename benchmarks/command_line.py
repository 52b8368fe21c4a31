"""Processor time of the commands that need no model, and what a sweep without data takes.

    python benchmarks/command_line.py [--rounds 5] [--out NAME]

User and system time of the process and its children, median of the rounds, whose order changes from command to command;
kept in benchmarks/results/command_line.json. "promptreg" is the entry point of this interpreter's environment.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import keep

COMMANDS = ("--help", "--version", "ls methods", "ls configs", "ls datasets", "ls weights", "ls runs", "train --hlep",
            "train NoSuch/demo digits", "sweep --methods NoSuch --setting base2new", "completion bash",
            "results are available", "sweep without data")
FINISHED = "train CoOp/demo digits DATASET.NUM_SHOTS 1 OPTIM.MAX_EPOCH 1"
SWEEP = "sweep --methods PromptSRC --setting base2new --datasets all --root nothing --output sweep"


def measure(words: list[str], folder: str, environment: dict[str, str]) -> tuple[float, float, int]:
    """Return (user and system seconds, seconds on the clock, exit code) of one call."""
    begin = time.perf_counter()
    program = Path(sys.executable).with_name("promptreg")
    process = subprocess.Popen([program, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default="command_line", help="name of the file of results; empty for none")
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PROMPTREG_CACHE": f"{folder}/cache", "HOME": folder}
        measure(FINISHED.split(), folder, environment)  # trains
        measure(FINISHED.split(), folder, environment)  # compares, and remembers that it has
        for _ in range(args.rounds):
            for name in COMMANDS:
                words = {COMMANDS[-2]: FINISHED, COMMANDS[-1]: SWEEP}.get(name, name).split()
                found[name].append(measure(words, folder, environment))
    rows = {name: {"processor_seconds": round(statistics.median(r[0] for r in rounds), 3),
                   "seconds": round(statistics.median(r[1] for r in rounds), 3), "exit_code": rounds[0][2]}
            for name, rounds in found.items()}
    for name, row in rows.items():
        print(f"{name:44} {row['processor_seconds']:6.3f} s of processor time, {row['seconds']:6.3f} s; exit code "
              f"{row['exit_code']}")
    if args.out:
        keep(args.out, {"rounds": args.rounds, "commands": rows})


if __name__ == "__main__":
    main()
