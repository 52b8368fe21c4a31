"""Tables, pictures and a report of all finished runs below some folders.

    promptreg results output/
"""
import argparse
import sys
from typing import Any

from ..errors import InputError
from ..results.published import TITLES
from ..utils.console import Parser, command, escape_control_chars, print_stderr
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg results", description=__doc__.splitlines()[0])
    p.add_argument("paths", nargs="+", help="folders that hold runs' outputs")
    p.add_argument("--setting", choices=TITLES, nargs="+", default=list(TITLES), help="only these tables")
    p.add_argument("--format", choices=("terminal", "markdown", "latex", "csv"), default="terminal")
    p.add_argument("--spread", choices=("std", "ci95"), default="std",
                   help="standard deviation over seeds, or 95%% interval of the mean")
    p.add_argument("--compare", metavar="published", help="add the papers' figures, or those of a CSV like theirs")
    p.add_argument("--details", action="store_true",
                   help="with --compare on the terminal: every dataset beside its published figure, not the averages "
                        "alone")
    p.add_argument("--paired", nargs=2, metavar=("FIRST", "SECOND"), action="append", default=[],
                   help="compare two methods run by run")
    p.add_argument("--missing", action="store_true", help="print only the commands that fill what is missing")
    p.add_argument("--pictures", metavar="FOLDER", help="write curves, scatter and gains there, as PNG and PDF")
    p.add_argument("--html", metavar="FILE", help="write a report page of tables, pictures, configs and logs")
    return p


def run(args: argparse.Namespace) -> int:
    """Do what parsed flags say; returns the exit code."""
    load_package()
    from ..results import compare, render
    from ..results.collect import collect
    from ..results.notes import Note
    from ..results.table import tables
    from ..sweep.missing import missing
    runs = collect(args.paths)
    made = tables(runs, args.setting)
    if not made:
        raise InputError(f"there is no finished run in {', '.join(args.paths)}")
    calls, reasons = missing(made, runs, args.paths[0])
    reasons = list(map(Note, reasons))
    if args.missing:
        print("\n".join(map(escape_control_chars, calls)), end="\n" * bool(calls))
        render.say_notes(reasons)
        return 0
    compared = []
    if args.compare:
        figures = compare.published(*([] if args.compare == "published" else [args.compare]))
        compared = [(compare.averages(table, figures), compare.against(table, figures)) for table in made]
    show(made, compared, args)
    for first, second in args.paired:
        print("\n".join(map(str, compare.paired(runs, first, second))))
    write(runs, made, compared, args, calls, reasons)
    say_missing(calls)
    render.say_notes([note for table in whole(made, compared) for note in table.notes] + reasons)
    return 0


def whole(made: list[Any], compared: list[tuple[Any, Any]]) -> list[Any]:
    """Return the tables with all that was asked for: with published rows, where there are any."""
    return [table for _, table in compared] or made


def show(made: list[Any], compared: list[tuple[Any, Any]], args: argparse.Namespace) -> None:
    """Print the tables in the format that was asked for."""
    from ..results import render
    if args.format == "csv":
        print(render.as_csv(whole(made, compared)), end="")
        if args.compare:
            print_stderr("note: csv holds our own figures alone: --compare needs another --format")
    elif args.format == "terminal":
        console = render.console()
        for number, table in enumerate(whole(made, compared)):
            averages = compared[number][0] if compared and not args.details else None
            for part in [made[number], averages] if averages else [table]:
                render.terminal(part, console, args.spread)
        if any(averages for averages, _ in compared) and not args.details:
            print_stderr("note: only averages stand beside published figures here: --details has every dataset")
    else:
        print("\n".join(getattr(render, args.format)(table, args.spread) for table in whole(made, compared)), end="")


def write(runs: list[Any], made: list[Any], compared: list[tuple[Any, Any]], args: argparse.Namespace, calls: list[str],
          reasons: list[Any]) -> None:
    """Write the files that were asked for."""
    if args.pictures:
        from ..results import plots
        for path in plots.write_plots(runs, made, args.pictures):
            print(f"wrote {path}", file=sys.stderr)
    if args.html:
        from ..results import report
        report.write_report(runs, made, args.html, calls, reasons, compared)
        print(f"wrote {args.html}", file=sys.stderr)


def say_missing(calls: list[str]) -> None:
    """Name the first of the calls that fill the tables' gaps."""
    if calls:
        print_stderr(f"{len(calls)} runs are missing (--missing prints all commands), for example:" if len(calls) > 1
                     else "one run is missing:")
        print_stderr(f"    {calls[0]}")


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("results", main))
