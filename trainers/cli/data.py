"""Fetches, checks and shows datasets: promptreg data fetch|check|show DATASET… --root DATA"""
import argparse
import os
import sys
from importlib import import_module

from ..utils.console import Parser, command
from ..utils.startup import load_package

SUMMARY = {"fetch": "fetch, arrange and verify datasets", "check": "count and read every image; fetch nothing",
           "show": "write a page of a dataset's few-shot set"}


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg data", description=(__doc__ or "").partition(":")[0])
    parts = p.add_subparsers(dest="part", required=True, metavar="fetch|check|show")
    for part, summary in SUMMARY.items():
        below = parts.add_parser(part, help=summary, description=summary)
        below.add_argument("names", nargs="+" if part != "show" else 1, metavar="DATASET",
                           help="in any spelling (promptreg ls datasets)" + ("" if part == "show" else ", or all"))
        below.add_argument("--root", default=os.environ.get("DATA") or "data",
                           help="folder of the datasets (default: $DATA or data)")
        if part == "fetch":
            below.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
            below.add_argument("--mirror", metavar="URL", help="try URL/FILE before the published places")
        if part == "check":
            below.add_argument("--quick", action="store_true", help="only see whether the images are there")
        if part == "show":
            below.add_argument("--shots", type=int, default=16, help="training images a class; -1 for all")
            below.add_argument("--seed", type=int, default=1)
            below.add_argument("--out", default="page.html", help="the page to write")
    return p


def run(args: argparse.Namespace) -> int:
    """Call ``datasets.prepare`` or ``datasets.show``; returns its exit code."""
    load_package()
    from ..compat import engine
    module = "show" if args.part == "show" else "prepare"
    return import_module(f"{engine.sibling('datasets').__name__}.{module}").main(words_of(args))


def words_of(args: argparse.Namespace) -> list[str]:
    """Return the words that the datasets' own command lines take for parsed flags."""
    words = [*args.names, "--root", args.root]
    if args.part == "show":
        return [*words, "--shots", str(args.shots), "--seed", str(args.seed), "--out", args.out]
    if args.part == "check":
        return [*words, "--check", *["--quick"] * args.quick]
    return [*words, *["--dry-run"] * args.dry_run, *(["--mirror", args.mirror] if args.mirror else [])]


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
