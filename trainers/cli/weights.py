"""Fetches CLIP weights, on the user's own command and never otherwise: python -m trainers.cli.weights ViT-B/16 …"""
import sys

from open_clip.pretrained import download_pretrained, get_pretrained_cfg

from ..clip.weights import COOP_NAMES, is_file_name, locate, split_name
from ..errors import InputError, SetupError
from ..utils.console import Parser, cli_errors


@cli_errors
def main(argv=None):
    """Fetch what is named; returns the exit code."""
    parser = Parser(description="Fetch CLIP weights into the usual cache.")
    parser.add_argument("names", nargs="+", metavar="NAME",
                        help=f"{', '.join(COOP_NAMES)}, or open_clip's ARCH:PRETRAINED")
    for name in parser.parse_args(argv).names:
        if name == "demo":
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


if __name__ == "__main__":
    sys.exit(main())
