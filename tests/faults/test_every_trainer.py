"""Every trainer of ours, new ones too, in every precision: two steps, saved, resumed to the bit, evaluated."""
import json
import math

import pytest
import torch
from support.every_trainer import BATCH, METHODS, low_weights, made, meta_file
from support.meta_runs import make_pairs, meta_training
from torch.utils._pytree import tree_flatten, tree_unflatten

from trainers.compat.registry import TRAINERS
from trainers.errors import InputError
from trainers.gram import GRAM
from trainers.training import checkpoint

PRECISIONS = ("fp32", "fp16", "amp", "bf16")


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    return low_weights(tmp_path_factory.mktemp("weights"))


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

@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("gram"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_meta_training_saves_resumes_evaluates(precision, pairs, tmp_path, capsys):
    if precision in ("fp16", "amp"):  # gradients of gradients are too small for half precision
        assert meta_training(pairs, tmp_path / "refused", precision) == 2
        assert "meta-training takes fp32 or bf16" in capsys.readouterr().err and not (tmp_path / "refused").exists()
        return
    assert meta_training(pairs, tmp_path / "whole", precision) == 0
    assert meta_training(pairs, tmp_path / "parts", precision, dies=True) == 130
    assert not (tmp_path / "parts" / "meta.safetensors").exists()
    assert meta_training(pairs, tmp_path / "parts", precision) == 0
    whole, parts = ((tmp_path / name / "meta.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    report = json.loads((tmp_path / "parts" / "result.json").read_text())["results"]["held_out"]
    assert all(math.isfinite(report["arms"][way]["H"]) for way in ("base method", "start alone", "both"))
