"""GRAM's meta-training: promptreg gram meta-train CORPUS METHOD, evaluate, report FOLDER…, browse HIERARCHY"""
import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from ..errors import InputError
from ..utils.console import Parser, command
from ..utils.paths import SCRIPTS
from . import gram_browse, gram_report

METHODS = ("coop", "cocoop", "vpt", "unigram")


def meta_train_parser() -> Parser:
    """Return the parser of ``gram meta-train``."""
    p = Parser(prog="promptreg gram meta-train",
               description="Learn a start and a regulating function from image-text pairs.")
    p.add_argument("corpus", help="demo, a .tsv of path and caption, a folder of images with .txt captions, or "
                                  "webdataset .tar shards")
    p.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    return _with_common_flags(p)


def _with_common_flags(p: Parser) -> Parser:
    """Add what follows the corpus, and the flags that all parts which run the script have; returns the parser."""
    p.add_argument("prompts", metavar="METHOD", choices=METHODS, help=f"whose prompts: {', '.join(METHODS)}")
    p.add_argument("--config", help="configs/trainers/GRAM/CONFIG.yaml (default: demo for demo, else vit_b16)")
    p.add_argument("--processes", type=int, help="under torchrun (default: one per GPU, else two on two cores)")
    p.add_argument("--root", help="folder of the datasets (default: $DATA or data)")
    p.add_argument("--output", help="folder of the results (default: $OUTPUT or output)")
    p.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs that win over the config")
    return p


def meta_train(args: argparse.Namespace) -> int:
    """Run the script; returns its exit code."""
    return _script(args, " ".join(map(str, args.seeds)), args.output, args.opts)


def evaluate_parser() -> Parser:
    """Return the parser of ``gram evaluate``."""
    p = Parser(prog="promptreg gram evaluate",
               description="The fair report of a meta-trained file: on a corpus's held-out domains, with controls.")
    p.add_argument("file", help="meta.safetensors")
    p.add_argument("corpus", help="as for meta-train; that which the file was made from, or another")
    return _with_common_flags(p)


def evaluate(args: argparse.Namespace) -> int:
    """Run the script without learning anything; returns its exit code.

    Raises:
        InputError: there is no such file.
    """
    path = Path(args.file)
    if not path.is_file():
        raise InputError(f"there is no meta-trained file {path}: promptreg gram meta-train makes one")
    key = hashlib.blake2b(path.read_bytes(), digest_size=4).hexdigest()
    folder = Path(args.output or os.environ.get("OUTPUT") or "output") / "evaluated" / key
    return _script(args, "1", str(folder), ["TRAINER.GRAM.META", str(path.resolve()), *args.opts])


def _script(args: argparse.Namespace, seeds: str, output: str | None, opts: list[str]) -> int:
    given = {"SEEDS": seeds, "CFG": args.config, "PROCESSES": args.processes, "DATA": args.root, "OUTPUT": output}
    environment = {name: str(value) for name, value in given.items() if value}
    command = ["bash", str(SCRIPTS / "gram" / "meta_train.sh"), args.corpus, args.prompts]
    return subprocess.run(command + (["--", *opts] if opts else []),
                          env={**os.environ, "PYTHON": sys.executable, **environment}).returncode


PARTS = {"meta-train": (meta_train_parser, meta_train, "meta-train from image-text pairs"),
         "evaluate": (evaluate_parser, evaluate, "the fair report of a meta-trained file"),
         "report": (gram_report.parser, gram_report.run, "the report on held-out domains of several seeds"),
         "browse": (gram_browse.parser, gram_browse.run, "one page of a hierarchy of domains and pseudo-classes")}


def parser() -> Parser:
    """Return the parser of the command, which takes the part's name; it needs no torch."""
    p = Parser(prog="promptreg gram", description=(__doc__ or "").partition(":")[0])
    parts = p.add_subparsers(dest="part", required=True, metavar="|".join(PARTS))
    for name, (made, act, summary) in PARTS.items():
        parts.add_parser(name, parents=[made()], add_help=False, help=summary,
                         description=summary).set_defaults(act=act)
    return p


def run(args: argparse.Namespace) -> int:
    """Do the part; returns the exit code."""
    return args.act(args)


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
