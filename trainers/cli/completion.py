"""Prints the script that lets a shell complete promptreg's verbs, flags, methods and datasets.

    eval "$(promptreg completion bash)"                              # in ~/.bashrc
    promptreg completion zsh > "${fpath[1]}/_promptreg"              # once, for zsh
"""
import argparse
import copy
import sys
from importlib import import_module

from ..config import lookup
from ..errors import SetupError
from ..utils.console import Parser, command
from .ls import PUBLISHED_WEIGHTS

SHELLS = ("bash", "zsh")
OF_FILES = ("--config-file", "--dataset-config-file")  # CoOp's flags, which take paths where ours take names


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
    """Let the arguments of a parser that take names offer them, those that take numbers nothing, all others files."""
    import shtab
    offered = names()
    for action in list(parser._actions):
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                name_values(below)
        elif action.nargs != 0 and not action.choices and action.type not in (int, float):
            found = next((offered[key] for key in keys(parser, action) if key in offered), None)
            if found is None:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
                continue
            action.choices = found
            for flag in [flag for flag in action.option_strings if flag in OF_FILES]:  # which shares its action
                other = copy.copy(action)
                other.option_strings, other.choices, other.complete = [flag], None, shtab.FILE  # type: ignore
                action.option_strings = [word for word in action.option_strings if word != flag]
                parser._actions.append(other)


def keys(parser: argparse.ArgumentParser, action: argparse.Action) -> list[str]:
    """Return what ``names`` may call an argument: its flags, or its verb and place."""
    return [flag for flag in action.option_strings if flag not in OF_FILES] or [f"{parser.prog} {action.dest}"]


def names() -> dict[str, list[str]]:
    """Return {flag, or verb and place: the names that it takes}."""
    configs = [f"{method}/{config}" for method, found in lookup.methods().items() for config in found]
    methods, datasets, weights = list(lookup.methods()), list(lookup.datasets()), ["demo", "study", *PUBLISHED_WEIGHTS]
    return {"--trainer": methods, "--methods": methods, "--method": configs, "--backbone": weights,
            "--datasets": ["all", *datasets], "--dataset": datasets, "--source": datasets,
            "promptreg train opts": [*configs, *datasets], "promptreg data fetch names": ["all", *datasets],
            "promptreg data check names": ["all", *datasets], "promptreg data show names": datasets,
            "promptreg weights names": weights, "promptreg ls name": methods}


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
