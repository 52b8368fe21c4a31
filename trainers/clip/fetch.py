"""Fetches CLIP weights, on the user's own command and never otherwise: python -m trainers.clip.fetch ViT-B/16 …"""
import argparse
import sys

from open_clip.pretrained import download_pretrained, get_pretrained_cfg

from ..errors import PromptRegError
from .weights import COOP_NAMES, locate, split_name


def main(argv=None):
    parser = argparse.ArgumentParser(description="Fetch CLIP weights into the usual cache.")
    parser.add_argument("names", nargs="+", metavar="NAME",
                        help=f"{', '.join(COOP_NAMES)}, or open_clip's ARCH:PRETRAINED")
    for name in parser.parse_args(argv).names:
        try:
            arch, tag = split_name(name)
            source = get_pretrained_cfg(arch, tag)
            download_pretrained(source, prefer_hf_hub=not source.get("url"))
            print(f"{name}: {locate(name)}")
        except PromptRegError as error:
            sys.exit(f"error: {error}")
        except Exception as error:
            sys.exit(f"error: {name} could not be fetched ({error}): check the connection and run the same command "
                     "again")


if __name__ == "__main__":
    main()
