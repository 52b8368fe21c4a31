"""The free packages that the study's pictures come from: pinned versions, licences, drawings by code point or name.

Every package is fetched by ``python benchmarks/study/make_pictures.py --fetch`` (npm pack) and never by anything else.
"""
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
EMOJIBASE = "emojibase-data@17.0.0"  # MIT: labels, tags, Unicode groups, short names


class Hand(NamedTuple):
    """One artist's emoji: `hand` describes the style in captions, `role` is clip (trains the CLIP), train or test."""
    package: str
    licence: str
    credit: str
    style: str
    role: str


HANDS = {
    "noto": Hand("@iconify-json/noto@1.2.9", "Apache-2.0", "Noto Emoji, Google", "colored", "clip"),
    "noto-v1": Hand("@iconify-json/noto-v1@1.2.5", "Apache-2.0", "Noto Emoji 1, Google", "colored", "clip"),
    "emojione": Hand("@iconify-json/emojione@1.2.3", "CC-BY-4.0", "Emoji One (EmojiTwo)", "colored", "clip"),
    "emojione-monotone": Hand("@iconify-json/emojione-monotone@1.2.1", "CC-BY-4.0", "Emoji One (EmojiTwo)", "line",
                              "clip"),
    "fxemoji": Hand("@iconify-json/fxemoji@1.2.2", "Apache-2.0", "FxEmojis, Mozilla", "colored", "clip"),
    "streamline": Hand("@iconify-json/streamline-emojis@1.2.4", "CC-BY-4.0", "Streamline Emojis, Webalys", "colored",
                       "clip"),
    "fluent-3d": Hand("@lobehub/fluent-emoji-3d@1.1.0", "MIT", "Fluent Emoji, Microsoft (package by LobeHub)",
                      "three-dimensional", "train"),
    "fluent-line": Hand("@iconify-json/fluent-emoji-high-contrast@1.2.6", "MIT", "Fluent Emoji, Microsoft", "line",
                        "train"),
    "fluent-flat": Hand("@iconify-json/fluent-emoji-flat@1.2.6", "MIT", "Fluent Emoji, Microsoft", "flat", "test"),
    "twemoji": Hand("@iconify-json/twemoji@1.2.5", "CC-BY-4.0", "Twemoji, Twitter and jdecked", "flat", "test"),
}
ICONS = {  # pictures with names for the CLIP's training alone: style of their captions
    "@iconify-json/mdi@1.2.3": "line", "@iconify-json/game-icons@1.2.4": "line", "@iconify-json/tabler@1.2.41": "line",
    "@iconify-json/icon-park@1.2.4": "line", "@iconify-json/flat-color-icons@1.2.3": "colored",
    "@iconify-json/streamline-kameleon-color@1.2.2": "colored",
    "@iconify-json/streamline-ultimate-color@1.2.2": "colored",
    "@iconify-json/streamline-plump-color@1.2.2": "colored",
    "@iconify-json/streamline-freehand-color@1.2.2": "colored",
}


def fetch(folder: Path) -> None:
    """Download and unpack every package into `folder` by ``npm pack``; those that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in [EMOJIBASE, *(hand.package for hand in HANDS.values()), *ICONS]:
        target = unpacked(folder, package)
        if target.is_dir():
            continue
        done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"npm pack {package} failed: {done.stderr.strip()[-300:]}")
        with tarfile.open(folder / done.stdout.split()[-1]) as archive:
            archive.extractall(target, filter="data")


def unpacked(folder: Path, package: str) -> Path:
    """Return the folder that a package is unpacked into."""
    return folder / package.lstrip("@").replace("/", "-").replace("@", "-")


def read_json(folder: Path, package: str, name: str) -> dict:
    """Return a JSON file of a package, {} where the package has none of that name."""
    path = unpacked(folder, package) / "package" / name
    return json.loads(path.read_text("utf8")) if path.exists() else {}


def slug(text: str) -> str:
    """Return a name as packages write it in file names, without separators: "bow and arrow" -> "bowandarrow"."""
    return re.sub(r"[^a-z0-9]+", "", text.lower().replace("’", "").replace("'", ""))


def drawings(folder: Path, package: str) -> Iterator[tuple[str, str, str]]:
    """Yield (code points or "", name, SVG text or path of a picture file) of each icon of a package."""
    assets = unpacked(folder, package) / "package" / "assets"
    if assets.is_dir():
        for path in sorted(assets.glob("*.webp")):
            yield path.stem, "", str(path)
        return
    icons = read_json(folder, package, "icons.json")
    codes: dict[str, list[str]] = {}
    for code, name in read_json(folder, package, "chars.json").items():
        codes.setdefault(name, []).append(code)
    parents = {name: alias["parent"] for name, alias in icons.get("aliases", {}).items()
               if set(alias) == {"parent"}}  # one that turns or mirrors is another picture
    for name in [*icons["icons"], *parents]:
        icon = icons["icons"].get(parents.get(name, name))
        if icon is None:
            continue
        width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        svg = f'<svg {NAMESPACES} viewBox="{box}">{icon["body"]}</svg>'
        for code in codes.get(name) or [""]:
            yield code, name, svg
