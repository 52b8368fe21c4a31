"""Make the study's pictures from free emoji and icon packages: the embedded datasets and the CLIP's training corpus.

    python benchmarks/study/make_pictures.py --fetch --packages DIR [--corpus corpus.npz]

Writes datasets/emoji_pictures.tar.gz, the glyphs of the datasets' classes as 48x48 WebP with an index of code points,
labels, hands and licences, and datasets/EMOJI_ATTRIBUTION.md; both come out the same to the byte with the pinned
packages, resvg-py 0.5.0 and Pillow. With --corpus, also the pictures and names that train_clip.py needs; they are not
kept in the repository. Needs npm (to fetch) and ``pip install resvg-py==0.5.0``.
"""
import argparse
import gzip
import io
import json
import tarfile
from pathlib import Path

import captions
import emoji as emojis
import numpy as np
import packages
import pictures
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "datasets" / "emoji_pictures.tar.gz"
ATTRIBUTION = ROOT / "datasets" / "EMOJI_ATTRIBUTION.md"
QUALITY = 80  # of the WebP


def webp(pixels: np.ndarray) -> bytes:
    """Encode RGBA pixels uint8 [S, S, 4]."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=QUALITY, method=6)
    return out.getvalue()


def entries(emoji: dict[str, emojis.Emoji], drawn: dict[str, dict[str, str]]) -> list[dict]:
    """Return the index of the embedded glyphs, one entry a picture, in a fixed order."""
    found = []
    held = emojis.held_out(emoji)
    sets = {**pictures.choose(emoji, drawn), "kinds": [code for code in emoji if code in held]}
    for dataset, codes in sets.items():
        for code in codes:
            e = emoji[code]
            for hand in (name for name, h in packages.HANDS.items() if h.role != "clip" and code in drawn[name]):
                found.append({"file": f"{dataset}/{code}/{hand}.webp", "dataset": dataset, "code": code,
                              "label": e.label, "kind": e.kind, "group": e.group, "subgroup": e.subgroup,
                              "hand": hand, "role": packages.HANDS[hand].role,
                              "licence": packages.HANDS[hand].licence})
    return found


def embed(index: list[dict], drawn: dict[str, dict[str, str]], path: Path) -> None:
    """Write the archive: index.json, then the pictures that it lists."""
    members = [("index.json", (json.dumps(index, indent=0, sort_keys=True, ensure_ascii=False) + "\n").encode())]
    for entry in tqdm(index, "embedding", unit="picture", mininterval=2):
        members.append((entry["file"], webp(pictures.rasterize(drawn[entry["hand"]][entry["code"]]))))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)  # time 0, owner 0, mode 644: nothing of this machine
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path.write_bytes(gzip.compress(packed.getvalue(), mtime=0))


def attribution(index: list[dict]) -> str:
    """Return the page that names the artists of the embedded pictures."""
    lines = ["# Emoji pictures: attribution", "",
             "`emoji_pictures.tar.gz` holds drawings of these artists, rasterized to 48x48 and compressed, otherwise "
             "unchanged; `index.json` in it names the artist and licence of each. "
             "`benchmarks/study/make_pictures.py` makes both files from the packages.", "",
             "| name | artist | licence | package | pictures |", "|---|---|---|---|---|"]
    for name, hand in packages.HANDS.items():
        count = sum(entry["hand"] == name for entry in index)
        if count:
            lines.append(f"| {name} | {hand.credit} | {hand.licence} | {hand.package} | {count} |")
    return "\n".join([*lines, "", "Labels and groups: emojibase-data (MIT).", ""])


def corpus(folder: Path, emoji: dict[str, emojis.Emoji], drawn: dict[str, dict[str, str]]) -> dict[str, np.ndarray]:
    """Draw the CLIP's training pictures: the CLIP's hands of all emoji that are not held out, and the icons.

    Returns:
        pixels uint8 [N, 48, 48, 4]; code, name, style: str [N], code "" for icons.
    """
    held = emojis.held_out(emoji)
    rows = [(drawing, code, emoji[code].label, hand.style) for name, hand in packages.HANDS.items()
            if hand.role == "clip" for code, drawing in drawn[name].items() if code not in held]
    icons = {(package, captions.icon_name(name)): (drawing, style) for package, style in packages.ICONS.items()
             for _, name, drawing in reversed(list(packages.drawings(folder, package)))}  # the plainest of a name stays
    known = captions.frequent_words(emoji, [name for _, name in icons])
    rows += [(drawing, "", name, style) for (_, name), (drawing, style) in icons.items()
             if name and len(name.split()) <= captions.MAX_WORDS and known.issuperset(name.split())]
    pixels = np.stack([pictures.rasterize(row[0]) for row in tqdm(rows, "drawing", unit="picture", mininterval=2)])
    kept = pixels[..., 3].reshape(len(rows), -1).mean(1) > 8  # nothing drawn, or a speck
    return {"pixels": pixels[kept], **{key: np.array([row[i] for row in rows])[kept]
                                       for i, key in ((1, "code"), (2, "name"), (3, "style"))}}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder of the unpacked npm packages")
    parser.add_argument("--fetch", action="store_true", help="download what is not in that folder (about 45 MB)")
    parser.add_argument("--corpus", type=Path, help="also write the CLIP's training pictures to this .npz file")
    parser.add_argument("--embedded", type=Path, default=EMBEDDED, help="the archive to write")
    parser.add_argument("--attribution", type=Path, default=ATTRIBUTION)
    args = parser.parse_args(argv)
    if args.fetch:
        packages.fetch(args.packages)
    emoji, by_name = emojis.read(args.packages)
    drawn = {hand: pictures.drawn_by(args.packages, hand, emoji, by_name, set(emoji)) for hand in packages.HANDS}
    index = entries(emoji, drawn)
    embed(index, drawn, args.embedded)
    args.attribution.write_text(attribution(index))
    print(f"{args.embedded}: {len(index)} pictures, {args.embedded.stat().st_size / 1e6:.2f} MB")
    if args.corpus:
        made = corpus(args.packages, emoji, drawn)
        np.savez_compressed(args.corpus, **made)
        print(f"{args.corpus}: {len(made['pixels'])} pictures, {(made['code'] != '').sum()} of emoji")


if __name__ == "__main__":
    main()
