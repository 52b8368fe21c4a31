"""Reads learned context tokens as words: the nearest token embeddings, by Euclidean distance (CoOp, section 4.4)."""
import argparse
import sys
from pathlib import Path

from ..errors import InputError
from ..utils.console import Parser, command, escape_control_chars
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg interpret", description=__doc__)
    p.add_argument("checkpoint", help="a run's output folder, or a checkpoint (…/prompt_learner/model.pth.tar-50), "
                                      "ours or a published implementation's")
    p.add_argument("topk", type=int, nargs="?", default=5, help="words to show for each token (default: 5)")
    p.add_argument("--backbone", default="", help="CLIP it was trained on, where the checkpoint does not say")
    return p


def run(args: argparse.Namespace) -> int:
    """Print the nearest words of each context vector; returns the exit code."""
    load_package()
    from ..clip import load_clip
    from ..config.yaml_text import flatten
    from ..inference.nearest_words import contexts, nearest_words
    from ..training import identity
    from ..training.checkpoint import FOLDERS, find_checkpoint
    from ..training.trained import read_trained
    if args.topk < 1:
        raise InputError(f"TOPK is {args.topk}: ask for at least 1 word")
    path = Path(args.checkpoint)
    if path.is_dir():
        path = find_checkpoint(path, FOLDERS[0])
    if not path.is_file():
        raise InputError(f"{path} is not there: give a run's output folder, or a checkpoint "
                         "(RUN/prompt_learner/model.pth.tar-50, say)")
    trained = read_trained(path)
    found = contexts(trained.state_dict)
    if not found:
        raise InputError(f"{args.checkpoint} has no text context: its prompts are visual alone")
    backbone = args.backbone or flatten(trained.config or {}).get("MODEL.BACKBONE.NAME")
    if not backbone:
        raise InputError(f"{args.checkpoint} does not say which CLIP it was trained on: add --backbone NAME")
    clip = load_clip(str(backbone))
    differs = identity.differences({"weights": clip.fingerprint}, {"weights": trained.identity.get("weights")})
    if differs:
        raise InputError(f"{args.checkpoint} was trained on {differs[0]}: correct --backbone")
    if args.topk > len(clip.text.embedding):
        raise InputError(f"TOPK is {args.topk}: {backbone} knows {len(clip.text.embedding)} words")
    for what, context in found.items():
        if context.shape[-1] != clip.text.width:
            raise InputError(f"{args.checkpoint} has vectors of width {context.shape[-1]}, {backbone} of "
                             f"{clip.text.width}: correct --backbone")
        number, names = int(what[6:]) if what.startswith("class ") else None, trained.classnames or ()
        name = names[number] if number is not None and number < len(names) else None
        print(escape_control_chars(f"{what} ({name})" if name else what) + f": {len(context)} vectors")
        for i, words in enumerate(nearest_words(clip, context, args.topk), 1):
            print(f"{i}: " + "  ".join(f"{escape_control_chars(word)} ({distance:.4f})" for word, distance in words))
    return 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("interpret", main))
