"""Triton's kernels, run by its interpreter on CPU numbers, against plain PyTorch."""
import os
import subprocess
import sys

import pytest
import torch
from support.paths import ROOT
from support.pretend_cuda import PretendCuda
from support.pretend_cuda_kernels import Kernels

from trainers import clip
from trainers.clip import fused

real = fused.kernels  # the device puts its own in place

CHECK = """
import torch
from trainers.clip import fused, kernels
for dtype in (torch.float16, torch.float32):
    print(*fused.compare(kernels, dtype, torch.device("cpu")))
torch.manual_seed(0)
ln = torch.nn.LayerNorm(768).requires_grad_(False)
x, delta, dy = torch.randn(3, 2, 7, 768).unbind()
for d in (None, delta.half()):
    total, y, mean, rstd = kernels.norm_forward(x, d, ln.weight, ln.bias, ln.eps, torch.bfloat16)
    leaf = (x if d is None else x + d).requires_grad_()
    wanted = ln(leaf)
    dx, = torch.autograd.grad(wanted, leaf, dy.bfloat16().float())
    ours, again = kernels.norm_backward(dy.bfloat16(), None, total, ln.weight, mean, rstd, torch.float16)
    print(float((y - wanted).abs().max() / 4), float((ours - dx).abs().max()), float((again - dx).abs().max()))
"""


def test_kernels_compute_what_plain_pytorch_does():
    pytest.importorskip("triton")
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-2000:]
    errors = [float(word) for line in done.stdout.splitlines() for word in line.split()]
    assert len(errors) == 16 and max(errors) < 1e-2, errors


class Wrong:
    """Stands for Triton where it computes something else."""

    def __getattr__(self, name):
        right = getattr(Kernels, name)

        def call(*args):
            found = right(*args)
            return found * 1.1 if isinstance(found, torch.Tensor) else (found[0] * 1.1, *found[1:])
        return call


@pytest.mark.parametrize("module,reason", [(Wrong(), "their results are off by"), (None, "cannot import|halted")])
def test_kernels_that_do_not_work_are_not_used(module, reason, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "trainers.clip.kernels", module)
    monkeypatch.delattr(clip, "kernels", raising=False)
    with PretendCuda(), torch.inference_mode():
        found = real.__wrapped__()
    assert found is None and "layer norms and QuickGELU take plain PyTorch's" in caplog.text
    assert any(part in caplog.text for part in reason.split("|")), caplog.text


def test_kernels_that_work_are_used(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "trainers.clip.kernels", Kernels)
    monkeypatch.setattr(clip, "kernels", Kernels, raising=False)
    with PretendCuda(), torch.inference_mode():
        assert real.__wrapped__() is Kernels
