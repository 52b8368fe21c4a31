"""What is chosen from the machine: memory for classes and images, and what the log says of it."""
import pytest
import torch
from support.counted import build
from support.every_trainer import low_weights, made
from support.pretend_cuda import PretendCuda

from trainers.compat.registry import TRAINERS
from trainers.training import machine


@pytest.mark.parametrize("backbone,classes", [("ViT-B/16", 1000), ("ViT-L/14", 1000), ("ViT-B/16", 10_000)])
def test_all_classes_fit_a_large_gpu_at_once(backbone, classes):
    with PretendCuda(compute=False, memory=70 << 30):
        assert len(build("PromptSRC", "fp16", classes, backbone).model.layout.chunks) == 1
    with PretendCuda(compute=False, memory=1 << 30):
        small = build("PromptSRC", "fp32", classes, backbone).model
        assert len(small.layout.chunks) > 1 and small.clip.text.budget == 1 << 29


def test_half_precision_takes_half_the_memory():
    with PretendCuda(compute=False):
        tokens = {precision: build("CoOp", precision, 10).model.clip.text.chunk_tokens()
                  for precision in ("fp32", "amp", "fp16")}
    assert abs(tokens["fp16"] / tokens["fp32"] - 2) < 1e-3 and tokens["fp32"] < tokens["amp"] < tokens["fp16"]


def test_the_log_says_what_was_chosen(tmp_path, capsys):
    weights = low_weights(tmp_path, layers=2)
    with PretendCuda(memory=8 << 30):
        made(TRAINERS.entries["CoOp"], "fp32", weights, tmp_path, device="cuda")
    assert "The classes' activations: 4 GiB at most, in 1 part (TRAINER." in capsys.readouterr().out
    made(TRAINERS.entries["CoOp"], "fp32", weights, tmp_path)
    assert "activations: 1 GiB at most" in capsys.readouterr().out


def test_image_memory_is_a_share_of_what_is_free(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "free_memory", lambda: 32 << 30)
    assert machine.image_memory(-1.0) == 8 and machine.image_memory(0.5) == 0.5 and machine.image_memory(0.0) == 0
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert machine.image_memory(-1.0) == 2
    monkeypatch.undo()
    (tmp_path / "limit").write_text("3000\n")
    (tmp_path / "used").write_text("1000\n")
    monkeypatch.setattr(machine, "CGROUPS", ((tmp_path / "limit", tmp_path / "used"), (tmp_path / "none", tmp_path)))
    assert machine.free_memory() == 2000
    (tmp_path / "limit").write_text("max\n")
    assert machine.free_memory() > 1 << 20
    assert machine.text_memory(-1.0, torch.device("cpu")) == 1 and machine.text_memory(2.0, torch.device("cpu")) == 2
