"""The sentences that the published methods put class names into."""
from collections.abc import Iterable, Mapping

from open_clip import OPENAI_IMAGENET_TEMPLATES

from . import clean

# The 60 of PromptSRC's textual diversity: the first 60 in the published order of CLIP's 80 ImageNet templates.
DIVERSE = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES[:60]]

# The 7 selected ones of ZeroshotCLIP2 (CLIP's own selection for ImageNet).
SELECTED = ["itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.",
            "a {} in a video game.", "art of the {}.", "a photo of the small {}."]

PLAIN = "a photo of a {}."

# Zero-shot CLIP's sentence of each dataset, as CoOp writes it; all others take PLAIN.
ZERO_SHOT = {
    "OxfordPets": "a photo of a {}, a type of pet.",
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "FGVCAircraft": "a photo of a {}, a type of aircraft.",
    "DescribableTextures": "{} texture.",
    "EuroSAT": "a centered satellite photo of {}.",
    "Food101": "a photo of {}, a type of food.",
    "UCF101": "a photo of a person doing {}.",
}

# ProGrad's: the words before the name become its context.
PROGRAD = {
    "OxfordPets": "a type of pet, a photo of a {}.",
    "OxfordFlowers": "a type of flower, a photo of a {}.",
    "FGVCAircraft": "a type of aircraft, a photo of a {}.",
    "DescribableTextures": "a texture of {}.",
    "EuroSAT": "a centered satellite photo of {}.",
    "Food101": "a type of food, a photo of {}.",
    "UCF101": "a photo of a person doing {}.",
}

# KgCoOp's: zero-shot CLIP's but for one dataset (arXiv 2303.13283).
KGCOOP = {**ZERO_SHOT, "DescribableTextures": "a photo of a {}, a type of texture."}


def of(table: Mapping[str, str], dataset: str) -> str:
    """Return the sentence of a dataset (its registered name) from one of the tables above."""
    return table.get(dataset, PLAIN)


def fill(template: str, classnames: Iterable[str]) -> list[str]:
    """Return the C sentences of a template; "_" in a name is a space."""
    return [template.replace("{}", clean(name)) for name in classnames]
