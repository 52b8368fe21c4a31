"""The command promptreg: train here, prepare a host repository, or tell what this machine lacks.

  promptreg train …           CoOp's flags (train.py's), in any directory; configs may come from the package
  promptreg init [FOLDER]     write our configs and scripts into a host repository
  promptreg doctor            tell which Dassl, torch, weights and datasets are found, and what to do about the rest
"""
import sys
from importlib import import_module
from pathlib import Path

from ..errors import InputError
from ..utils.console import cli_errors
from ..utils.paths import PACKAGE, packaged

COMMANDS = {"train": "training.run", "init": "cli.init", "doctor": "cli.doctor"}  # command -> module


@cli_errors
def main(argv=None):
    """Run one command; returns the exit code: 0, 2 for the user's input, 3 for the environment."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(__doc__.strip(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        raise InputError(f"there is no command {command}: give one of {', '.join(COMMANDS)}")
    return import_module(f"{PACKAGE}.{COMMANDS[command]}").main(
        with_packaged_configs(rest) if command == "train" else rest)


def with_packaged_configs(words):
    """Return train's arguments with config files that are not there replaced by the package's of that name.

    ``configs/datasets/dtd.yaml``, ``datasets/dtd.yaml`` and ``dtd`` all find the dataset's config; likewise
    ``PromptSRC/NAME`` a method's.
    """
    words = list(words)
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag not in ("--config-file", "--dataset-config-file"):
            continue
        at = i if equals else i + 1
        if at >= len(words):
            continue
        path = value if equals else words[at]
        found = packaged_config(path, "datasets" if flag == "--dataset-config-file" else "trainers")
        words[at] = f"{flag}={found}" if equals else found
    return words


def packaged_config(path, kind):
    """Return ``path`` if it is a file; else the package's config that it means, if there is one."""
    if not path or Path(path).is_file():
        return path
    below = path.removeprefix("configs/")
    configs = packaged("configs")
    for candidate in (configs / below, configs / kind / below, configs / kind / f"{below}.yaml"):
        if candidate.is_file():
            return str(candidate)
    return path
