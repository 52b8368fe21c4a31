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


def test_kernels_compute_what_plain_pytorch_does():
    """In a process whose Triton interprets, unless this one's does, as benchmarks/mutation.py's."""
    pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        from support import interpreted_kernels
        errors = interpreted_kernels.errors()
    else:
        done = subprocess.run([sys.executable, "-m", "support.interpreted_kernels"], cwd=ROOT, capture_output=True,
                              text=True, env={**os.environ, "TRITON_INTERPRET": "1",
                                              "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])})
        assert done.returncode == 0, done.stderr[-2000:]
        errors = [float(word) for word in done.stdout.split()]
    assert len(errors) == 32 and all(error < 1e-2 for error in errors), errors  # not even NaN, as max() would let pass


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
