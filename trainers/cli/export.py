"""promptreg export CHECKPOINT FILE: trained prompts as plain data, or the classifier as an ONNX model.

FILE.safetensors holds the prompts, the text features [C, E] and, as metadata, method, config and class names: all that
``PromptedCLIP.from_checkpoint`` needs besides CLIP's weights. FILE.onnx maps images [B, 3, S, S] to logits [B, C]. With
--published FILE is a folder, and the checkpoint goes there as the method's published implementation names and reads it.
"""
import argparse
import sys
from pathlib import Path

from ..errors import InputError
from ..utils.console import Parser, command
from ..utils.startup import as_module, load_package
from .classify import add_arguments, from_arguments


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg export", description=(__doc__ or "").split(": ", 1)[1],
               formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(p)
    p.add_argument("file", type=Path, help="what to write: FILE.safetensors, FILE.onnx, or a folder")
    p.add_argument("--published", action="store_true",
                   help="write the checkpoint as the method's published implementation reads it")
    return p


def run(args: argparse.Namespace) -> int:
    """Write the file; returns the exit code."""
    load_package()
    from ..inference.export import FORMATS, to_published
    if args.published:
        print(to_published(args.checkpoint, args.file, args.trainer))
        return 0
    if args.file.suffix not in FORMATS:
        raise InputError(f"{args.file}: give a name that ends in {' or '.join(FORMATS)}")
    model = from_arguments(args)
    FORMATS[args.file.suffix](model, args.file)
    print(f"{args.file}: {type(model.method).__name__}, {len(model.classnames)} classes")
    return 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("export", main))
