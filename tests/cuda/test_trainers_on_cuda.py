"""Every trainer in every precision on the pretended CUDA device: trained, saved, resumed, evaluated, as on the CPU."""
import pytest
import torch
from golden import tiny_clip
from support.counted import Watched
from support.every_trainer import METHODS, low_weights, made, meta_file
from support.pretend_cuda import CudaError, PretendCuda

from trainers import promptsrc
from trainers.compat.registry import TRAINERS
from trainers.gram import GRAM
from trainers.training import graph

TOLERANCE = {"fp32": 2e-5, "amp": 2e-2, "fp16": 2e-2, "bf16": 2e-1}  # of the largest entry: what half precision rounds


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {kind: low_weights(folder, kind, layers=2) for kind in ("vit", "rn")}


@pytest.fixture(autouse=True)
def little_work(monkeypatch):
    monkeypatch.setattr(promptsrc, "DIVERSE", promptsrc.DIVERSE[:2])
    monkeypatch.setattr(graph, "WARM_UP", 0)  # nothing is chosen or made here that a capture would miss


def whole_run(cls, precision, weights, folder, device, gpu=None, **more):
    """Train one epoch, resume for the second, load on new classes; returns {what: tensor}."""
    first = made(cls, precision, weights, folder, device=device, **more)
    found = {}
    if first.trainable:
        first.max_epoch, first.after_train = 1, lambda: first.close_writer()
        first.train()
        second = made(cls, precision, weights, folder, device=device, **more)
        watched = Watched(second, gpu) if gpu else None
        second.train()
        if gpu:  # CoCoOp lays its prompts out for a batch when it sees the first
            watched.check(more.get("batches", 1) - 1)
        assert second.start_epoch == 1
        found = {name: p.detach().cpu() for name, p in second.model.prompts.state_dict().items()}
    else:
        second = first
        second.train()
    new = made(cls, precision, weights, folder, device=device, **more, classnames=tiny_clip.NEW_CLASSNAMES)
    new.load_model(str(folder) if new.trainable else "", 2 if new.trainable else None)
    new.set_model_mode("eval")
    found["logits"] = new.model_inference(new.parse_batch_test(new.test_loader[0])[0]).cpu().float()
    assert second.results["test"]["total"] == 4
    return found


def close(ours, theirs, tolerance):
    for name, value in theirs.items():
        off = (ours[name] - value).abs().max() / value.abs().max().clamp_min(1e-3)
        assert off < tolerance, f"{name} is off by {off:.1e}"


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", METHODS)
def test_runs_on_cuda_as_on_the_cpu(name, precision, weights, tmp_path):
    # CoCoOp's second batch finds its prompts laid out; of ProMetaR's only the third has the classes for a second step
    cls, more = TRAINERS.entries[name], {"batches": 2 if "CoCoOp" in name else 3 if name == "ProMetaR" else 1}
    if issubclass(cls.METHOD, GRAM):
        more["meta"] = meta_file(cls, weights["vit"], tmp_path)
    theirs = whole_run(cls, precision, weights["vit"], tmp_path / "cpu", "cpu", **more)
    with PretendCuda() as gpu:
        ours = whole_run(cls, precision, weights["vit"], tmp_path / "cuda", "cuda", gpu, **more)
    close(ours, theirs, TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["CoOp", "CoCoOp", "ProGrad", "ZeroshotCLIP2"])
def test_resnet_runs_on_cuda(name, precision, weights, tmp_path):
    cls, more = TRAINERS.entries[name], {"kind": "rn", "batches": 2 if "CoCoOp" in name else 1}
    theirs = whole_run(cls, precision, weights["rn"], tmp_path / "cpu", "cpu", **more)
    with PretendCuda() as gpu:
        ours = whole_run(cls, precision, weights["rn"], tmp_path / "cuda", "cuda", gpu, **more)
    close(ours, theirs, 5 * TOLERANCE[precision])


# ---- what the device must catch

def planted(line):
    """Return a CoOp whose loss has one more line: loss, logits and self in, loss out."""
    class Method(TRAINERS.entries["CoOp"].METHOD):
        def loss(self, images, labels):
            logits = self.logits(images)
            loss = line(torch.nn.functional.cross_entropy(logits, labels), logits)
            return loss, {"loss": loss}
    Method.__name__ = "CoOp"
    return type("CoOp", (TRAINERS.entries["CoOp"],), {"METHOD": Method})


PLANTED = {
    "nothing": (lambda loss, logits: loss, None),
    "a CPU tensor": (lambda loss, logits: loss + (logits * torch.ones(logits.shape)).mean() * 0,
                     "found at least two devices, cuda:0 and cpu"),
    "an item()": (lambda loss, logits: loss * (1 if loss.item() > 0 else 2), "sync: item at"),
    "a branch": (lambda loss, logits: loss if logits.max() < 1e9 else 2 * loss, "sync: item at"),
    "a mask as index": (lambda loss, logits: loss + logits[logits > 1e9].sum(), "sync: index by a mask"),
    "an upload": (lambda loss, logits: loss + torch.ones(3, device="cpu").to(loss.device).sum() * 0, "sync: upload"),
    "a float64 constant": (lambda loss, logits: (loss + 0 * logits.new_ones(2, dtype=torch.float64).sum()).float(),
                           "double: "),
    "another dtype": (lambda loss, logits: loss + 0 * (logits.half() @ logits.T).sum(), "expected one dtype")}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_caught(what, weights, tmp_path):
    line, message = PLANTED[what]
    with PretendCuda() as gpu:
        trainer = made(planted(line), "fp32", weights["vit"], tmp_path, device="cuda", batches=2)
        watched = Watched(trainer, gpu)
        if message is None:
            trainer.train()
            watched.check()
            return
        with pytest.raises((CudaError, AssertionError), match=message):
            trainer.train()
            watched.check()
