"""Emoji by several artists: small datasets of real drawings that come with this package, for studies on a laptop.

*Things* (EmojiAnimals ... EmojiPeople, EmojiThings): a class is an emoji; the study's CLIP knows it from other artists'
drawings. Split by artist: training pictures are by two hands, test pictures by two others. *Kinds* (EmojiKinds): a
class is a Unicode subgroup; split by emoji, none of which the study's CLIP has seen. EmojiThings is the source of
domain generalization: trained on one hand; EmojiThingsFlat and EmojiThingsLine have the same classes by others.

A glyph becomes several pictures: turned, scaled and shifted on a light background, all drawn from a hash of its name.
ATTRIBUTION: EMOJI_ATTRIBUTION.md beside this file. ``benchmarks/study/make_pictures.py`` makes the glyphs' archive.
"""
import functools
import hashlib
import io
import json
import os
import random
import re
import tarfile
from pathlib import Path
from typing import Any

from .base import register
from .made import MadeDataset
from .splits import Item, Splits

ARCHIVE = Path(__file__).parent / "emoji_pictures.tar.gz"
SIZE = 48  # pixels a side
TURN, SCALE, SHIFT = 15, (0.72, 1.0), 5  # degrees, of the glyph's size, pixels at most
VAL_EVERY = 4  # of a training glyph's pictures, one of so many is validation
TEST_SHARE = 0.4  # of each kind's emoji


@functools.cache
def glyphs() -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Return the archive's index, and its WebP files by name."""
    with tarfile.open(ARCHIVE) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    return json.loads(files.pop("index.json")), files


def compose(webp: bytes, name: str):
    """Draw one picture of a glyph: a PIL image, RGB, 48x48, that follows from the glyph and the name alone."""
    from PIL import Image

    rng = random.Random(hashlib.sha256(name.encode()).digest())
    glyph = Image.open(io.BytesIO(webp)).convert("RGBa")  # premultiplied: no fringes of transparent pixels' colors
    size = round(SIZE * rng.uniform(*SCALE))
    glyph = glyph.resize((size, size), Image.Resampling.LANCZOS).convert("RGBA")
    glyph = glyph.rotate(rng.uniform(-TURN, TURN), Image.Resampling.BICUBIC)
    light = tuple(rng.randrange(170, 256) for _ in range(3))
    picture = Image.new("RGBA", (SIZE, SIZE), (*(light if rng.random() < 0.7 else (255, 255, 255)), 255))
    room = max(0, (SIZE - size) // 2)
    reach = min(SHIFT, room)
    at = room + rng.randint(-reach, reach), room + rng.randint(-reach, reach)
    picture.alpha_composite(glyph, at)
    return picture.convert("RGB")


class EmojiDataset(MadeDataset):
    """Pictures of one set of the archive, named ``CLASS/CODE_HAND_0.png``."""

    set_name = ""       # in the archive's index
    train_hands = ("fluent-3d", "fluent-line")
    test_hands = ("twemoji", "fluent-flat")
    train_pictures, test_pictures = 11, 6  # of a glyph
    published = {"train": 480, "val": 180, "test": 360, "classes": 30}

    @classmethod
    def entries(cls) -> list[dict[str, Any]]:
        """Return the index's entries of this dataset."""
        hands = {*cls.train_hands, *cls.test_hands}
        return [entry for entry in glyphs()[0] if entry["dataset"] == cls.set_name and entry["hand"] in hands]

    @classmethod
    def class_of(cls, entry: dict[str, Any]) -> str:
        """Return the class name of an entry."""
        return entry["label"]

    @classmethod
    def is_test(cls, entry: dict[str, Any]) -> bool:
        """Return whether an entry's pictures are for testing."""
        return entry["hand"] in cls.test_hands

    @classmethod
    def names(cls, entry: dict[str, Any]) -> list[str]:
        """Return the names of the pictures of an entry's glyph."""
        count = cls.test_pictures if cls.is_test(entry) else cls.train_pictures
        return [f"{entry['code']}_{entry['hand']}_{number}.png" for number in range(count)]

    def write_images(self, folder: str) -> None:
        """Write every picture as a PNG file."""
        files = glyphs()[1]
        for entry in self.entries():
            place = os.path.join(folder, self.class_of(entry).replace(" ", "_"))
            os.makedirs(place, exist_ok=True)
            for name in self.names(entry):
                compose(files[entry["file"]], name).save(os.path.join(place, name))

    def read(self) -> Splits:
        """Return the fixed split; labels follow the class names' order."""
        classes = sorted({self.class_of(entry) for entry in self.entries()})
        train, val, test = [], [], []
        for entry in self.entries():
            name = self.class_of(entry)
            items = [Item(f"{name.replace(' ', '_')}/{file}", classes.index(name), name) for file in self.names(entry)]
            if self.is_test(entry):
                test += items
            else:
                val += items[::VAL_EVERY]
                train += [item for number, item in enumerate(items) if number % VAL_EVERY]
        if self.test_only:
            train = test
        return Splits(*(sorted(items, key=lambda item: (item.label, item.path)) for items in (train, val, test)))


def _folder(name: str) -> str:
    """Return the folder of a dataset: EmojiThingsFlat is emoji_things_flat."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _thing(name: str, set_name: str, about: str, **more: Any) -> type[EmojiDataset]:
    """Define and register a dataset of things."""
    return register(type(name, (EmojiDataset,), {"__doc__": about, "__module__": __name__, "set_name": set_name,
                                                 "folder": _folder(name), **more}))


EmojiAnimals = _thing("EmojiAnimals", "animals", "Animals and plants, 30 emoji.")
EmojiFood = _thing("EmojiFood", "food", "Food and drink, 30 emoji.")
EmojiTravel = _thing("EmojiTravel", "travel", "Places, vehicles and the sky, 30 emoji.")
EmojiActivities = _thing("EmojiActivities", "activities", "Sports, games, music and feasts, 30 emoji.")
EmojiObjects = _thing("EmojiObjects", "objects", "Objects, 30 emoji.")
EmojiSigns = _thing("EmojiSigns", "signs", "Signs and symbols, 30 emoji.")
EmojiPeople = _thing("EmojiPeople", "people", "People, faces and gestures, 30 emoji.")
EmojiThings = _thing("EmojiThings", "things", "The source dataset: 100 emoji that are in no other dataset; one hand "
                     "for training, another for testing.", train_hands=("fluent-3d",), test_hands=("twemoji",),
                     train_pictures=22, published={"train": 1600, "val": 600, "test": 600, "classes": 100})
EmojiThingsFlat = _thing("EmojiThingsFlat", "things", "EmojiThings' classes, flat drawings.", train_hands=(),
                         test_hands=("fluent-flat",), test_only=True, published={"test": 600, "classes": 100})
EmojiThingsLine = _thing("EmojiThingsLine", "things", "EmojiThings' classes, line drawings.", train_hands=(),
                         test_hands=("fluent-line",), test_only=True, published={"test": 600, "classes": 100})


@register
class EmojiKinds(EmojiDataset):
    """Thirty Unicode subgroups (mammal, fruit, tool ...), split by emoji: a glyph's emoji is in one split alone."""

    set_name, folder = "kinds", "emoji_kinds"
    train_hands = ("fluent-3d", "fluent-line", "twemoji", "fluent-flat")  # all hands, in both splits
    test_hands = ()
    train_pictures, test_pictures = 4, 1
    published = {"train": 2457, "val": 819, "test": 551, "classes": 30}

    @classmethod
    def class_of(cls, entry: dict[str, Any]) -> str:
        """Return the kind."""
        return entry["kind"]

    @classmethod
    @functools.cache
    def _tested(cls) -> frozenset[str]:
        codes: dict[str, list[str]] = {}
        for entry in cls.entries():
            if entry["code"] not in codes.setdefault(entry["kind"], []):
                codes[entry["kind"]].append(entry["code"])
        return frozenset(code for members in codes.values()
                         for code in members[:max(1, round(TEST_SHARE * len(members)))])

    @classmethod
    def is_test(cls, entry: dict[str, Any]) -> bool:
        """Return whether the entry's emoji is one of the test split's."""
        return entry["code"] in cls._tested()
