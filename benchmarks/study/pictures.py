"""Rasterizes the packages' drawings, and says which emoji make up which dataset."""
import io
from pathlib import Path
from typing import NamedTuple

import emoji as emojis
import numpy as np
import packages
from PIL import Image

SIZE = 48  # pixels a side
CLASSES = 30  # of a dataset of things; EmojiThings has more
THINGS = {  # dataset: the Unicode groups and subgroups (of no group above) that its classes come from
    "animals": ("animals-nature",), "food": ("food-drink",), "travel": ("travel-places",),
    "activities": ("activities", "music", "musical-instrument", "person-sport", "event"),
    "objects": ("objects",), "signs": ("symbols",), "people": ("smileys-emotion", "people-body")}
SOURCE_CLASSES = 100
SKIPPED_SUBGROUPS = {"time", "person-sport", "hands", "arrow"}  # clocks differ in the hands' angle alone, and so on
CLIP_HANDS = 3  # colored drawings of an emoji that the CLIP must have met for it to be a class


class Drawing(NamedTuple):
    """One emoji by one hand, or an icon: pixels uint8 [48, 48, 4], RGBA not premultiplied."""
    pixels: np.ndarray
    hand: str
    code: str  # "" of an icon
    name: str  # an icon's, with spaces; an emoji's label


def rasterize(drawing: str) -> np.ndarray:
    """Draw an SVG text, or read a picture file, as RGBA pixels uint8 [48, 48, 4], centered, aspect kept."""
    import resvg_py
    if drawing.startswith("<svg"):
        drawn = resvg_py.svg_to_bytes(svg_string=drawing.replace("currentColor", "#000"), width=SIZE, height=SIZE)
        image = Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")
    else:
        image = Image.open(drawing).convert("RGBA")
        image.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    if image.size != (SIZE, SIZE):
        canvas = Image.new("RGBA", (SIZE, SIZE))
        canvas.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
        image = canvas
    return np.asarray(image)


def drawn_by(folder: Path, hand: str, emoji: dict[str, emojis.Emoji], by_name: dict[str, str],
             wanted: set[str]) -> dict[str, str]:
    """Return {code: SVG text or path} of the wanted emoji by one hand; the first name that fits is taken."""
    found: dict[str, str] = {}
    for code, name, drawing in packages.drawings(folder, packages.HANDS[hand].package):
        key = emojis.normalize(code) if code else by_name.get(packages.slug(name), "")
        if key in emoji and key in wanted:
            found.setdefault(key, drawing)
    return found


def choose(emoji: dict[str, emojis.Emoji], drawn: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Choose the classes of the datasets of things.

    A class is an emoji that no kind holds out, that each hand of the datasets has drawn and at least three colored
    hands of the CLIP's. The order is by a hash of the code points. Two names of a dataset never share all words of one.

    Args:
        emoji: {code: Emoji}.
        drawn: {hand: {code: drawing}}.

    Returns:
        {dataset: [code, ...]}, "things" the source dataset last; no emoji is in two.
    """
    held = emojis.held_out(emoji)
    hands = packages.HANDS
    colored = [drawn[name] for name, hand in hands.items() if hand.role == "clip" and hand.style == "colored"]
    free = {code: e for code, e in emoji.items() if code not in held and e.subgroup not in SKIPPED_SUBGROUPS
            and all(code in drawn[name] for name, hand in hands.items() if hand.role != "clip")
            and sum(code in of for of in colored) >= CLIP_HANDS
            and e.label.replace(" ", "").replace("-", "").isalpha() and len(e.label.split()) <= 3}
    chosen: dict[str, list[str]] = {}
    for dataset, groups in [*THINGS.items(), ("things", tuple(g for gs in THINGS.values() for g in gs))]:
        taken = {code for codes in chosen.values() for code in codes}
        codes: list[str] = []
        words: list[set[str]] = []
        for code in sorted(free, key=emojis.fraction):
            e = free[code]
            mine = {w for w in e.label.lower().replace("-", " ").split() if w != "face"}
            if (e.group not in groups and e.subgroup not in groups) or code in taken or not mine:
                continue
            if dataset == "objects" and e.subgroup in THINGS["activities"]:
                continue
            if any(mine <= other or other <= mine for other in words):
                continue
            codes.append(code)
            words.append(mine)
            if len(codes) == (SOURCE_CLASSES if dataset == "things" else CLASSES):
                break
        chosen[dataset] = codes
    return chosen
