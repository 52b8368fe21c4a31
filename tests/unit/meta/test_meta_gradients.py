"""The bi-level loop's gradients: against finite differences in float64, and the first order against its definition."""
import pytest
import torch
import torch.nn.functional as F

from trainers.meta.bilevel import adapt, meta_gradients
from trainers.regulate.regulator import Regulator

SHAPES = {"prompt_learner.ctx": (3, 5), "image_encoder.VPT": (2, 4)}
STEPS = 3


def toy(seed=0, form="bend"):
    """A two-tower toy with curvature: (support loss, [(weight, query loss)], start, rates, regulator), in float64."""
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    try:
        text, image = torch.randn(6, 15), torch.randn(6, 8)

        def loss(targets, shift):
            return lambda p: F.cross_entropy(4 * torch.tanh(text @ p["prompt_learner.ctx"].flatten() + shift).outer(
                torch.sin(image @ p["image_encoder.VPT"].flatten())), targets)

        regulator = Regulator(SHAPES, 3, seed=1, form=form)
        for parameter in regulator.parameters():
            parameter.data = torch.randn_like(parameter) * 0.5
        start = {n: torch.randn(s, requires_grad=True) for n, s in SHAPES.items()}
        rates = {n: torch.tensor(0.3 + 0.1 * i, requires_grad=True) for i, n in enumerate(SHAPES)}
        queries = [(1.0, loss(torch.tensor([3, 3, 1, 0, 2, 5]), 0.2)),
                   (0.7, loss(torch.tensor([0, 1, 2, 3, 4, 5]), -0.4))]
        return loss(torch.tensor([0, 2, 1, 5, 3, 4]), 0.0), queries, start, rates, regulator
    finally:
        torch.set_default_dtype(torch.float32)


def outer(support, queries, start, rates, regulator, order):
    theta = adapt(support, start, rates, regulator, STEPS, order)
    return sum(weight * loss(theta) for weight, loss in queries)


def test_second_order_equals_finite_differences():
    support, queries, start, rates, regulator = toy()
    learned = [*start.values(), *rates.values(), *regulator.parameters()]
    found, values = meta_gradients(support, queries, start, rates, regulator, STEPS, 2, learned)
    assert len(values) == 2
    checked, h = 0, 1e-5
    for parameter, gradient in zip(learned, found, strict=True):
        flat, scale = parameter.data.view(-1), gradient.abs().max().clamp_min(1e-3)
        for i in range(len(flat)):
            kept = float(flat[i])
            flat[i] = kept + h
            above = outer(support, queries, start, rates, regulator, 2).item()
            flat[i] = kept - h
            below = outer(support, queries, start, rates, regulator, 2).item()
            flat[i] = kept
            assert (above - below) / (2 * h) == pytest.approx(gradient.flatten()[i].item(), abs=1e-6 * float(scale))
            checked += 1
    assert checked == sum(p.numel() for p in learned) > 200


def test_first_order_is_second_order_without_the_hessian():
    support, queries, start, rates, regulator = toy()
    learned = [*start.values(), *rates.values(), *regulator.parameters()]
    first, _ = meta_gradients(support, queries, start, rates, regulator, STEPS, 1, learned)
    second, _ = meta_gradients(support, queries, start, rates, regulator, STEPS, 2, learned)

    # The second-order loop on the loss whose Hessian is taken away: its linearization at each point it comes to.
    points, theta = [], start
    for _ in range(STEPS):
        points.append({n: t.detach() for n, t in theta.items()})
        theta = adapt(support, theta, rates, regulator, 1, 0)
    at = iter(points)

    def linear(prompts):
        here = {n: p.clone().requires_grad_() for n, p in next(at).items()}
        slope = torch.autograd.grad(support(here), list(here.values()))
        return sum((g * prompts[n]).sum() for g, n in zip(slope, here, strict=True))

    without, _ = meta_gradients(linear, queries, start, rates, regulator, STEPS, 2, learned)
    for a, b, c in zip(first, without, second, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
        assert a.numel() == 1 or not torch.allclose(a, c, rtol=1e-3)


def test_plain_adaptation_is_gradient_descent():
    support, _, start, rates, _ = toy()
    by_hand = {n: p.detach().clone() for n, p in start.items()}
    for _ in range(STEPS):
        at = {n: p.requires_grad_() for n, p in by_hand.items()}
        slope = dict(zip(at, torch.autograd.grad(support(at), list(at.values())), strict=True))
        by_hand = {n: (p - rates[n] * slope[n]).detach() for n, p in at.items()}
    for order in (0, 1, 2):
        theta = adapt(support, start, rates, None, STEPS, order)
        assert all(torch.allclose(theta[n], by_hand[n], rtol=1e-12) for n in start)
    untrained = Regulator(SHAPES, 3, seed=1).double()
    theta = adapt(support, start, rates, untrained, STEPS, 0)
    assert all(torch.equal(theta[n], adapt(support, start, rates, None, STEPS, 0)[n]) for n in start)


def test_attention_of_the_real_towers_differentiates_twice(tmp_path):
    from support import reference

    from dassl.config import get_cfg_default
    from trainers.clip import load_clip
    from trainers.clip.fused import twice_differentiable
    from trainers.meta.learner import Learner
    clip = load_clip(str(reference.weights_file("vit", tmp_path)))
    cfg = get_cfg_default()
    cfg.merge_from_list(["TRAINER.IVLP.PROMPT_DEPTH_TEXT", 2, "TRAINER.IVLP.PROMPT_DEPTH_VISION", 2])
    learner = Learner("unigram", cfg, clip)
    torch.manual_seed(0)
    start = {n: p.requires_grad_() for n, p in learner.start().items()}
    regulator = Regulator({n: p.shape for n, p in start.items()}, 2, seed=1)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 1])
    logits = learner.on(["red circle", "star", "seven"])

    def loss(prompts):
        return F.cross_entropy(logits(prompts, images), labels)

    rates = {n: torch.tensor(1.0) for n in start}
    learned = [*start.values(), *regulator.parameters()]
    with twice_differentiable():
        second, _ = meta_gradients(loss, [(1.0, loss)], start, rates, regulator, 2, 2, learned)
        first, _ = meta_gradients(loss, [(1.0, loss)], start, rates, regulator, 2, 1, learned)
    assert all(torch.isfinite(g).all() for g in second)
    assert any(not torch.allclose(a, b, rtol=1e-2) for a, b in zip(second, first, strict=True))
    # along one direction the second-order gradient is what the outer loss really does (float32: coarse)
    direction = {n: torch.randn_like(p) for n, p in start.items()}

    def value(t):
        moved = {n: p.detach() + t * direction[n] for n, p in start.items()}
        return loss(adapt(loss, moved, rates, regulator, 2, 0)).item()
    slope = sum((g * direction[n]).sum().item() for g, n in zip(second, start, strict=False))
    assert (value(3e-4) - value(-3e-4)) / 6e-4 == pytest.approx(slope, rel=0.05, abs=0.01)
