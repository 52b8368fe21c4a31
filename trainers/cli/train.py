"""Trains or evaluates one method on one dataset with one seed.

    promptreg train PromptSRC/demo digits [flags] [KEY VALUE …]

CoOp's flags, train.py's, do the same by paths; KEY VALUE pairs win over the config files.
"""
import argparse
import sys

from ..config import flags
from ..training import finished_calls
from ..utils.console import Parser, cli_errors
from ..utils.startup import load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = flags.parser()
    p.prog, p.description = "promptreg train", __doc__
    p.usage = "promptreg train [METHOD/CONFIG DATASET] [flags] [KEY VALUE ...]"
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    return p


def run(args: argparse.Namespace) -> int:
    """Do the run, unless it is known to be finished; returns the exit code."""
    notes = None if args.print_cfg else finished_calls.recall(args)
    if notes is not None:
        print(f"Results are available in {args.output_dir}: not run again")
        for text in notes:
            print(f"note: {text}")
        return 0
    load_package()
    from ..training.run import execute
    return execute(args)


@cli_errors
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code, as ``training.run.execute``."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(flags.with_packaged_configs(words))
    args._typed = words  # for --print-cfg, which says what was typed and what names stand for
    if words and not words[0].startswith("-") and args.output_dir:
        print(f"{args.trainer} on {args.dataset_config_file}, seed {args.seed}: into {args.output_dir}")
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
