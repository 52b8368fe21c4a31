"""Runs a method's script: what the files below scripts/ call, ``promptreg script ROOT FILE NAME [ARGUMENT …]``."""
import argparse
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError, SetupError
from ..protocols.scripts import SCRIPTS, WrongUsage, call
from ..utils.console import Parser, command, print_stderr
from ..utils.startup import as_module


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg script", description=__doc__)
    p.add_argument("root", type=Path, metavar="ROOT", help="the folder of configs/ and scripts/")
    p.add_argument("file", metavar="FILE", help="the script as it was called")
    p.add_argument("name", metavar="NAME", help="its path below scripts/, without .sh")
    p.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    return p


def run(args: argparse.Namespace) -> int:
    """Run the script's commands in turn, or print them under DRY_RUN; returns the exit code of the first that fails."""
    if args.name not in SCRIPTS:
        raise InputError(f"{args.file}: there is no script {args.name}: choose from {', '.join(SCRIPTS)}")
    try:
        made = call(args.name, args.root, args.arguments, os.environ)
    except WrongUsage as usage:
        print_stderr(f"usage: bash {args.file} {usage}")
        return 2
    if os.environ.get("DRY_RUN"):
        print(*map(shlex.join, made.commands), sep="\n")
        return 0
    commands = made.commands
    if args.name == "gram/meta_train" and not made.flags:
        folders = [words[words.index("--output-dir") + 1] for words in commands]
        checkout = args.root / "_promptreg.py"
        start = [str(checkout)] if checkout.is_file() else ["-m", "promptreg"]
        commands = [*commands, [made.python, *start, "gram", "report", *folders]]
    for words in commands:
        code = perform(words, {**os.environ, **made.environment})
        if code:
            return code
    return 0


def perform(words: list[str], environment: dict[str, str]) -> int:
    """Run one command; returns its exit code, 128 and the signal's number where one ended it."""
    if not shutil.which(words[0]):
        raise SetupError(f"there is no PYTHON {words[0]}: name another, PYTHON=python3")
    with subprocess.Popen(words, env=environment) as process, handed_on(process):
        code = process.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def handed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand a signal upon which a run saves and leaves on to it, and wait: its exit code is what its caller needs."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.signal(number, lambda number, _: process.send_signal(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("script", main))
