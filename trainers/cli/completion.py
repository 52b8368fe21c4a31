"""Prints the script that lets a shell complete promptreg's verbs, flags, methods and datasets.

    eval "$(promptreg completion bash)"                              # in ~/.bashrc
    promptreg completion zsh > "${fpath[1]}/_promptreg"              # once, for zsh
"""
import argparse
import sys
from importlib import import_module

from ..config import lookup
from ..errors import SetupError
from ..utils.console import Parser, command

SHELLS = ("bash", "zsh")


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg completion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("shell", choices=SHELLS)
    return p


def whole_parser() -> argparse.ArgumentParser:
    """Return one parser of all verbs, whose flags know the methods' and datasets' names."""
    from .main import MODULES, VERBS
    whole = Parser(prog="promptreg")
    whole.add_argument("--version", action="store_true", help="print the version")
    verbs = whole.add_subparsers()
    for group in VERBS.values():
        for verb, (module, what) in group.items():
            if verb in MODULES:
                found = import_module(f"{__package__}.{module}").parser()
                name_values(found)
                verbs.add_parser(verb, parents=[found], add_help=False, help=what)
    return whole


def name_values(parser: argparse.ArgumentParser) -> None:
    """Let the flags of a parser that take names of methods and datasets offer them, and all others files."""
    import shtab
    configs = [f"{method}/{config}" for method, names in lookup.methods().items() for config in names]
    values = {"--trainer": list(lookup.methods()), "--methods": list(lookup.methods()), "--method": configs,
              "--datasets": ["all", *lookup.datasets()], "--dataset": list(lookup.datasets())}
    for action in parser._actions:
        if action.nargs == 0 or action.choices:
            continue
        offered = next((values[flag] for flag in values if flag in action.option_strings), None)
        if offered:
            action.choices = offered
        else:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def run(args: argparse.Namespace) -> int:
    """Print the script; returns the exit code."""
    try:
        import shtab
    except ImportError:
        raise SetupError('completion needs shtab: pip install "promptreg[completion]"') from None
    print(shtab.complete(whole_parser(), args.shell))
    return 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
