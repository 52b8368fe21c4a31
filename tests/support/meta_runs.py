"""A meta-training of two outer steps on a small corpus of coloured squares."""
from unittest import mock

from PIL import Image, ImageDraw

from support.paths import ROOT
from trainers.meta.loop import BilevelLoop
from trainers.training.run import main

COLOURS = ("red", "green", "blue", "white", "orange", "purple")


def make_pairs(folder):
    """Draw squares in six colours on three grounds, with captions; returns their folder."""
    folder = folder / "pairs"
    folder.mkdir()
    for i in range(72):
        ground, colour = ("black", "grey", "yellow")[i % 3], COLOURS[i % 6]
        image = Image.new("RGB", (32, 32), ground)
        ImageDraw.Draw(image).rectangle((4 + i % 5, 4, 20 + i % 5, 20), colour)
        image.save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.txt").write_text(f"{ground} ground behind a {colour} square")
    return folder


def meta_training(pairs, output, precision, dies=False, cuda=False, prompts="coop"):
    """Run two outer steps; returns the exit code. ``dies``: after the first was saved."""
    gram = {"CORPUS": pairs, "PROMPTS": prompts, "PREC": precision, "DOMAINS": 3, "CLASSES": 3, "SHOTS": 1,
            "QUERIES": 1, "WAYS": 2, "STEPS": 2, "EPISODES": 1, "INNER_STEPS": 1, "SAVE_EVERY": 1,
            "EVALUATE": 1, "RANK": 2, "HORIZON": 0, "CLUSTER": "sklearn"}
    save = BilevelLoop.save

    def and_die(self, step, about):
        save(self, step, about)
        if dies:
            raise KeyboardInterrupt
    with mock.patch.object(BilevelLoop, "save", and_die), mock.patch("trainers.meta.tasks.STEPS", 2):
        return main(["--trainer", "GRAM", "--seed", "1", "--root", str(pairs.parent), "--output-dir", str(output),
                     "--config-file", str(ROOT / "configs/trainers/GRAM/demo.yaml"), "USE_CUDA", str(cuda),
                     *(word for key, value in gram.items() for word in (f"TRAINER.GRAM.{key}", str(value)))])
