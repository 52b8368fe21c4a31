"""Classify images with trained prompts: promptreg classify CHECKPOINT IMAGE…"""
import os
import re
import sys
from pathlib import Path

from ..errors import InputError
from ..utils.console import Parser, cli_errors, escape_control_chars
from ..utils.startup import as_module, load_package


def add_arguments(parser):
    """Add to a parser what ``from_arguments`` reads."""
    parser.add_argument("checkpoint", help="a checkpoint, a run's output folder, or an exported .safetensors file")
    parser.add_argument("--classnames", help="the classes, separated by commas, or a text file with one a line "
                                             "(default: the training's)")
    parser.add_argument("--backbone", help="name or file of CLIP's weights (default: the run's)")
    parser.add_argument("--precision", help="fp32, fp16, amp or bf16 (default: the run's)")
    parser.add_argument("--trainer", help="the method, for published checkpoints")
    parser.add_argument("--config-file", help="its config, for published checkpoints")


def _classnames(given):
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


def from_arguments(args):
    """Return the PromptedCLIP that parsed arguments ask for."""
    from ..inference.prompted_clip import PromptedCLIP
    names = None if args.classnames is None else _classnames(args.classnames)
    return PromptedCLIP.from_checkpoint(args.checkpoint, names, args.backbone, precision=args.precision,
                                        trainer=args.trainer, config_file=args.config_file)


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg classify", description="Classify images with trained prompts.")
    add_arguments(p)
    p.add_argument("images", nargs="+", metavar="IMAGE")
    p.add_argument("--top", type=int, default=1, help="how many classes to print")
    return p


def run(args) -> int:
    """Print the most likely classes of images; returns the exit code."""
    if args.top < 1:
        raise InputError(f"--top {args.top}: ask for at least 1 class")
    load_package()
    model = from_arguments(args)
    for path in args.images:
        best, = model.classify(path, args.top)
        words = (escape_control_chars(f"{name} {100 * p:.1f}%") for name, p in best)
        print(escape_control_chars(path), *words, sep="\t")
    return 0


@cli_errors
def main(argv=None) -> int:
    """Run the command line; returns the exit code."""
    return run(parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(as_module("classify", main))
