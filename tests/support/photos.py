"""A folder of pictures as anybody may have one, and train.py's command line on it with the demo CLIP."""
import json
from pathlib import Path

import numpy as np
from PIL import Image

from support.paths import ROOT
from trainers.training.input_checks import NEVER_SEEN
from trainers.training.run import main

CLASSES = ("cat", "cow", "dog")


def photos(folder, classes=CLASSES, each=8, seed=5):
    """Write ``each`` pictures of noise for each class below ``folder``; returns the folder."""
    draw = np.random.default_rng(seed)
    for name in classes:
        (Path(folder) / name).mkdir(parents=True)
        for number in range(each):
            pixels = draw.integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(Path(folder) / name / f"{number}.png")
    return Path(folder)


def words(data, out, *opts, method="CoOp", flags=(), shots=1, epochs=1):
    """Return train.py's words for a method's demo config on a folder of pictures."""
    return ["--root", str(data), "--output-dir", str(out), "--seed", "1", "--trainer", method,
            "--dataset-config-file", f"{ROOT}/configs/datasets/image_folder.yaml",
            "--config-file", f"{ROOT}/configs/trainers/{method}/demo.yaml", *map(str, flags),
            "DATASET.NUM_SHOTS", str(shots), "OPTIM.MAX_EPOCH", str(epochs), "OPTIM.WARMUP_EPOCH", "-1",
            "USE_CUDA", "False", *map(str, opts)]


def train(data, out, *opts, **options):
    """Run train.py in this process; returns its exit code."""
    return main(words(data, out, *opts, **options))


def evaluate(data, out, run, *opts, **options):
    """Evaluate the prompts of ``run``; returns the exit code."""
    flags = ["--eval-only", "--model-dir", run, *options.pop("flags", ())]
    return train(data, out, *opts, flags=flags, **options)


def result(out):
    """Return a run's result.json, without the note that all these runs have: the demo's CLIP has never seen a cat."""
    found = json.loads((Path(out) / "result.json").read_text())
    return {**found, "notes": [note for note in found["notes"] if NEVER_SEEN not in note]}
