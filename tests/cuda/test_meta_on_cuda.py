"""Meta-training on the pretended CUDA device: the file it leaves holds what the CPU's does."""
import shutil

import pytest
from support.meta_runs import make_pairs, meta_training
from support.pretend_cuda import PretendCuda

from trainers.meta import checkpoint


@pytest.mark.parametrize("precision,prompts", [("fp32", "coop"), ("fp32", "vpt"), ("bf16", "coop")])
def test_meta_training_runs_on_cuda_as_on_the_cpu(precision, prompts, tmp_path):
    pairs = make_pairs(tmp_path)
    assert meta_training(pairs, tmp_path / "cpu", precision, prompts=prompts) == 0
    shutil.rmtree(tmp_path / "gram")  # features and hierarchy are made anew
    with PretendCuda() as gpu:
        assert meta_training(pairs, tmp_path / "cuda", precision, cuda=True, prompts=prompts) == 0
    assert gpu.count("launch") > 1000 and not gpu.by_line("double")
    (theirs, regulator, _), (ours, other, _) = (checkpoint.read_meta(tmp_path / name / "meta.safetensors", "")
                                                for name in ("cpu", "cuda"))
    near = 1e-4 if precision == "fp32" else 4 * 0.005  # two steps of Adam, which may have gone to different sides
    for (name, a), b in zip([*theirs.items(), *regulator.named_parameters()], [*ours.values(), *other.parameters()],
                            strict=True):
        assert (a - b).abs().max() < near, name
