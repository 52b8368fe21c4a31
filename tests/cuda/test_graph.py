"""TRAIN.GRAPH on the pretended device: the same bits as without; off, with the reason in the log, where not safe."""
import pytest
import torch
from support.every_trainer import METHODS, low_weights, made, meta_file
from support.pretend_cuda import PretendCuda

from trainers.compat.registry import TRAINERS
from trainers.gram import GRAM
from trainers.training import graph
from trainers.training.composition import find
from trainers.training.graph import why_not

LEARNING = [*(name for name in METHODS if not name.startswith("Zeroshot")), "DePT+CoOp", "DePT+CoCoOp", "DePT+ProGrad"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return low_weights(tmp_path_factory.mktemp("weights"), layers=2)


@pytest.fixture(autouse=True)
def one_warm_up(monkeypatch):
    monkeypatch.setattr(graph, "WARM_UP", 1)


def steps(cls, precision, weights, folder, captured, batches=3, meta=""):
    """Train an epoch; returns the trainer, {name: prompt}, the figures of the steps and the graph's replays."""
    with PretendCuda() as gpu:
        trainer = made(cls, precision, weights, folder, meta, "cuda", batches=batches)
        trainer.cfg.defrost()
        trainer.cfg.TRAIN.GRAPH = captured
        trainer.computation.reason = why_not(trainer)
        trainer.set_model_mode("train")
        torch.manual_seed(0)  # ProMetaR draws a task from each batch
        figures = [{name: value.item() for name, value in trainer.forward_backward(batch).items()}
                   for batch in trainer.train_loader_x]
        return trainer, {n: p.content.clone() for n, p in trainer.model.prompts.state_dict().items()}, figures, \
            sum(event.what == "graph" for event in gpu.events)


@pytest.mark.parametrize("name", LEARNING)
def test_a_captured_step_has_the_bits_of_one_that_is_not(name, weights, tmp_path):
    cls = TRAINERS.entries[find(name)]
    precision = ("fp32", "fp16", "amp", "bf16")[LEARNING.index(name) % 4]
    meta = meta_file(cls, weights, tmp_path) if issubclass(cls.METHOD, GRAM) else ""
    _, plain, figures, none = steps(cls, precision, weights, tmp_path / "plain", False, meta=meta)
    _, captured, same, replays = steps(cls, precision, weights, tmp_path / "graph", True, meta=meta)
    assert (none, replays) == (0, 1 + 3) and figures == same and len({str(figure) for figure in same}) == 3
    assert all(torch.equal(value, captured[key]) for key, value in plain.items())


def of(change, name="CoOp"):
    """Return a trainer whose method has the loss that ``change`` makes of its own, and says that it may be captured."""
    class Method(TRAINERS.entries[name].METHOD):
        CAPTURABLE = True

        def loss(self, images, labels):
            return change(self, *super().loss(images, labels))
    Method.__name__ = name
    return type(name, (TRAINERS.entries[name],), {"METHOD": Method})


def test_a_loss_that_waits_for_the_device_runs_without(weights, tmp_path, caplog):
    cls = of(lambda method, loss, figures: (loss * (1 if loss.item() else 2), figures))
    trainer, *_, replays = steps(cls, "fp32", weights, tmp_path, True)
    assert replays == 0 and trainer.computation.graph is None
    assert "TRAIN.GRAPH: the step cannot be captured and runs without (CUDA error: operation not per" in caplog.text


def test_a_step_that_is_another_each_time_runs_without(weights, tmp_path, caplog):
    """A number of Python's, which a graph would hold on to: the first replay finds it out, and no step is wrong."""
    def growing(method, loss, figures):
        method.factor = getattr(method, "factor", 0) + 1
        return loss * method.factor, figures
    trainer, *_, replays = steps(of(growing), "fp32", weights, tmp_path, True)
    assert replays == 1 and trainer.computation.graph is None
    assert "runs without (a replay's gradients are off by" in caplog.text


def test_a_batch_of_another_size_runs_without(weights, tmp_path):
    with PretendCuda():
        trainer = made(TRAINERS.entries["CoOp"], "fp32", weights, tmp_path, device="cuda")
        trainer.set_model_mode("train")
        batch = trainer.train_loader_x[0]
        first = trainer.forward_backward(batch)
        small = trainer.forward_backward({key: value[:1] for key, value in batch.items()})
        again = trainer.forward_backward(batch)
        assert len({figure["loss"].item() for figure in (first, small, again)}) == 3


def test_figures_are_copies(weights, tmp_path):
    """Those of a step stay what they were when later steps have been made."""
    with PretendCuda():
        trainer = made(TRAINERS.entries["CoOp"], "fp32", weights, tmp_path, device="cuda", batches=2)
        trainer.set_model_mode("train")
        first = trainer.forward_backward(trainer.train_loader_x[0])
        before = first["loss"].item()
        trainer.forward_backward(trainer.train_loader_x[1])
        assert first["loss"].item() == before


def test_reasons(weights, tmp_path, capsys):
    class Silent(TRAINERS.entries["CoOp"].METHOD):
        def loss(self, images, labels):
            return super().loss(images, labels)
    cls = type("CoOp", (TRAINERS.entries["CoOp"],), {"METHOD": Silent})
    with PretendCuda():
        trainer = made(cls, "fp32", weights, tmp_path, device="cuda")
        assert "not captured in a CUDA graph: Silent does not declare CAPTURABLE = True" in capsys.readouterr().out
        for key, reason in (("GRAPH", "TRAIN.GRAPH is False"), ("COMPILE", "TRAIN.COMPILE is True")):
            trainer = made(TRAINERS.entries["CoOp"], "fp32", weights, tmp_path, device="cuda")
            assert "The step is captured in a CUDA graph" in capsys.readouterr().out and why_not(trainer) == ""
            trainer.cfg.defrost()
            trainer.cfg.TRAIN[key] = key == "COMPILE"
            assert why_not(trainer) == reason
    trainer = made(TRAINERS.entries["CoOp"], "fp32", weights, tmp_path)
    assert why_not(trainer) == "it runs on the cpu"
