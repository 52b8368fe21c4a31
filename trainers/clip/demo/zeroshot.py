"""Zero-shot accuracy of the demo CLIP on scikit-learn's handwritten digits: ``python -m trainers.clip.demo.zeroshot``.

The only module here that touches the digits.  Training never imports it before the weights are final.
"""
import argparse
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from ..load import build_from_openai
from . import WEIGHTS, language, render

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def build(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Make open_clip's CLIP from the demo's state dict, in float32 and eval mode."""
    return build_from_openai(state).eval()


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The 1,797 digits as the Digits dataset writes them: images [1797, 3, 32, 32], normalized, and labels [1797]."""
    from sklearn.datasets import load_digits
    data = load_digits()
    grey = np.uint8(np.round(data.images * 255 / 16))
    images = np.stack([np.asarray(Image.fromarray(g).resize((32, 32), Image.Resampling.BICUBIC)) for g in grey])
    images = torch.from_numpy(images).float().div(255)[:, None].expand(-1, 3, -1, -1)
    return (images - MEAN) / STD, torch.from_numpy(data.target).long()


@torch.no_grad()
def text_features(model: Any, templates: Sequence[str], names: Iterable[str] = language.UNITS) -> torch.Tensor:
    """Normalized features of the names, each the mean over the templates: [C, D]."""
    from open_clip import tokenize
    features = [F.normalize(model.encode_text(tokenize([t.format(n) for n in names])), dim=-1) for t in templates]
    return F.normalize(torch.stack(features).mean(0), dim=-1)


@torch.no_grad()
def accuracies(model: Any) -> dict[str, float]:
    """Per cent right on the digits for some ways of asking: {what: accuracy}."""
    images, labels = digits()
    features = F.normalize(torch.cat([model.encode_image(b) for b in images.split(600)]), dim=-1)
    photo = text_features(model, ["a photo of a {}."])
    logits = features @ photo.T
    base = labels < 5

    def score(logits: torch.Tensor, labels: torch.Tensor) -> float:
        return round(100 * (logits.argmax(1) == labels).float().mean().item(), 2)
    return {"ten classes, 'a photo of a {}.'": score(logits, labels),
            "ten classes, '{}.'": score(features @ text_features(model, ["{}."]).T, labels),
            "ten classes, 'a handwritten {}.'": score(features @ text_features(model, ["a handwritten {}."]).T, labels),
            "ten classes, 'X X X X X X X X {}.'": score(
                features @ text_features(model, ["X X X X X X X X {}."]).T, labels),
            "ten classes, mean of 80 templates": score(
                features @ text_features(model, language.IMAGENET_TEMPLATES).T, labels),
            "zero to four, 'a photo of a {}.'": score(logits[base, :5], labels[base]),
            "five to nine, 'a photo of a {}.'": score(logits[~base, 5:], labels[~base] - 5)}


@torch.no_grad()
def drawn_accuracies(model: Any, each: int = 300, seed: int = 991) -> dict[str, float]:
    """Per cent right on newly drawn pictures, `each` of every kind that training drew: {what: accuracy}."""
    digit, letter = {u: u for u in language.UNITS}, {u: f"letter {u}" for u in language.LETTERS}
    kinds: list[tuple[str, str, dict]] = [
        ("handwritten", "digit", digit), ("printed", "digit", digit), ("handwritten", "letter", letter),
        ("printed", "letter", letter), ("shapes", "shape", {s: s for s in render.SHAPES}),
        ("textures", "texture", {item: f"{item[1]} texture" for item in render.TEXTURES.items()}),
        ("numerals", "number", {n: language.number_words(n) for n in range(10, 100)})]
    found = {}
    for domain, sort, names in kinds:
        scenes = (render.scene(i, seed, [domain])[0] for i in itertools.count())
        scenes = list(itertools.islice((s for s in scenes if s.sort == sort), each))
        pixels = torch.from_numpy(np.stack([np.asarray(s.image) for s in scenes])).permute(0, 3, 1, 2) / 255
        subjects = list(names)
        answers = (model.encode_image((pixels - MEAN) / STD) @ text_features(model, ["a photo of a {}."],
                                                                           names.values()).T).argmax(1).tolist()
        right = sum(subjects[a] == s.subject for a, s in zip(answers, scenes, strict=True))
        found[f"{domain} {sort}, {len(names)} classes"] = round(100 * right / each, 1)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default=WEIGHTS)
    parser.add_argument("--drawn", action="store_true", help="newly drawn pictures instead of the digits")
    args = parser.parse_args(argv)
    ask = drawn_accuracies if args.drawn else accuracies
    for question, accuracy in ask(build(load_file(args.weights))).items():
        print(f"{accuracy:6.2f}%  {question}")


if __name__ == "__main__":
    main()
