"""Which emoji there are, what they are called, and what each is for: training the CLIP, or one of the datasets.

Skin tones, hair and genders of one emoji are near-duplicates, so the neutral one is kept. Keycaps, flags, letters and
parts of pictures are left out.
"""
import hashlib
from pathlib import Path
from typing import NamedTuple

import packages

LEFT_OUT = {"keycap", "country-flag", "subdivision-flag", "flag", "skin-tone", "hair-style", "alphanum", "geometric",
            "punctuation", "currency", "gender", "math", "person-symbol", "other-symbol", "family"}
# Kinds: the word of a class, and the Unicode subgroups that it is made of.
KINDS = {
    "mammal": ("animal-mammal",), "bird": ("animal-bird",), "sea animal": ("animal-marine",),
    "insect": ("animal-bug",), "flower": ("plant-flower",), "plant": ("plant-other",), "fruit": ("food-fruit",),
    "vegetable": ("food-vegetable",), "meal": ("food-prepared",), "asian food": ("food-asian",),
    "sweet": ("food-sweet",), "drink": ("drink",), "building": ("place-building",), "vehicle": ("transport-ground",),
    "aircraft": ("transport-air",), "clock": ("time",), "weather": ("sky-weather",), "celebration": ("event",),
    "sport": ("sport",), "clothing": ("clothing",), "musical instrument": ("musical-instrument",),
    "book": ("book-paper",), "money": ("money",), "office supply": ("office", "writing"), "tool": ("tool",),
    "household item": ("household",), "heart": ("heart",), "hand": ("hand-fingers-open", "hand-fingers-partial",
                                                                     "hand-single-finger", "hand-fingers-closed"),
    "face": ("face-smiling", "face-affection", "face-neutral-skeptical", "face-concerned", "face-unwell"),
    "worker": ("person-role",),
}
HELD_OUT = 0.4  # of each kind: emoji that the CLIP never sees, from any hand


class Emoji(NamedTuple):
    """One emoji: its code points in hexadecimal, English label, tags, Unicode group and subgroup."""
    code: str
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: str

    @property
    def kind(self) -> str | None:
        """The class of EmojiKinds that it belongs to."""
        return next((kind for kind, subgroups in KINDS.items() if self.subgroup in subgroups), None)


def normalize(code: str) -> str:
    """Return code points as keys: lower case, without the presentation selector."""
    return "-".join(part for part in code.lower().replace("_", "-").split("-") if part != "fe0f")


def fraction(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2 ** 48


def read(folder: Path) -> tuple[dict[str, Emoji], dict[str, str]]:
    """Read the emoji that are pictures.

    Args:
        folder: where the packages are unpacked.

    Returns:
        {code: Emoji} in Unicode's order, and {name without separators: code} of labels and short names.
    """
    names = packages.read_json(folder, packages.EMOJIBASE, "meta/groups.json")
    shortcodes = [packages.read_json(folder, packages.EMOJIBASE, f"en/shortcodes/{name}.json")
                  for name in ("cldr", "emojibase", "github", "iamcal", "joypixels")]
    found, by_name = {}, {}
    data = packages.read_json(folder, packages.EMOJIBASE, "en/data.json")
    for entry in sorted((e for e in data if "subgroup" in e), key=lambda e: e["order"]):
        subgroup = names["subgroups"][str(entry["subgroup"])]
        if subgroup in LEFT_OUT or "gender" in entry and entry["gender"] is not None:
            continue
        code = normalize(entry["hexcode"])
        found[code] = Emoji(code, entry["label"], tuple(entry.get("tags", ())), names["groups"][str(entry["group"])],
                            subgroup)
        short = [table.get(entry["hexcode"], []) for table in shortcodes]
        for name in [entry["label"], *(n for s in short for n in ([s] if isinstance(s, str) else s))]:
            by_name.setdefault(packages.slug(name), code)
    return found, by_name


def held_out(emoji: dict[str, Emoji]) -> set[str]:
    """Return the codes of EmojiKinds: the same share of each kind, by a hash of the code points."""
    chosen = set()
    for kind in KINDS:
        members = sorted((e.code for e in emoji.values() if e.kind == kind), key=fraction)
        chosen.update(members[:round(HELD_OUT * len(members))])
    return chosen
