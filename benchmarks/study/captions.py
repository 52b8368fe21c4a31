"""What the CLIP's training says of a picture: captions, and the phrases that are true of it.

A caption states one or two phrases (a name, a tag, a kind, a style). A picture has all the phrases that are true of it,
so that training can tell when the caption of one picture also fits another one.
"""
import re
from collections import Counter

import emoji as emojis
import numpy as np
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

TEMPLATES = tuple(make("{}") for make in OPENAI_IMAGENET_TEMPLATES)  # CLIP's 80
PLAIN = ("{}", "{}.", "a {}.", "the {}.", "an image of a {}.", "a picture of a {}.", "a photo of a {}.",
         "a drawing of a {}.", "an icon of a {}.", "a sign of a {}.", "this is a {}.", "an emoji of a {}.")
STYLES = {"line": ("a line drawing of a {}.", "a {}, drawn in lines.", "a black and white {}."),
          "colored": ("a colored drawing of a {}.", "a {}, drawn in colors.", "a bright {}.")}
SORTS = ("{}, a {}.", "{}, a type of {}.", "a photo of a {}, a type of {}.", "a {}, some {}.")
GROUPS = {"smileys-emotion": "emotion", "people-body": "person", "animals-nature": "animal", "food-drink": "food",
          "travel-places": "travel", "activities": "activity", "objects": "object", "symbols": "symbol"}
PLACEHOLDERS = 16  # "X" at most before a name: where prompt learners put their vectors
SUFFIXES = {"outline", "filled", "fill", "variant", "alt", "duo", "flat", "line", "solid", "one", "two", "three",
            "four", "five", "off", "box", "circle", "square", "badge", "multiple"}
FEW = 4  # icons that a word must name, where no emoji's label or tag has it
MAX_WORDS = 4  # of an icon's name


def icon_name(name: str) -> str:
    """Return an icon's name as words: "flower-tulip-outline" -> "flower tulip"."""
    words = [w for w in re.split(r"[^a-z]+", name.lower()) if len(w) > 1]
    while len(words) > 1 and words[-1] in SUFFIXES:
        words.pop()
    return " ".join(words)


def frequent_words(emoji: dict[str, emojis.Emoji], icons: list[str]) -> set[str]:
    """Return the words of emoji's labels, of tags of two emoji or more, and of `FEW` different icons' names."""
    tags = Counter(t.lower() for e in emoji.values() for t in e.tags if t.isalpha())
    labels = {w for e in emoji.values() for w in words_of(e.label)}
    counts = Counter(w for name in set(icons) for w in name.split())
    return labels | {t for t, n in tags.items() if n > 1} | {w for w, n in counts.items() if n >= FEW}


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"[a-z]+", text.lower())


def phrases(e: emojis.Emoji | None, name: str, known: set[str]) -> tuple[list[str], list[str]]:
    """Return what a picture may be called, the best name first, and what sort of thing it is.

    Args:
        e: the emoji; None for an icon.
        name: an icon's name.
        known: the words that the vocabulary covers.
    """
    if e is None:
        words = name.split()
        return [name, *([words[-1], words[0]] if len(words) > 1 else [])], []
    tags = [t.lower() for t in e.tags if t.lower() in known and t.isalpha()]
    sorts = [s for s in (e.kind, GROUPS[e.group]) if s]
    return [e.label, *tags[:8]], sorts


def caption(names: list[str], sorts: list[str], style: str, rng: np.random.Generator) -> tuple[str, list[str]]:
    """Write one caption: (its text, the phrases that it states).

    Half name the thing by its best name in a template of CLIP's; the others use tags, sorts, styles, or a row of "X" in
    front, the placeholders that prompt learners use.
    """
    def pick(options):
        return options[rng.integers(len(options))]
    name, dice = names[0], rng.random()
    if len(names) > 1 and rng.random() < 0.2:
        name = pick(names[1:])
    if dice < 0.35:
        return pick(TEMPLATES).format(name), [name]
    if dice < 0.6:
        return pick(PLAIN).format(name), [name]
    if dice < 0.68:
        return "X " * int(rng.integers(1, PLACEHOLDERS + 1)) + name + ".", [name]
    if dice < 0.76:
        return pick(STYLES[style]).format(name), [name, style]
    if not sorts:
        return pick(PLAIN).format(name), [name]
    sort = pick(sorts)
    if dice < 0.88:
        return pick(SORTS).format(name, sort), [name, sort]
    return pick(TEMPLATES + PLAIN).format(sort), [sort]
