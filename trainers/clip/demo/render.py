"""Draws small captioned images: glyphs in matplotlib's fonts, coloured shapes, textures.

Each domain is a function that takes a random generator and returns a `Scene`.  Nothing is read from disk but the fonts,
and everything follows from the seed: image i of a seed is the same however many others are drawn.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image

from . import language
from .drawing import (
    COLOURS,
    SHAPES,
    SIZE,
    TEXTURES,
    blend,
    box,
    colour,
    glyph,
    noisy,
    paste,
    pattern,
    shape_mask,
    to_eight,
    two_colours,
)


@dataclass
class Scene:
    """What an image shows: the image, its domain, and what can be said about it."""
    image: Image.Image
    domain: str
    sort: str              # digit, letter, number, shape, pair, count or texture
    subject: Any           # what of that sort; see language._names
    ink: str = ""          # colour names
    ground: str = ""
    size: str = ""         # small or large
    place: str = ""        # a key of language.PLACES
    style: str = ""
    case: str = ""         # of a letter: uppercase or lowercase
    facts: frozenset = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        facts = {f"{key}:{value}" for key in ("ink", "ground", "size", "place", "style", "case")
                 if (value := getattr(self, key))}
        if self.sort == "pair":
            (colour, shape), relation, (colour2, shape2) = self.subject
            facts |= {f"pair:{shape} {relation} {shape2}", f"pair:{colour} {shape} {relation} {colour2} {shape2}"}
        elif self.sort == "count":
            number, shape = self.subject
            facts |= {f"count:{number}", "count:" + ("many" if number > 5 else "few"), f"shape:{shape}"}
        elif self.sort == "texture":
            facts.add(f"texture:{self.subject[0]}")
        else:
            facts.add(f"{self.sort}:{self.subject}")
        self.facts = frozenset(facts)


def _character(rng: Generator) -> tuple[str, dict[str, Any]]:
    """A digit or a letter: (character, the Scene's arguments that name it)."""
    if rng.random() < 0.6:
        digit = int(rng.integers(10))
        return str(digit), {"sort": "digit", "subject": language.UNITS[digit]}
    letter = language.LETTERS[rng.integers(26)]
    upper = rng.random() < 0.5
    return letter.upper() if upper else letter, {"sort": "letter", "subject": letter,
                                                 "case": "uppercase" if upper else "lowercase"}


def handwritten(rng: np.random.Generator) -> Scene:
    """A bent glyph averaged to 8 x 8 and enlarged by bicubic interpolation: mostly white on black, else coloured."""
    text, named = _character(rng)
    values = to_eight(glyph(text, rng), rng)
    grey = Image.fromarray(np.uint8(np.round(values * 255 / 16)))
    alpha = np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 255
    dice = rng.random()
    if dice < 0.7:
        ink, ground, ink_rgb, ground_rgb = "white", "black", 255.0, 0.0
    elif dice < 0.8:
        ink, ground, ink_rgb, ground_rgb = "black", "white", 0.0, 255.0
    else:
        ink, ground = two_colours(rng)
        ink_rgb, ground_rgb = colour(ink, rng), colour(ground, rng)
    image = blend(alpha, np.broadcast_to(ink_rgb, 3), np.broadcast_to(ground_rgb, 3))
    return Scene(image, "handwritten", ink=ink, ground=ground, style="handwritten", **named)


def _place(rng: Generator) -> tuple[str, Any]:
    name = tuple(language.PLACES)[rng.integers(len(language.PLACES))]
    return name, language.PLACES[name]


def _sized(rng: Generator) -> tuple[str, float, str, Any]:
    """A size, the longer side in pixels, and a place where the thing is small enough for one to be seen."""
    if rng.random() < 0.5:
        name, cell = _place(rng)
        return "small", rng.uniform(10, 15), name, cell
    return "large", rng.uniform(23, 30), "", (1, 1)


def printed(rng: np.random.Generator) -> Scene:
    """A glyph, little bent, in colour on a plain ground or over a texture, large, or small at some place."""
    text, named = _character(rng)
    ink, ground = two_colours(rng)
    mask = glyph(text, rng, 0.4)
    size, extent, place, cell = _sized(rng)
    extent = max(extent, 13)
    alpha = paste(mask, box(rng, cell, extent, mask.width / mask.height))
    ground_rgb = colour(ground, rng)
    if rng.random() < 0.15:  # a faint texture below the print
        noun = tuple(TEXTURES)[rng.integers(len(TEXTURES))]
        ground_rgb = ground_rgb + 40 * (pattern(noun, rng)[..., None] - 0.5)
    return Scene(noisy(blend(alpha, colour(ink, rng), ground_rgb), rng), "printed", ink=ink, ground=ground,
                 size=size, place=place, style="printed", **named)


def numerals(rng: np.random.Generator) -> Scene:
    """A number of two figures, 10 to 99, dark on light or light on dark."""
    number = int(rng.integers(10, 100))
    ink, ground = two_colours(rng)
    mask = glyph(str(number), rng, 0.4)
    alpha = paste(mask, box(rng, (1, 1), rng.uniform(25, 31), mask.width / mask.height))
    return Scene(noisy(blend(alpha, colour(ink, rng), colour(ground, rng)), rng), "numerals", "number", number,
                 ink=ink, ground=ground, style="printed")


def shapes(rng: np.random.Generator) -> Scene:
    """One coloured shape, filled or outlined, large, or small at some place."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    ink, ground = two_colours(rng)
    style = "outlined" if rng.random() < 0.25 and shape != "ring" else "filled"
    size, extent, place, cell = _sized(rng)
    alpha = paste(shape_mask(shape, rng, style), box(rng, cell, extent))
    return Scene(noisy(blend(alpha, colour(ink, rng), colour(ground, rng)), rng), "shapes", "shape", shape,
                 ink=ink, ground=ground, size=size, place=place, style=style)


def pairs(rng: np.random.Generator) -> Scene:
    """Two shapes of different colours, one above or left of the other, on black or white."""
    first, second = (SHAPES[i] for i in rng.choice(len(SHAPES), 2, replace=False))
    ground = ("black", "white")[rng.integers(2)]
    inks = [c for c in COLOURS if c not in ("black", "white", "gray")]
    ink, ink2 = (inks[i] for i in rng.choice(len(inks), 2, replace=False))
    relation = ("above", "left of")[rng.integers(2)]
    cells = ((1, 0), (1, 2)) if relation == "above" else ((0, 1), (2, 1))
    picture = np.broadcast_to(colour(ground, rng), (SIZE, SIZE, 3))
    for shape, name, cell in ((first, ink, cells[0]), (second, ink2, cells[1])):
        alpha = paste(shape_mask(shape, rng), box(rng, cell, rng.uniform(12, 15)))
        picture = np.asarray(blend(alpha, colour(name, rng), picture))
    return Scene(noisy(Image.fromarray(picture), rng), "pairs", "pair", ((ink, first), relation, (ink2, second)),
                 ground=ground)


def counts(rng: np.random.Generator) -> Scene:
    """Two to nine equal small shapes in the cells of a 3 x 3 grid."""
    number = int(rng.integers(2, 10))
    shape = SHAPES[rng.integers(len(SHAPES))]
    ink, ground = two_colours(rng)
    alpha = np.zeros((SIZE, SIZE))
    cells = list(language.PLACES.values())
    for i in rng.choice(9, number, replace=False):
        alpha = np.maximum(alpha, paste(shape_mask(shape, rng), box(rng, cells[i], rng.uniform(8, 10))))
    return Scene(noisy(blend(alpha, colour(ink, rng), colour(ground, rng)), rng), "counts", "count",
                 (number, shape), ink=ink, ground=ground)


def textures(rng: np.random.Generator) -> Scene:
    """A pattern in two colours that fills the picture."""
    noun = tuple(TEXTURES)[rng.integers(len(TEXTURES))]
    ink, ground = two_colours(rng)
    if noun == "blank":
        ink = ground
    image = blend(pattern(noun, rng), colour(ink, rng), colour(ground, rng))
    return Scene(noisy(image, rng), "textures", "texture", (noun, TEXTURES[noun]), ink=ink, ground=ground)


DOMAINS = {f.__name__: f for f in (handwritten, printed, numerals, shapes, pairs, counts, textures)}
WORDS = (*COLOURS, *SHAPES, *TEXTURES, *TEXTURES.values(), "small", "large", "handwritten", "printed", "filled",
         "outlined")  # what the captions can say besides numbers, letters and places


def scene(index: int, seed: int, domains: Sequence[str] | None = None,
          weights: Sequence[float] | None = None) -> tuple[Scene, np.random.Generator]:
    """Draw scene number `index` of a seed: (Scene, the generator, to write its captions with).

    Args:
        domains: names of DOMAINS to draw from; all of them where None.
        weights: one number a domain, how often each comes in proportion; equally often where None.

    Raises:
        ValueError: a domain that is not there, or not one weight a domain.
    """
    domains = tuple(DOMAINS) if domains is None else tuple(domains)
    unknown = [d for d in domains if d not in DOMAINS]
    if unknown or not domains:
        raise ValueError(f"render: no domain {', '.join(unknown) or 'given'}; there are {', '.join(DOMAINS)}")
    if weights is not None and len(weights) != len(domains):
        raise ValueError(f"render: {len(weights)} weights for {len(domains)} domains; give one weight a domain")
    rng = np.random.default_rng([seed, index])
    p = None if weights is None else np.asarray(weights, float) / np.sum(weights)
    return DOMAINS[domains[rng.choice(len(domains), p=p)]](rng), rng


def render_pairs(n: int, seed: int, domains: Sequence[str] | None = None,
                 weights: Sequence[float] | None = None) -> Iterator[tuple[Image.Image, str, str]]:
    """Yield n pairs (32 x 32 RGB image, caption, domain name); arguments as `scene`'s."""
    for index in range(n):
        drawn, rng = scene(index, seed, domains, weights)
        yield drawn.image, language.caption(drawn, rng).text, drawn.domain
