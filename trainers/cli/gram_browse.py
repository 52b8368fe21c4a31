"""One HTML page of a hierarchy: promptreg gram browse HIERARCHY [--out PAGE]

Domains, their pseudo-classes with sample images and captions, sizes and agreement: how many of a cluster's pairs have
an image that lies nearest to the same cluster's images.
"""
import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..utils import atomic
from ..utils.console import Parser, command
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg gram browse", description=__doc__.splitlines()[0])
    p.add_argument("hierarchy", help="a .tree file, as meta-training leaves it beside the features")
    p.add_argument("--out", help="the page; default: the hierarchy's name with .html")
    p.add_argument("--samples", type=int, default=6, help="pairs shown of each pseudo-class")
    p.add_argument("--held-out", type=float, metavar="SHARE",
                   help="TRAINER.GRAM.HELD_OUT of the meta-training, to mark its held-out domains; default: that key's")
    return p


def run(args: argparse.Namespace) -> int:
    """Write the page; returns the exit code."""
    if args.held_out is not None and not 0 <= args.held_out < 1:
        raise InputError(f"--held-out must be at least 0 and below 1, got {args.held_out:g}")
    load_package()
    from ..meta import hierarchy, hierarchy_page
    from ..meta.features import Features
    tree = hierarchy.read_hierarchy(args.hierarchy)
    if not hierarchy_page.sound(tree):
        raise InputError(f"{args.hierarchy} is a damaged hierarchy: delete it and run meta-training again")
    folder = Path(args.hierarchy).parent
    if not (folder / "done.json").exists():
        raise InputError(f"{args.hierarchy} no longer lies beside its features: put it back")
    features = Features(folder, tree.about["root"])
    if len(features) != len(tree.domain) or features.digest != tree.about["corpus"]:
        raise InputError(f"{args.hierarchy} was made from other features than lie beside it: "
                         "run meta-training again")
    out = Path(args.out or Path(args.hierarchy).with_suffix(".html"))
    text = hierarchy_page.page(tree, features, min(max(args.samples, 1), 1000), *held_out(tree, args.held_out))
    atomic.write_file(out, text.encode())
    print(out)
    return 0


def held_out(tree: Any, share: float) -> tuple[list[int], str]:
    """Return (numbers of the held-out domains, in words by which share); none where meta-training could not split."""
    from ..config.defaults import defaults_of
    from ..meta import hierarchy, options  # noqa: F401  the latter declares TRAINER.GRAM
    words = "the share TRAINER.GRAM.HELD_OUT, by default" if share is None else "--held-out"
    share = defaults_of("GRAM")["HELD_OUT"] if share is None else share
    try:
        return hierarchy.held_out(tree, share)[0], f"{words} {share:g}."
    except InputError:
        return [], ""


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("gram browse", main))
