"""Fetches CLIP weights, on the user's own command and never otherwise: promptreg weights ViT-B/16 …"""
import argparse
import sys

from ..errors import InputError, SetupError
from ..utils.console import Parser, command
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg weights", description="Fetch CLIP weights into the usual cache.")
    p.add_argument("names", nargs="+", metavar="NAME",
                   help="one of CoOp's names (promptreg ls weights), or open_clip's ARCH:PRETRAINED")
    return p


def run(args: argparse.Namespace) -> int:
    """Fetch what is named; returns the exit code."""
    load_package()
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    from ..clip.weights import EMBEDDED, is_file_name, locate, split_name
    for name in args.names:
        if name in EMBEDDED:
            print(f"{name}: nothing to fetch, it is part of this package: {locate(name)}")
            continue
        if is_file_name(name):
            raise InputError(f"NAME {name} is no published model but a file: there is nothing to fetch, give it to "
                             "--backbone as it is")
        arch, tag = split_name(name, fetching=True)
        source = get_pretrained_cfg(arch, tag)
        try:
            download_pretrained(source, prefer_hf_hub=not source.get("url"))
        except Exception as error:  # of the network, of the hub's client, of the disk
            raise SetupError(f"{name} could not be fetched ({' '.join(str(error).split())[:200]}): check the "
                             "connection and run the same command again") from error
        print(f"{name}: {locate(name)}")
    return 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(as_module("weights", main))
