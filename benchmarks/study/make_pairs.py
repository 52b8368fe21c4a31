"""Write the study's corpus of captioned pictures as webdataset shards, for GRAM's meta-training.

    python benchmarks/study/make_pairs.py --fetch --packages DIR --out pairs

The pictures are those that the study's CLIP was trained on: emoji by six sets of artists and icons, none of them by the
hands of the datasets. A pair's key is its number; its caption is one of those that the CLIP's training writes. The same
packages give the same bytes. Needs what make_pictures.py needs.
"""
import argparse
import io
import tarfile
from pathlib import Path

import captions
import emoji as emojis
import make_pictures
import numpy as np
import packages
import pictures
from PIL import Image

SHARD = 10_000  # pairs
SEED = 5


def texts(made: dict[str, np.ndarray], emoji: dict[str, emojis.Emoji]) -> list[str]:
    """Return one caption a picture."""
    rng = np.random.default_rng(SEED)
    known = captions.frequent_words(emoji, [n for c, n in zip(made["code"], made["name"], strict=True) if not c])
    found = []
    for code, name, style in zip(made["code"], made["name"], made["style"], strict=True):
        names, sorts = captions.phrases(emoji.get(str(code)), str(name), known)
        found.append(captions.caption(names, sorts, str(style), rng)[0])
    return found


def on_white(pixels: np.ndarray) -> bytes:
    """Return RGBA pixels uint8 [S, S, 4] over white, as a PNG."""
    image, out = Image.fromarray(pixels), io.BytesIO()
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    canvas.convert("RGB").save(out, "PNG")
    return out.getvalue()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder of the unpacked npm packages")
    parser.add_argument("--fetch", action="store_true", help="download what is not in that folder (about 45 MB)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    args = parser.parse_args(argv)
    if args.fetch:
        packages.fetch(args.packages)
    emoji, by_name = emojis.read(args.packages)
    hands = [name for name, hand in packages.HANDS.items() if hand.role == "clip"]
    drawn = {hand: {} for hand in packages.HANDS} | {
        hand: pictures.drawn_by(args.packages, hand, emoji, by_name, set(emoji)) for hand in hands}
    made = make_pictures.corpus(args.packages, emoji, drawn)
    order = np.random.default_rng(SEED).permutation(len(made["name"]))
    made = {key: value[order] for key, value in made.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    said = texts(made, emoji)
    for first in range(0, len(said), SHARD):
        with tarfile.open(args.out / f"{first // SHARD:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as shard:
            for i in range(first, min(first + SHARD, len(said))):
                for suffix, data in (("png", on_white(made["pixels"][i])), ("txt", said[i].encode())):
                    member = tarfile.TarInfo(f"{i:06d}.{suffix}")
                    member.size = len(data)
                    shard.addfile(member, io.BytesIO(data))
    print(f"{args.out}: {len(said)} pairs")


if __name__ == "__main__":
    main()
