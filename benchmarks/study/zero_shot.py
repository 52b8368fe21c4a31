"""Zero-shot accuracies of the study's CLIP on the emoji datasets: ``benchmarks/study/zero_shot.py [WEIGHTS]``."""
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from augment import MEAN, STD  # noqa: E402

import trainers  # noqa: E402, F401  (brings minidassl where there is no Dassl)
from datasets import emoji  # noqa: E402
from trainers.clip.demo import zeroshot as templates  # noqa: E402
from trainers.clip.openai import build_from_openai  # noqa: E402

DATASETS = (emoji.EmojiAnimals, emoji.EmojiFood, emoji.EmojiTravel, emoji.EmojiActivities, emoji.EmojiObjects,
            emoji.EmojiSigns, emoji.EmojiPeople, emoji.EmojiThings, emoji.EmojiThingsFlat, emoji.EmojiThingsLine,
            emoji.EmojiKinds)


@torch.no_grad()
def accuracy(model, dataset, root: str) -> float:
    """Return the per cent of a dataset's test pictures that "a photo of a {}." tells right."""
    folder, splits = dataset.whole(root)
    names = {item.label: item.classname for item in splits.test}
    text = templates.text_features(model, ["a photo of a {}."], [names[label] for label in sorted(names)])
    pixels = np.stack([np.asarray(Image.open(Path(folder) / item.path)) for item in splits.test])
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    features = torch.cat([F.normalize(model.encode_image(part), dim=-1) for part in images.split(500)])
    labels = torch.tensor([item.label for item in splits.test])
    return round(100 * ((features @ text.T).argmax(1) == labels).float().mean().item(), 2)


def accuracies(weights: Path) -> dict[str, float]:
    """Return {dataset: zero-shot accuracy in per cent} of a file of weights."""
    model = build_from_openai(load_file(weights)).eval()
    with tempfile.TemporaryDirectory() as root:
        return {dataset.__name__: accuracy(model, dataset, root) for dataset in DATASETS}


if __name__ == "__main__":
    found = accuracies(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "trainers/clip/study/study_clip.safetensors")
    for name, percent in found.items():
        print(f"{percent:6.2f}%  {name}")
