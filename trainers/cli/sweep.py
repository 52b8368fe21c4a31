"""Runs methods over datasets, shots and seeds, by the scripts' own commands, and prints the table.

    promptreg sweep --methods PromptSRC ProGrad --setting base2new --datasets all --seeds 1 2 3

What is finished is not run again, what was interrupted resumes, what failed is listed and is tried again by the next
call (--retry-failed: that alone).
"""
import argparse
import sys

from ..sweep.methods import METHODS, SETTINGS, check_names
from ..utils.console import Parser, command
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg sweep", description=__doc__,
               formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", "--method", nargs="+", required=True,
                   help=f"of {', '.join(METHODS)}, or all; or a method of your own, with a config in "
                        "configs/trainers/NAME")
    p.add_argument("--setting", required=True, choices=SETTINGS,
                   help="xd: cross-dataset; dg: domain generalization (the variants of ImageNet)")
    p.add_argument("--datasets", "--dataset", nargs="+",
                   default=["all"], help="config files' names, or all of the setting's")
    p.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    p.add_argument("--shots", nargs="+", type=int, default=[], help="images a class (default: as published)")
    p.add_argument("--source", default="imagenet", help="what xd and dg train on")
    p.add_argument("--cfg", help="config file's name for all methods, not the published ones (demo, say)")
    p.add_argument("--root", help="folder of the datasets (default: DATA, else data)")
    p.add_argument("--output", help="folder of the results (default: OUTPUT, else output)")
    p.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE",
                   help="config keys for all runs, after those of OPTS; a value may hold blanks")
    p.add_argument("--executor", choices=("local", "slurm"), default="local")
    p.add_argument("--jobs", type=int, help="jobs at a time (default: one, or --per-gpu for each GPU)")
    p.add_argument("--per-gpu", type=int, default=1, help="jobs that share a GPU")
    slurm = p.add_argument_group("for --executor slurm")
    slurm.add_argument("--time", type=int, default=720, help="minutes an element may take (default: 720)")
    slurm.add_argument("--gpus", type=int, default=1, help="GPUs an element (default: 1)")
    slurm.add_argument("--cpus", type=int, default=8, help="CPUs an element (default: 8)")
    slurm.add_argument("--mem", default="32GB")
    slurm.add_argument("--partition")
    slurm.add_argument("--account")
    slurm.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="further parameters of sbatch")
    slurm.add_argument("--no-wait", action="store_true", help="submit and leave")
    p.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    p.add_argument("--retry-failed", action="store_true", help="only the jobs that failed")
    p.add_argument("--skip-missing", action="store_true",
                   help="run the jobs whose data and weights are there, and say which are left out")
    p.add_argument("--no-table", action="store_true", help="do not print the results at the end")
    p.add_argument("--quiet", action="store_true", help="print nothing where all is finished already, but the table")
    return p


def run(args: argparse.Namespace) -> int:
    """Do what parsed flags say.

    Returns:
        0; 1 where a job failed, 2 for the user's input, 3 for the environment, 75 where a job was interrupted and none
        failed, 130 if stopped.
    """
    check_names(args.methods, args.datasets, args.source)  # before torch is imported
    load_package()
    from ..sweep import command
    from ..sweep.pool import Stopped
    try:
        return command.run(args)
    except Stopped as signal:
        print(f"stopped by {signal}: {signal.left or 'nothing is left running'}; the same command goes on where this "
              "left off",
              file=sys.stderr)
        return 130


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("sweep", main))
