"""The report on held-out domains of several seeds: promptreg gram report FOLDER…"""
import argparse
import sys

from ..errors import InputError
from ..utils.console import Parser, command
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg gram report", description=__doc__)
    p.add_argument("folders", nargs="+", help="output folders of trainer GRAM")
    return p


def run(args: argparse.Namespace) -> int:
    """Print the table of finished meta-training runs; returns the exit code."""
    load_package()
    from ..meta.evaluation import describe
    from ..training.result import read_result
    reports = []
    for folder in args.folders:
        done = read_result(folder)
        if not done or "held_out" not in done["results"]:
            raise InputError(f"{folder} holds no finished meta-training: bash scripts/gram/meta_train.sh makes one")
        reports.append(done["results"]["held_out"])
    print(describe(reports))
    return 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("gram report", main))
