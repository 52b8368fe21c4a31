"""Classifies pictures, and folders of pictures, with trained prompts.

    promptreg classify runs/photos new.jpg holiday/

A line a picture: its path, then the most likely classes, parted by tabs.
"""
import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..utils.console import Parser, command, escape_control_chars, print_stderr
from ..utils.startup import as_module, load_package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add to a parser what ``from_arguments`` reads."""
    parser.add_argument("checkpoint", help="a run's folder, a checkpoint, or an exported .safetensors file")
    parser.add_argument("--classnames", help="the classes, separated by commas, or a text file with one a line "
                                             "(default: the training's)")
    parser.add_argument("--backbone", help="name or file of CLIP's weights (default: the run's)")
    parser.add_argument("--precision", help="fp32, fp16, amp or bf16 (default: the run's)")
    parser.add_argument("--trainer", "--method", help="the method, for published checkpoints")
    parser.add_argument("--config-file", help="its config, for published checkpoints")


def _classnames(given: str) -> list[str]:
    """Return the names that --classnames asks for: a file's lines, or what stands between commas."""
    names = [name.strip() for name in given.split(",")]
    if os.path.exists(given) and not os.path.isdir(given):
        try:
            names = list(filter(None, map(str.strip, Path(given).read_text(encoding="utf-8-sig").splitlines())))
        except UnicodeDecodeError as error:
            raise InputError(f"--classnames {given}: not a text in UTF-8 ({error}): save it as such") from error
    elif len(names) == 1 and re.search(r"/|\.\w+$", given):
        raise InputError(f"--classnames {given}: there is no such file; correct the path, or give names with commas")
    if not any(names):
        raise InputError(f"--classnames {given or repr(given)}: no names in it; give some, or leave the flag out")
    return names


def from_arguments(args: argparse.Namespace) -> Any:
    """Return the PromptedCLIP that parsed arguments ask for."""
    from ..inference.prompted_clip import PromptedCLIP
    names = None if args.classnames is None else _classnames(args.classnames)
    return PromptedCLIP.from_checkpoint(args.checkpoint, names, args.backbone, precision=args.precision,
                                        trainer=args.trainer, config_file=args.config_file)


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg classify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(p)
    p.add_argument("images", nargs="+", metavar="PICTURE", help="a picture, or a folder of pictures")
    p.add_argument("--top", type=int, default=2, help="how many classes to print (default: 2)")
    return p


def run(args: argparse.Namespace) -> int:
    """Print the most likely classes of pictures.

    Returns:
        0; 2 where a picture could not be read: all others are classified.
    """
    if args.top < 1:
        raise InputError(f"--top must be at least 1, got {args.top}")
    load_package()
    from ..classifier.model import Classifier
    from ..classifier.pictures import expanded
    pictures = list(expanded(args.images))
    classifier = Classifier(from_arguments(args), Path(args.checkpoint))
    unreadable: list[InputError] = []
    for found in classifier.stream(pictures, args.top, unreadable):
        words = (escape_control_chars(f"{name} {100 * share:.0f} %") for name, share in found)
        print(escape_control_chars(str(found.image)), *words, sep="\t")
    for error in unreadable:
        print_stderr(f"error: {error}")
    return InputError.exit_code if unreadable else 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("classify", main))
