"""The report on held-out domains of several seeds: python -m trainers.cli.gram_report FOLDER…"""
import sys

from ..compat import engine  # noqa: F401
from ..errors import InputError
from ..meta.trainer import describe
from ..training.result import read_result
from ..utils.console import Parser, cli_errors


@cli_errors
def main(argv=None):
    """Print the table of finished meta-training runs; returns the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("folders", nargs="+", help="output folders of trainer GRAM")
    reports = []
    for folder in parser.parse_args(argv).folders:
        done = read_result(folder)
        if not done or "held_out" not in done["results"]:
            raise InputError(f"{folder} holds no finished meta-training: bash scripts/gram/meta_train.sh makes one")
        reports.append(done["results"]["held_out"])
    print(describe(reports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
