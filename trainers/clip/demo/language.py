"""The demo's language: the words of its captions, the sentences made of them, and the tokens they need.

A caption is made for a scene, and a scene is a set of *facts*, short strings such as ``"digit:seven"`` or
``"ink:red"``.  Every caption comes with the facts it states, so that training can tell when the caption of one image
is also true of another one: it is when the other image has all of these facts.
"""
from collections.abc import Iterable, Sequence, Set
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from numpy.random import Generator
from open_clip import SimpleTokenizer
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

if TYPE_CHECKING:
    from .render import Scene

T = TypeVar("T")

UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
PLACES = {"top left": (0, 0), "top": (1, 0), "top right": (2, 0), "left": (0, 1), "center": (1, 1), "right": (2, 1),
          "bottom left": (0, 2), "bottom": (1, 2), "bottom right": (2, 2)}  # (column, row) of a 3 x 3 grid

# {} is the thing's name.  CLIP's 80, then the ones of the prompt-learning papers for single datasets.
IMAGENET_TEMPLATES = tuple(make("{}") for make in OPENAI_IMAGENET_TEMPLATES)
DATASET_TEMPLATES = (
    "a photo of a {}, a type of pet.", "a photo of a {}, a type of flower.", "a photo of a {}, a type of aircraft.",
    "{} texture.", "a photo of a {}, a type of texture.", "a centered satellite photo of {}.",
    "a photo of {}, a type of food.", "a photo of a person doing {}.", "a type of pet, a photo of a {}.",
    "a type of flower, a photo of a {}.", "a type of aircraft, a photo of a {}.", "a texture of {}.",
    "a type of food, a photo of {}.")
PLAIN_TEMPLATES = ("{}", "{}.", "a {}.", "the {}.", "this is a {}.", "there is a {}.", "a picture of a {}.",
                   "an image of a {}.", "a photo of {}.", "a photo of a {}.", "a photo of the {}.", "an image of {}.",
                   "here you see {}: a {}!", "what is this? a {}.", "it's a {} - and no other thing.")


def number_words(n: int) -> str:
    """Return the English words for the integer n, 0 <= n < 100: 42 is "forty two"."""
    if n < 10:
        return UNITS[n]
    if n < 20:
        return TEENS[n - 10]
    tens, units = TENS[n // 10 - 2], UNITS[n % 10]
    return tens if n % 10 == 0 else f"{tens} {units}"


class Caption:
    """A sentence and the facts that it states."""
    __slots__ = ("facts", "text")

    def __init__(self, text: str, facts: Iterable[str]) -> None:
        self.text, self.facts = text, frozenset(facts)


def _pick(rng: Generator, options: Sequence[T]) -> T:
    return options[rng.integers(len(options))]


def _names(scene: "Scene", rng: Generator) -> tuple[str, Set[str]]:
    """One way of naming what the scene shows: (noun phrase, facts stated)."""
    value, sort = scene.subject, scene.sort
    key = f"{sort}:{value}"
    if sort == "digit":
        figure = str(UNITS.index(value))
        return _pick(rng, (value, value, value, figure, f"number {value}", f"digit {value}", f"digit {figure}")), {key}
    if sort == "number":
        return _pick(rng, (number_words(value), number_words(value), str(value), f"number {number_words(value)}",
                           f"number {value}")), {key}
    if sort == "letter":
        case = "case:" + scene.case
        other = {"uppercase": "capital", "lowercase": "small"}[scene.case]
        return _pick(rng, ((value, {key}), (f"letter {value}", {key}), (f"letter {value}", {key}),
                           (f"{scene.case} {value}", {key, case}), (f"{other} letter {value}", {key, case})))
    if sort == "texture":
        noun, adjective = value
        colours = scene.ink if scene.ink == scene.ground else f"{scene.ink} and {scene.ground}"
        both = {f"ink:{scene.ink}", f"ground:{scene.ground}"}
        key = f"texture:{noun}"
        return _pick(rng, ((noun, {key}), (adjective, {key}), (f"{adjective} texture", {key}),
                           (f"{adjective} surface", {key}), (f"{adjective} pattern", {key}),
                           (f"{colours} {noun}", both | {key}), (f"{adjective} {colours} texture", both | {key})))
    if sort == "pair":  # two things, one beside or above the other, said from either side
        (colour, shape), relation, (colour2, shape2) = value
        if rng.random() < 0.5:
            back = {"above": "below", "left of": "right of"}[relation]
            plain, full = f"{shape2} {back} a {shape}", f"{colour2} {shape2} {back} a {colour} {shape}"
        else:
            plain, full = f"{shape} {relation} a {shape2}", f"{colour} {shape} {relation} a {colour2} {shape2}"
        facts = {f"pair:{shape} {relation} {shape2}"}
        if rng.random() < 0.3:
            return plain, facts
        return full, facts | {f"pair:{colour} {shape} {relation} {colour2} {shape2}"}
    if sort == "count":
        number, shape = value
        key = {f"count:{number}", f"shape:{shape}"}
        plural = plurals(shape)
        return _pick(rng, ((f"{UNITS[number]} {plural}", key), (f"{number} {plural}", key),
                           (plural, {f"shape:{shape}"}),
                           (f"{UNITS[number]} {scene.ink} {plural}", key | {f"ink:{scene.ink}"}),
                           ((f"many {plural}" if number > 5 else f"a few {plural}"),
                            {f"shape:{shape}", "count:" + ("many" if number > 5 else "few")})))
    return value, {key}


def plurals(noun: str) -> str:
    """Return the plural of a shape's name."""
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def _phrase(scene: "Scene", rng: Generator) -> tuple[str, Set[str]]:
    """A noun phrase for the scene with up to three of its properties: (text, facts)."""
    name, facts = _names(scene, rng)
    if scene.sort in ("texture", "pair", "count"):
        return name, facts
    facts = set(facts)
    before, after = [], ""
    for word, chance in ((scene.size, 0.2), (scene.ink, 0.35), (scene.style, 0.25)):
        if word and rng.random() < chance and word != name.split()[0]:
            before.append(word)
    facts |= {f for f in scene.facts if f.split(":", 1)[1] in before and f.split(":")[0] in ("size", "ink", "style")}
    if scene.place and rng.random() < 0.4:
        after = _pick(rng, (" at the {}", " in the {} corner" if " " in scene.place else " at the {} of the picture",
                            " on the {}")).format(scene.place)
        facts.add(f"place:{scene.place}")
    elif scene.ground and rng.random() < 0.25:
        after = _pick(rng, (" on a {} background", " on {}", " with a {} background")).format(scene.ground)
        facts.add(f"ground:{scene.ground}")
    return " ".join([*before, name]) + after, facts


def caption(scene: "Scene", rng: Generator) -> Caption:
    """Return a short Caption of the scene, one sentence in most cases.

    Two fifths are the bare name in one of CLIP's templates, as zero-shot classification asks for it; some begin with
    a row of "X", the placeholders that prompt learners write in front of a class name.
    """
    dice = rng.random()
    if dice < 0.4:
        name, facts = _names(scene, rng)
        return Caption(_pick(rng, IMAGENET_TEMPLATES).format(name), facts)
    if dice < 0.5:
        name, facts = _names(scene, rng)
        return Caption(_pick(rng, DATASET_TEMPLATES).format(name), facts)
    if dice < 0.56:
        name, facts = _names(scene, rng)
        return Caption("X " * int(rng.integers(1, 17)) + name + ".", facts)
    name, facts = _phrase(scene, rng)
    return Caption(_pick(rng, PLAIN_TEMPLATES).format(*[name] * 2), facts)


def long_caption(scene: "Scene", rng: Generator, limit: int = 75) -> Caption:
    """Return a Caption of several sentences, between 20 and `limit` tokens long (start and end not counted)."""
    budget = int(rng.integers(20, limit + 1))
    texts, facts, used = [], frozenset(), 0
    while True:
        sentence = caption(scene, rng)
        used += len(encode(sentence.text))
        if used > budget:
            break
        texts.append(sentence.text)
        facts |= sentence.facts
    if not texts:
        name, facts = _names(scene, rng)
        texts.append(f"a photo of a {name}.")
    return Caption(" ".join(texts), facts)


@cache
def tokenizer() -> SimpleTokenizer:
    """CLIP's byte-pair tokenizer (49408 tokens, context length 77)."""
    return SimpleTokenizer()


@cache
def _encode_word(word: str) -> tuple[int, ...]:
    return tuple(tokenizer().encode(word))


def encode(text: str) -> list[int]:
    """Return the token ids of a text, without start and end; no token spans a space, so words are encoded once."""
    return [token for word in text.split() for token in _encode_word(word)]


def vocabulary(scene_words: Iterable[str]) -> list[int]:
    """Return the sorted ids of every token in the demo's language.

    Args:
        scene_words: the names of colours, shapes, textures, sizes and styles that the renderer can draw.
    """
    words = [*UNITS, *TEENS, *TENS, *LETTERS, *PLACES, *map(str, range(10)), *scene_words, *map(plurals, scene_words)]
    texts = words + [t.format(*"XX") for t in IMAGENET_TEMPLATES + DATASET_TEMPLATES + PLAIN_TEMPLATES]
    texts += ["digit number letter texture surface pattern uppercase lowercase capital small", "and a few many",
              "above below left of right of", "at the in the corner of the picture", "on a background with", "X"]
    ids = {tokenizer().sot_token_id, tokenizer().eot_token_id, 0}  # 0 pads
    for text in texts:
        ids.update(encode(text))
        ids.update(encode(text + "."))
    return sorted(ids)
