"""The gradients of a whole tuning: against central finite differences of the outer loss, in float64."""
import pytest
import torch
from support import reference

from dassl.config import get_cfg_default
from trainers.clip import load_clip
from trainers.meta.horizon import first_order, optimization, regulate, tune, weights
from trainers.meta.learner import Learner
from trainers.meta.together import Together
from trainers.regulate.regulator import Regulator

SHAPES = {"prompt_learner.ctx": (3, 5), "image_encoder.VPT": (2, 4)}
TASKS, STEPS, EPOCH = 3, 12, 3


@pytest.fixture
def toy():
    """(start, regulator of all its parts, outer loss, steps' losses, OPTIM), in float64."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        regulator = Regulator(SHAPES, 2, seed=1)
        for parameter in regulator.parameters():
            parameter.data = torch.randn_like(parameter) * 0.5
        start = {name: torch.randn(shape) for name, shape in SHAPES.items()}
        slopes = [{n: torch.randn(TASKS, *s) for n, s in SHAPES.items()} for _ in range(STEPS)]
        target = {n: torch.randn(TASKS, *s) for n, s in SHAPES.items()}
        optim = optimization(0.3, STEPS // EPOCH)
        optim.WEIGHT_DECAY = 0.0  # the formula leaves it out, as the Hessian
        yield start, regulator, lambda t: sum((t[n] - target[n]).pow(3).sum() for n in t), slopes, optim
    finally:
        torch.set_default_dtype(torch.float32)


def run(start, regulator, loss, optim, keep=False):
    each = {name: value.expand(TASKS, *value.shape) for name, value in start.items()}
    return tune(loss, each, optim, STEPS, EPOCH, regulator, keep)


def found_gradients(start, regulator, outer, loss, optim, learned):
    tuned = run(start, regulator, loss, optim, keep=True)
    theta = {name: value.requires_grad_() for name, value in tuned.theta.items()}
    slope = dict(zip(theta, torch.autograd.grad(outer(theta), list(theta.values())), strict=True))
    return {n: v.sum(0) for n, v in slope.items()}, first_order(tuned, slope, optim.MOMENTUM, regulator, learned), tuned


def agree(parameter, gradient, value):
    """Whether a gradient is the central difference of ``value()`` by each entry of a parameter."""
    flat = parameter.data.view(-1)
    for i in range(len(flat)):
        kept, ends = float(flat[i]), []
        for step in (1e-5, -1e-5):
            flat[i] = kept + step
            ends.append(value())
        flat[i] = kept
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(gradient.flatten()[i].item(), rel=1e-5, abs=1e-5)
    return len(flat)


def test_without_curvature_it_is_the_whole_gradient(toy):
    """Where the tuning's loss has no Hessian the first order is all: by start, common rho, each rho, a and V."""
    start, regulator, outer, slopes, optim = toy

    def loss(theta, step):
        return sum((slopes[step][n] * theta[n]).sum() for n in theta)
    learned = list(regulator.parameters())
    by_start, by_function, _ = found_gradients(start, regulator, outer, loss, optim, learned)

    def value():
        return outer(run(start, regulator, loss, optim).theta).item()
    checked = sum(agree(start[n], by_start[n], value) for n in start)
    checked += sum(agree(p, g, value) for p, g in zip(learned, by_function, strict=True))
    assert checked == 23 + sum(p.numel() for p in learned) and any(p is regulator.common for p in learned)


def test_with_curvature_it_is_the_gradient_at_the_gradients_found(toy):
    """The first-order part: what the end owes to start and function while each step's gradient is held."""
    start, regulator, outer, slopes, optim = toy

    def curved(theta, step):
        return sum(torch.sin(slopes[step][n] * theta[n]).sum() for n in theta)
    learned = [regulator.common, *(p for n, p in regulator.named_parameters() if "stretch" in n or "log_scale" in n)]
    by_start, by_function, tuned = found_gradients(start, regulator, outer, curved, optim, learned)

    def held(theta, step):
        return sum((tuned.gradients[step][n] * theta[n]).sum() for n in theta)

    def value():
        return outer(run(start, regulator, held, optim).theta).item()
    assert sum(agree(start[n], by_start[n], value) for n in start) == 23
    assert sum(agree(p, g, value) for p, g in zip(learned, by_function, strict=True)) == 1 + 2 + 4


def test_the_sum_through_a_linear_function_is_the_sum_of_all_steps(toy):
    start, regulator, outer, slopes, optim = toy
    _, short, tuned = found_gradients(start, regulator, outer, lambda t, s: sum((slopes[s][n] * t[n]).sum() for n in t),
                                      optim, [regulator.common])
    slope = {n: v.grad if v.grad is not None else torch.autograd.grad(outer(tuned.theta), v)[0]
             for n, v in tuned.theta.items()}
    long = -sum(c * (slope[n] * d).sum() for c, p, g in zip(weights(tuned.rates, 0.9), tuned.points, tuned.gradients,
                                                            strict=True) for n, d in regulate(regulator, p, g).items())
    assert short[0].item() == pytest.approx(long.item(), rel=1e-9)  # R's derivative by the common rho is R


def test_rates_are_the_trainers_and_their_weights_the_momentums(toy):
    start, _, _, slopes, optim = toy
    tuned = run(start, None, lambda t, s: sum((slopes[s][n] * t[n]).sum() for n in t), optim)
    assert tuned.rates[:EPOCH] == [1e-5] * EPOCH and tuned.rates[EPOCH] == 0.3 > tuned.rates[-1] > 0
    for n, value in start.items():
        moved = sum(c * g[n] for c, g in zip(weights(tuned.rates, 0.9), slopes, strict=True))
        assert torch.allclose(tuned.theta[n], value - moved, rtol=1e-9)
    assert not tuned.points and weights([1.0, 2.0], 0.5) == [2.0, 2.0]


@pytest.mark.parametrize("kind", ["coop", "cocoop", "vpt", "unigram"])
def test_side_by_side_is_as_alone(kind, tmp_path):
    clip = load_clip(str(reference.weights_file("vit", tmp_path)))
    cfg = get_cfg_default()
    cfg.merge_from_list(["TRAINER.IVLP.PROMPT_DEPTH_TEXT", 2, "TRAINER.IVLP.PROMPT_DEPTH_VISION", 2,
                         "TRAINER.COOP.N_CTX", 3, "TRAINER.COCOOP.N_CTX", 3])
    learner, names = Learner(kind, cfg, clip), [["red circle", "star", "seven"], ["star", "a much longer name"]]
    torch.manual_seed(0)
    prompts = {n: torch.stack([p, p + 0.1 * torch.randn_like(p)]) for n, p in learner.start().items()}
    prompts = {n: p.requires_grad_() for n, p in prompts.items()}
    size = (3, 32, 32) if learner.sees == "pixels" else (clip.embed_dim,)
    images = [torch.randn(2, *size), torch.randn(3, *size)]
    together = Together(learner, names)
    found = together(prompts, [together.embed(x) for x in images])
    for e, logits in enumerate(found):
        alone = learner.on(names[e])({n: p[e] for n, p in prompts.items()}, images[e])
        assert logits.shape == (len(images[e]), len(names[e])) and torch.allclose(logits, alone, rtol=1e-3, atol=1e-3)
    both = torch.autograd.grad(sum(x.sin().sum() for x in found), list(prompts.values()))
    for e in range(2):
        own = {n: p[e].detach().requires_grad_() for n, p in prompts.items()}
        mine = torch.autograd.grad(learner.on(names[e])(own, images[e]).sin().sum(), list(own.values()))
        for a, b in zip(both, mine, strict=True):
            assert (a[e] - b).norm() < 1e-3 * b.norm() + 1e-5
