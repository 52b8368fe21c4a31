"""The papers' settings and claims on the emoji datasets: all methods, tables, pictures, verdicts, one page.

    promptreg study                                        an hour on two cores
    promptreg study --quick                                ten minutes: one seed, fewer datasets
    promptreg study --methods Mine --against PromptSRC     whether the study can tell the two apart

What is finished is not run again. OUT/study.html is the page, OUT/study.json the data.
"""
import argparse
import sys

from ..utils.console import Parser, command
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="one seed, fewer datasets and shots, no ablation")
    p.add_argument("--methods", nargs="+", help="these alone, without ablations (default: all); your own need a config "
                                                "configs/trainers/NAME/study.yaml")
    p.add_argument("--against", metavar="METHOD", help="compare the one of --methods with this one")
    p.add_argument("--seeds", nargs="+", type=int, help="default: SEEDS, else 1 2 3")
    p.add_argument("--meta", default="", metavar="FOLDER", help="GRAM's meta-trained files, coop.safetensors …: "
                                                                  "its methods run too")
    p.add_argument("--out", dest="output", default="output/study", help="folder of runs, tables and page")
    p.add_argument("--root", default="data", help="folder of the datasets, which are written there")
    p.add_argument("--jobs", type=int, help="runs at a time (default: one a core)")
    p.add_argument("--no-run", action="store_true", help="tables, claims and page of what is finished")
    p.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    p.set_defaults(opts=[], per_gpu=1, shots=[], skip_missing=False)
    return p


def run(args: argparse.Namespace) -> int:
    """Do what parsed flags say; returns the exit code."""
    load_package()
    from ..study import command as study
    from ..sweep.pool import Stopped
    try:
        return study.run(args)
    except Stopped as signal:
        print(f"stopped by {signal}: nothing is left running; the same command goes on where this left off",
              file=sys.stderr)
        return 130


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("study", main))
