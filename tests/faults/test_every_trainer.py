"""Every trainer of ours, new ones too, in every precision: two steps, saved, resumed to the bit, evaluated."""
import json
import math
from types import SimpleNamespace

import pytest
import torch
from golden import tiny_clip
from PIL import Image, ImageDraw
from support import reference
from support.paths import ROOT
from torch.utils._pytree import tree_flatten, tree_unflatten

from dassl.config import get_cfg_default
from trainers.base import PromptMethod, PromptTrainer
from trainers.compat.registry import TRAINERS
from trainers.errors import InputError
from trainers.gram import GRAM
from trainers.meta import file
from trainers.meta.loop import BilevelLoop
from trainers.regulate.regulator import Regulator
from trainers.training import checkpoint
from trainers.training.run import main

PRECISIONS = ("fp32", "fp16", "amp", "bf16")
METHODS = sorted(name for name, cls in TRAINERS.entries.items() if issubclass(cls, PromptTrainer))
BATCH = 2


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The golden files' tiny ViT with three layers a tower."""
    tiny_clip.CONFIG["low"] = {**tiny_clip.VIT, "vision_layers": 3, "text_layers": 3}
    return reference.weights_file("low", tmp_path_factory.mktemp("weights"))


def config(cls, precision, weights, output, meta=""):
    cfg = get_cfg_default()
    cfg.merge_from_list(["DATASET.NAME", "OxfordPets", "MODEL.BACKBONE.NAME", str(weights), "USE_CUDA", False,
                         "OUTPUT_DIR", str(output), "TRAINER.NAME", cls.__name__, "TRAINER.PROMPTREG.CACHE", False,
                         "OPTIM.NAME", "sgd", "OPTIM.LR", 0.01, "OPTIM.MAX_EPOCH", 2, "OPTIM.LR_SCHEDULER", "cosine",
                         "TRAINER.GRAM.META", str(meta)])
    section = cfg.TRAINER[cls.METHOD.SECTION]
    section.PREC = precision
    for key in [key for key in section if key.startswith("PROMPT_DEPTH")]:
        section[key] = 2
    return cfg


def made(cls, *words, **more):
    """Build the trainer on one batch of three classes to learn from and two to evaluate."""
    images, labels = (torch.as_tensor(part) for part in tiny_clip.batches("vit", batch_size=3 * BATCH)[0])
    batches = [{"img": part, "label": label, "impath": ["a.jpg"] * BATCH}
               for part, label in zip(images.split(BATCH), labels.split(BATCH), strict=True)]

    class Small(cls):
        def build_data_loader(self):
            self.train_loader_x, self.val_loader, self.test_loader = batches[:1], None, batches[1:]
            images = {"train_x": [], "val": None, "test": []}
            self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=tiny_clip.CLASSNAMES, **images))
            self.num_classes, self.lab2cname = len(tiny_clip.CLASSNAMES), dict(enumerate(tiny_clip.CLASSNAMES))

    torch.manual_seed(1)
    trainer = Small(config(cls, *words, **more))
    if trainer.state.loss_scale:
        trainer.state.loss_scale.scale = 2.0 ** 8  # the first steps count
    return trainer


def meta_file(cls, weights, folder):
    """Write a meta-trained file for the prompts of a GRAM trainer's base method; returns its path."""
    base = next(c for c in cls.METHOD.__mro__ if issubclass(c, PromptMethod) and not issubclass(c, GRAM))
    plain = made(TRAINERS.entries[base.__name__], "fp32", weights, folder)
    own = {n: p.detach().clone() for n, p in plain.model.prompts.named_parameters()}
    regulator = Regulator({n: p.shape for n, p in own.items()}, rank=2, seed=1)
    for bend in regulator.bends.values():
        torch.nn.init.normal_(bend.up, std=0.5)
    file.write(folder / "meta.safetensors", own, regulator, {"prompts": "test"})
    return folder / "meta.safetensors"


def poisoned(objective, parameter):
    """Return the objective with a finite loss (the last of several) whose gradient is not a number."""
    def call(*batch):
        loss, figures = objective(*batch)
        losses, form = tree_flatten(loss)  # a scalar, or several in a tuple, a list, a dict
        return tree_unflatten([*losses[:-1], losses[-1] + (parameter.sum() * 0).sqrt()], form), figures
    return call


class Stop(Exception):
    """Ends a training where a process would have died."""


def same(a, b):
    """Whether two values, tensors in dicts and lists, are the same to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if torch.is_tensor(a) else a == b


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", METHODS)
def test_trains_saves_resumes_evaluates(name, precision, weights, tmp_path):
    cls = TRAINERS.entries[name]
    more = {"meta": meta_file(cls, weights, tmp_path)} if issubclass(cls.METHOD, GRAM) else {}
    whole = made(cls, precision, weights, tmp_path / "whole", **more)
    start = {n: p.clone() for n, p in whole.model.prompts.state_dict().items()}
    whole.train()
    assert whole.results["test"]["total"] == 2 * BATCH
    if not start:  # zero-shot: nothing to train, so nothing to save
        assert not list((tmp_path / "whole").rglob("*.pth*"))
        return
    stopped = made(cls, precision, weights, tmp_path / "parts", **more)
    stopped.before_epoch = lambda: (_ for _ in ()).throw(Stop) if stopped.epoch == 1 else None
    with pytest.raises(Stop):
        stopped.train()
    resumed = made(cls, precision, weights, tmp_path / "parts", **more)
    resumed.train()

    states = [checkpoint.read_checkpoint(trainer.output_dir + f"/{trainer.model.FOLDER}/model.pth.tar-2")
              for trainer in (whole, resumed)]
    for state in states:
        del state["config"], state["random"]["python"]  # of another folder; and libraries draw when first imported
    for part in states[0]:
        assert same(states[0][part], states[1][part]), part
    assert whole.results == resumed.results
    moved = [not torch.equal(value, start[n]) for n, value in whole.model.prompts.state_dict().items()]
    assert any(moved) and all(torch.isfinite(p).all() for p in whole.trainable)
    stopped.load_model(whole.output_dir, 2)
    stopped.test()
    assert stopped.results == whole.results


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("Zeroshot")])
def test_a_gradient_that_is_not_finite_is_never_used(name, weights, tmp_path):
    """Under amp the step is left out and the scale halved; else the run ends before anything is saved."""
    cls = TRAINERS.entries[name]
    more = {"meta": meta_file(cls, weights, tmp_path)} if issubclass(cls.METHOD, GRAM) else {}
    trainer = made(cls, "amp", weights, tmp_path, **more)
    trainer.compute_loss = poisoned(trainer.compute_loss, trainer.trainable[0])
    start = {n: p.clone() for n, p in trainer.model.prompts.state_dict().items()}
    trainer.set_model_mode("train")
    trainer.forward_backward(trainer.train_loader_x[0])
    assert same(start, dict(trainer.model.prompts.state_dict())) and trainer.state.loss_scale.scale == 2.0 ** 7
    trainer.state.loss_scale = None  # as in all other precisions
    with pytest.raises(InputError, match="the gradient is not finite in epoch 1, batch 1 of 1, on a.jpg, a.jpg: lower"):
        trainer.train()
    assert not list(tmp_path.rglob("*.pth*"))


# ---- meta-training, which has a loop of its own

COLOURS = ("red", "green", "blue", "white", "orange", "purple")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of squares in six colours on three grounds, with captions."""
    folder = tmp_path_factory.mktemp("gram") / "pairs"
    folder.mkdir()
    for i in range(72):
        ground, colour = ("black", "grey", "yellow")[i % 3], COLOURS[i % 6]
        image = Image.new("RGB", (32, 32), ground)
        ImageDraw.Draw(image).rectangle((4 + i % 5, 4, 20 + i % 5, 20), colour)
        image.save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.txt").write_text(f"{ground} ground behind a {colour} square")
    return folder


def meta_training(pairs, output, precision, monkeypatch, dies=False):
    """Run two outer steps; returns the exit code. ``dies``: after the first was saved."""
    gram = {"CORPUS": pairs, "PROMPTS": "coop", "PREC": precision, "DOMAINS": 3, "CLASSES": 3, "SHOTS": 1, "QUERIES": 1,
            "WAYS": 2, "STEPS": 2, "EPISODES": 1, "INNER_STEPS": 1, "SAVE_EVERY": 1, "EVALUATE": 1, "RANK": 2,
            "CLUSTER": "sklearn"}
    save = BilevelLoop.save

    def and_die(self, step, about):
        save(self, step, about)
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        if dies:
            patch.setattr(BilevelLoop, "save", and_die)
        return main(["--trainer", "GRAM", "--seed", "1", "--root", str(pairs.parent), "--output-dir", str(output),
                     "--config-file", str(ROOT / "configs/trainers/GRAM/demo.yaml"), "USE_CUDA", "False",
                     *(word for key, value in gram.items() for word in (f"TRAINER.GRAM.{key}", str(value)))])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_meta_training_saves_resumes_evaluates(precision, pairs, tmp_path, monkeypatch, capsys):
    if precision in ("fp16", "amp"):  # gradients of gradients are too small for half precision
        assert meta_training(pairs, tmp_path / "refused", precision, monkeypatch) == 2
        assert "meta-training takes fp32 or bf16" in capsys.readouterr().err and not (tmp_path / "refused").exists()
        return
    assert meta_training(pairs, tmp_path / "whole", precision, monkeypatch) == 0
    assert meta_training(pairs, tmp_path / "parts", precision, monkeypatch, dies=True) == 130
    assert not (tmp_path / "parts" / "meta.safetensors").exists()
    assert meta_training(pairs, tmp_path / "parts", precision, monkeypatch) == 0
    whole, parts = ((tmp_path / name / "meta.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    report = json.loads((tmp_path / "parts" / "result.json").read_text())["results"]["held_out"]
    assert all(math.isfinite(report[way]["loss"]) for way in ("plain start", "meta start", "meta start, regulated"))
