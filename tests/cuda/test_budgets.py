"""What a step may ask of a GPU: kernel launches and synchronizations, counted at full size without numbers."""
import pytest
import torch
from support.counted import second_step
from support.every_trainer import low_weights, made, meta_file
from support.pretend_cuda import PretendCuda

from dassl.config import get_cfg_default
from dassl.optim import build_optimizer
from trainers.compat.registry import TRAINERS
from trainers.gram import GRAM
from trainers.prompts import Prompts
from trainers.training.loss_scale import LossScale
from trainers.training.step import Step

RESNET = ("CoOp", "ProGrad")  # on RN50, as published; the others on ViT-B/16
LAUNCHES = {  # of a step in fp16 with ImageNet's 1,000 class names; 3 to 5% above what it is today
    "CoOp": 840, "CoCoOp": 770, "ProGrad": 1480, "KgCoOp": 770, "VPT": 330, "IVLP": 1050, "MaPLe": 1090,
    "PromptSRC": 1200, "GRAMPromptSRC": 1270}


@pytest.mark.parametrize("method", LAUNCHES)
def test_launches_of_a_step(method):
    gpu = second_step(method, "fp16", 1000, "RN50" if method in RESNET else "ViT-B/16")
    most = [f"{count} {what}" for what, count in gpu.by_line("launch").most_common(8)]
    assert gpu.count("launch") <= LAUNCHES[method], most
    assert not gpu.by_line("sync") and not gpu.by_line("double")


@pytest.mark.parametrize("precision", ["fp32", "amp", "bf16"])
def test_launches_of_promptsrc_in_every_precision(precision):
    gpu = second_step("PromptSRC", precision, 1000)
    assert gpu.count("launch") <= 1200 and not gpu.by_line("sync")


def test_without_triton_a_step_still_runs(monkeypatch):
    import support.pretend_cuda_patches as patches
    monkeypatch.setattr(patches, "Kernels", None)
    gpu = second_step("PromptSRC", "fp16", 1000)
    assert 1200 < gpu.count("launch") < 1800 and not gpu.by_line("sync")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "amp", "bf16"])
@pytest.mark.parametrize("name", ["PromptSRC", "GRAMProGrad"])
def test_nothing_waits_between_two_printed_lines(name, precision, tmp_path):
    """Once the graph is tried and the optimizer has state: before, amp asks whether the first step may be made."""
    weights, cls = low_weights(tmp_path, layers=2), TRAINERS.entries[name]
    meta = meta_file(cls, weights, tmp_path) if issubclass(cls.METHOD, GRAM) else ""
    with PretendCuda() as gpu:
        trainer = made(cls, precision, weights, tmp_path / "run", meta, "cuda", batches=8)
        trainer.cfg.defrost()
        trainer.cfg.TRAIN.PRINT_FREQ, trainer.max_epoch = 5, 1
        step, seen = trainer.forward_backward, []

        def watched(batch):
            seen.append(gpu.count("sync"))
            return step(batch)
        trainer.forward_backward = watched
        trainer.train()
    waits = [b - a for a, b in zip(seen, seen[1:], strict=False)]
    assert waits[1:4] == [0, 0, 0] and waits[5:] == [0, 0], waits
    assert waits[0] <= (2 if precision == "amp" else 1) and waits[4] > 0, "the fifth is printed"


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "radam"])
def test_amp_leaves_out_the_same_steps_without_waiting(optimizer):
    """Four steps of which the second overflows: prompts and optimizer as where the host decides, on the CPU."""
    cfg = get_cfg_default()
    cfg.merge_from_list(["OPTIM.NAME", optimizer, "OPTIM.LR", 0.1, "OPTIM.WEIGHT_DECAY", 0.1])
    found = {}
    with PretendCuda() as gpu:
        for device in ("cpu", "cuda"):
            torch.manual_seed(0)
            prompts = Prompts().put("prompt_learner.ctx", torch.randn(3, 4)).put("other", torch.randn(5)).to(device)
            parameters, scale = list(prompts.parameters()), LossScale(8.0, 2, device)
            optim = build_optimizer(prompts, cfg.OPTIM)
            for number in range(4):
                gradients = [torch.randn(p.shape).to(device) for p in parameters]
                if number == 1:
                    gradients[1][2] = float("inf")
                gpu.events.clear()
                step = Step(parameters, optim, scale)
                step.use(gradients)
                assert number < 2 or not gpu.by_line("sync"), "the counts of steps go over once"
                assert bool(step.finite)
            state = [v for p in parameters for _, v in sorted(optim.state[p].items()) if torch.is_tensor(v)]
            found[device] = [t.detach().cpu().float() for t in (*parameters, *state, scale.factor)]
            assert (scale.left_out, scale.good, scale.scale) == (1, 0, 8.0)
    for ours, theirs in zip(found["cuda"], found["cpu"], strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
