"""Every trainer in every precision on the pretended CUDA device: trained, saved, resumed, evaluated, as on the CPU."""
import pytest
from golden import tiny_clip
from support.every_trainer import METHODS, low_weights, made, meta_file
from support.pretend_cuda import PretendCuda

from trainers import promptsrc
from trainers.compat.registry import TRAINERS
from trainers.gram import GRAM

TOLERANCE = {"fp32": 2e-5, "amp": 2e-2, "fp16": 2e-2, "bf16": 1e-1}  # of the largest entry: what half precision rounds


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {kind: low_weights(folder, kind, layers=2) for kind in ("vit", "rn")}


@pytest.fixture(autouse=True)
def few_sentences(monkeypatch):
    monkeypatch.setattr(promptsrc, "DIVERSE", promptsrc.DIVERSE[:2])


def whole_run(cls, precision, weights, folder, device, **more):
    """Train one epoch, resume for the second, load on new classes; returns {what: tensor}."""
    first = made(cls, precision, weights, folder, device=device, **more)
    found = {}
    if first.trainable:
        first.max_epoch, first.after_train = 1, lambda: first.close_writer()
        first.train()
        second = made(cls, precision, weights, folder, device=device, **more)
        second.train()
        assert second.start_epoch == 1
        found = {name: p.detach().cpu() for name, p in second.model.prompts.state_dict().items()}
    else:
        second = first
        second.train()
    new = second
    if "CSC" not in str(more):
        new = made(cls, precision, weights, folder, device=device, **{**more, "classnames": tiny_clip.NEW_CLASSNAMES})
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
    cls, more = TRAINERS.entries[name], {}
    if issubclass(cls.METHOD, GRAM):
        more["meta"] = meta_file(cls, weights["vit"], tmp_path)
    theirs = whole_run(cls, precision, weights["vit"], tmp_path / "cpu", "cpu", **more)
    with PretendCuda() as gpu:
        ours = whole_run(cls, precision, weights["vit"], tmp_path / "cuda", "cuda", **more)
    assert not gpu.by_line("double")
    close(ours, theirs, TOLERANCE[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["CoOp", "CoCoOp", "ProGrad", "ZeroshotCLIP2"])
def test_resnet_runs_on_cuda(name, precision, weights, tmp_path):
    cls = TRAINERS.entries[name]
    theirs = whole_run(cls, precision, weights["rn"], tmp_path / "cpu", "cpu", kind="rn")
    with PretendCuda():
        ours = whole_run(cls, precision, weights["rn"], tmp_path / "cuda", "cuda", kind="rn")
    close(ours, theirs, 5 * TOLERANCE[precision])
