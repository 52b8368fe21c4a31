"""What holds for every trainer: precisions, exact resumption, published checkpoints, several processes, bad losses."""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from support import reference
from support.cases import make
from support.closeness import assert_close
from support.paths import GOLDEN, ROOT

from trainers.errors import InputError
from trainers.training import checkpoint
from trainers.training.step import Step

SECTION = {"CoOp": "COOP", "KgCoOp": "COOP", "ProGrad": "COOP", "CoCoOp": "COCOOP", "PromptSRC": "PROMPTSRC",
           "MaPLe": "MAPLE", "IVLP": "IVLP", "VPT": "VPT"}
ONE_EACH = ["promptsrc", "ivlp", "vpt", "coop_end", "coop_csc", "coop_rn", "cocoop", "kgcoop", "prograd"]


@pytest.mark.parametrize("precision", ["fp16", "amp", "bf16"])
@pytest.mark.parametrize("case", ["promptsrc", "coop_rn", "cocoop", "maple"])
def test_low_precision_stays_near_float32(case, precision, weights, tmp_path):
    key = f"TRAINER.{SECTION[reference.CASES[case][0]]}.PREC"
    golden = np.load(GOLDEN / f"trainer_{case}.npz")
    trainer = make(case, weights, tmp_path, settings=[key, precision])
    reference.start_from(trainer, golden)
    trainer.train()
    figure = next(iter(trainer.record[0]["summary"]))
    # amp's first steps may be left out while it finds its scale: after them the runs are at different prompts
    for i, step in enumerate(trainer.record[:1 if precision == "amp" else 9]):
        assert step["summary"][figure] == pytest.approx(float(golden[f"summary/{figure}/{i}"]), rel=0.03)
    assert trainer.record[-1]["summary"][figure] < trainer.record[0]["summary"][figure] * 1.2
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in trainer.trainable)


@pytest.mark.parametrize("precision", ["fp16", "amp", "bf16"])
def test_where_half_precision_is_not_to_be_had_float32_is_taken(precision, weights, tmp_path, monkeypatch, caplog):
    """As with PyTorch 2.1 on a CPU, which does compute in bfloat16."""
    monkeypatch.setattr("trainers.clip.load.computes_in_half", lambda device: False)
    trainer = make("coop_end", weights, tmp_path, settings=["TRAINER.COOP.PREC", precision])
    if precision == "bf16":
        assert "PyTorch" not in caplog.text and trainer.model.clip.precision == "bf16"
        return
    assert f"PREC {precision}: PyTorch" in caplog.text and trainer.model.clip.precision == "fp32"
    assert {p.dtype for p in trainer.model.clip.model.parameters()} == {torch.float32}
    trainer.train()


def test_amp_leaves_out_a_step_with_overflown_gradients(weights, tmp_path):
    trainer = make("coop_end", weights, tmp_path, settings=["TRAINER.COOP.PREC", "amp"])
    before = trainer.trainable[0].detach().clone()
    Step(trainer.trainable, trainer.optim, trainer.state.loss_scale).use([torch.full_like(before, float("inf"))])
    assert torch.equal(trainer.trainable[0], before) and trainer.state.loss_scale.scale == 2.0 ** 15
    Step(trainer.trainable, trainer.optim, trainer.state.loss_scale).use([torch.ones_like(before)])
    assert not torch.equal(trainer.trainable[0], before)


@pytest.mark.parametrize("case", ONE_EACH)
def test_resumed_run_has_the_same_bits(case, weights, tmp_path):
    """A run stopped after an epoch, in whatever random state the next process starts, ends with the same checkpoint."""
    class Stop(Exception):
        pass

    torch.manual_seed(1)
    whole = make(case, weights, tmp_path / "whole")
    whole.train()
    torch.manual_seed(1)
    stopped = make(case, weights, tmp_path / "parts")
    stopped.before_epoch = lambda: (_ for _ in ()).throw(Stop) if stopped.epoch == 2 else None
    with pytest.raises(Stop):
        stopped.train()
    torch.manual_seed(99)
    resumed = make(case, weights, tmp_path / "parts")
    resumed.train()
    assert len(resumed.record) == 3
    final = [checkpoint.read_checkpoint(tmp_path / part / whole.model.FOLDER / "model.pth.tar-3")
             for part in ("whole", "parts")]
    for part in ("state_dict", "extra"):
        assert final[0][part].keys() == final[1][part].keys()
        assert all(torch.equal(final[0][part][name], final[1][part][name]) for name in final[0][part])
    momenta = [[s["momentum_buffer"] for s in f["optimizer"]["state"].values()] for f in final]
    assert momenta[0] and all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))
    assert torch.equal(final[0]["random"]["torch"], final[1]["random"]["torch"])


def test_one_checkpoint_a_run_and_those_asked_for(weights, tmp_path):
    make("coop_end", weights, tmp_path, settings=["TRAIN.CHECKPOINT_FREQ", 1]).train()
    assert checkpoint.saved_epochs(tmp_path / "prompt_learner") == [1, 2, 3]
    make("coop_end", weights, tmp_path / "last").train()
    assert checkpoint.saved_epochs(tmp_path / "last" / "prompt_learner") == [3]
    files = list((tmp_path / "last").rglob("*.part"))
    assert not files


def test_checkpoints_are_small():
    """ViT-B/16, PromptSRC's 4+4 vectors at depth 9: prompts, momentum, aggregate."""
    from trainers.prompts import Prompts
    prompts = Prompts().put("prompt_learner.ctx", torch.zeros(4, 512)).put_deep("text_encoder", 9, 4, 512)
    prompts.put("image_encoder.VPT", torch.zeros(4, 768)).put_deep("image_encoder", 9, 4, 768)
    assert 3 * 4 * sum(p.numel() for p in prompts.parameters()) < 2 ** 20


def test_loss_that_is_not_finite_names_the_batch(weights, tmp_path):
    trainer = make("coop_end", weights, tmp_path)
    trainer.train_loader_x[1]["img"][2] = float("nan")
    with pytest.raises(InputError, match=r"loss is nan in epoch 1, batch 2 of 3, on 1-0.jpg, 1-1.jpg"):
        trainer.train()
    assert not (tmp_path / "prompt_learner").exists()


PUBLISHED = ["promptsrc", "ivlp", "vpt", "coop_end", "kgcoop", "cocoop", "prograd"]


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_checkpoint_loads_and_goes_back(case, weights, tmp_path):
    """A file as the published code writes it (whole CLIP, class-dependent buffers, scheduler) gives its logits."""
    golden = np.load(GOLDEN / f"trainer_{case}.npz")
    kind = reference.CASES[case][1]
    trainer = make(case, weights, tmp_path / "ours")
    final = {name[len("final/"):]: torch.tensor(golden[name]) for name in golden.files if name.startswith("final/")}
    state = checkpoint.published(final, trainer.model.WHOLE_MODEL)
    prefix = "prompt_learner." if trainer.model.WHOLE_MODEL else ""
    state[prefix + "token_prefix"] = torch.zeros(9, 1, 64)
    state[prefix + "token_suffix"] = torch.zeros(9, 72, 64)
    if trainer.model.WHOLE_MODEL:
        for name, value in reference.tiny_clip.state_dict(kind).items():
            state[name.replace("visual.", "image_encoder.")] = torch.as_tensor(np.asarray(value)).half()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    content = {"state_dict": state, "epoch": 3, "optimizer": optimizer.state_dict(), "val_result": np.float64(91.5),
               "scheduler": {"successor": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3), "last_epoch": 3}}
    path = tmp_path / "theirs" / trainer.model.FOLDER / "model.pth.tar-3"
    path.parent.mkdir(parents=True)
    torch.save(content, path)

    trainer.load_model(str(tmp_path / "theirs"), 3)
    images = trainer.train_loader_x[0]["img"]
    assert_close(reference.evaluate(trainer, images), golden["eval_logits_after"], "logits after", 1e-4)

    checkpoint.export(checkpoint.read_prompts(path)[0], 3, tmp_path / "again.pth.tar", trainer.model.WHOLE_MODEL)
    again = torch.load(tmp_path / "again.pth.tar", weights_only=True)
    assert set(again["state_dict"]) == set(checkpoint.published(final, trainer.model.WHOLE_MODEL))
    assert all(torch.equal(again["state_dict"][n], v)
               for n, v in checkpoint.published(final, trainer.model.WHOLE_MODEL).items())


def test_checkpoint_that_names_code_is_not_run(weights, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    path = tmp_path / "prompt_learner" / "model.pth.tar-3"
    path.parent.mkdir()
    torch.save({"state_dict": {"ctx": torch.zeros(16, 64)}, "epoch": 3, "scheduler": Evil()}, path)
    trainer = make("coop_end", weights, tmp_path / "ours")
    with pytest.raises(InputError, match=r"tar-3 cannot be read as a checkpoint \(it names (posix|nt).system"):
        trainer.load_model(str(tmp_path), 3)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_damaged_checkpoint_is_named(damage, weights, tmp_path):
    make("coop_end", weights, tmp_path).train()
    path = tmp_path / "prompt_learner" / "model.pth.tar-3"
    raw = bytearray(path.read_bytes())
    if damage == "flip":
        raw[:200] = bytes(200)
    path.write_bytes({"cut": raw[:-500], "flip": raw, "empty": b"", "text": b"not a checkpoint"}[damage])
    trainer = make("coop_end", weights, tmp_path / "other")
    with pytest.raises(InputError, match="model.pth.tar-3"):
        trainer.load_model(str(tmp_path), 3)


@pytest.mark.parametrize("settings, message", [
    (["TRAINER.COOP.N_CTX", 8], r"ctx is \[16, 64\] there and \[8, 64\] here"),
    (["TRAINER.COOP.CSC", True], r"ctx is \[16, 64\] there and \[5, 16, 64\] here"),
])
def test_checkpoint_that_does_not_fit(settings, message, weights, tmp_path):
    make("coop_end", weights, tmp_path).train()
    other = make("coop_end", weights, tmp_path / "other", new=True, settings=settings)
    with pytest.raises(InputError, match=message):
        other.load_model(str(tmp_path), 3)


def test_missing_checkpoint_says_what_there_is(weights, tmp_path):
    make("coop_end", weights, tmp_path).train()
    with pytest.raises(InputError, match=r"no checkpoint of epoch 50 in .*: there are .*model.pth.tar-3"):
        make("coop_end", weights, tmp_path / "other").load_model(str(tmp_path), 50)


TWO_PROCESSES = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import torch
from support import reference
from trainers import parallel
from pathlib import Path
parallel.start("cpu")
for case, weights, start, output in zip(*[iter(sys.argv[1:])] * 4):
    trainer = reference.make(case, Path(weights), Path(output))
    trainer.train_loader_x = [{{key: batch[key][parallel.rank()::2] for key in ("img", "label", "impath")}}
                              for batch in trainer.train_loader_x]
    trainer.load_prompts(start)
    parallel.broadcast(trainer.trainable)
    trainer.train()
"""


def test_two_processes_equal_one_with_the_doubled_batch(weights, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(TWO_PROCESSES.format(root=str(ROOT), tests=str(ROOT / "tests")))
    single, words = {}, []
    for case in ("promptsrc", "prograd"):
        torch.manual_seed(0)
        one = single[case] = make(case, weights, tmp_path / "one" / case)
        start = tmp_path / f"{case}.pth"
        checkpoint.write_checkpoint({"state_dict": one.model.prompts.state_dict(), "epoch": 0}, start)
        one.train()
        words += [case, weights(reference.CASES[case][1]), start, tmp_path / "two" / case]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script),
                    *map(str, words)], check=True, env=env, timeout=300, capture_output=True)
    for case, one in single.items():
        (left,) = (tmp_path / "two" / case).rglob("model.pth.tar-*")
        assert left == tmp_path / "two" / case / one.model.FOLDER / "model.pth.tar-3"
        ours = checkpoint.read_checkpoint(left)["state_dict"]
        for name, value in one.model.prompts.state_dict().items():
            assert (ours[name] - value).abs().max() < 1e-6, (case, name)
