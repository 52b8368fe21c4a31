"""Trains a classifier on a folder of pictures, or on a CSV that names them.

    promptreg fit photos/ --shots 16
    promptreg classify runs/photos new.jpg

photos/CLASS/*.jpg, or photos/{train,val,test}/CLASS/*.jpg, or a CSV with the columns path and class (and split, if
wanted). Without given splits a class is split 50/20/30 into training, validation and test images.
"""
import argparse
import shlex
import sys

from ..utils.console import Parser, command, print_stderr
from ..utils.startup import load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg fit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("images", help="folder of class folders, or a CSV, or a folder that holds one")
    p.add_argument("--shots", type=int, default=16, help="training images a class, -1 for all (default: 16)")
    p.add_argument("--method", default="PromptSRC", help="a method, or METHOD/CONFIG (promptreg ls methods)")
    p.add_argument("--backbone", help="CLIP: a name (promptreg ls weights), a file, or demo (default: "
                                      "$PROMPTREG_BACKBONE, else ViT-B/16)")
    p.add_argument("--output", "--output-dir", help="the run's folder (default: runs/NAME of the pictures' folder)")
    p.add_argument("--template", help='words that the prompts start from: "a satellite photo of {}."')
    p.add_argument("--epochs", type=int, help="how often each training image is seen (default: the config's)")
    p.add_argument("--seed", type=int, default=1, help="of all random draws (default: 1)")
    p.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="config keys and their values")
    return p


def run(args: argparse.Namespace) -> int:
    """Train, write the page, and print the figures; returns the exit code."""
    load_package()
    from ..classifier.fit import fit, summary
    from ..errors import Interrupted
    from ..training.input_checks import NEVER_SEEN
    try:
        made = fit(**vars(args))
    except (Interrupted, KeyboardInterrupt) as stop:
        print_stderr(f"{str(stop) or 'interrupted'}; the same command goes on from there")
        return getattr(stop, "exit_code", 130)
    print(summary(made.folder or ""))
    for text in made.notes:
        print_stderr(f"note: {text}")
    if any(NEVER_SEEN in text for text in made.notes):
        print_stderr(f"these pictures want another CLIP: promptreg fit {shlex.quote(args.images)} --shots {args.shots} "
                     f"--backbone ViT-B/16 --output {shlex.quote(f'{made.folder}-vit')}")
    print(f"next: promptreg classify {shlex.quote(str(made.folder))} new.jpg")
    return 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
