"""The ideas alone, against their formulas written out: aggregation, agreement, projection, the regulating function."""
import math

import pytest
import torch
import torch.nn.functional as F

from trainers.regulate import regulator as regulators
from trainers.regulate.aggregation import Aggregation, gaussian_weights
from trainers.regulate.consistency import agreement, logit_agreement
from trainers.regulate.projection import project
from trainers.regulate.regulator import Regulator


def test_gaussian_weights_are_the_normal_density():
    density = torch.distributions.Normal(3.0, 1.5).log_prob(torch.arange(1, 6).double()).exp()
    assert gaussian_weights(5, 3, 1.5) == pytest.approx((density / density.sum()).tolist(), rel=1e-7)
    assert gaussian_weights(1, 30, 10) == [1.0]


@pytest.mark.parametrize("epochs, mean, std, said", [
    (0, 1, 1, "aggregation over 0 epochs with GPA_STD 1: both"), (5, 1, 0, "GPA_STD 0: both"),
    (5, 1, -1, "GPA_STD -1: both"), (5, 1e6, 1, "every weight is zero")])
def test_weights_that_cannot_be(epochs, mean, std, said):
    with pytest.raises(ValueError, match=said):
        gaussian_weights(epochs, mean, std)


def test_aggregation_is_the_weighted_sum_in_float32():
    states = [{"a": torch.randn(2, 3).half().requires_grad_(), "b": torch.randn(4)} for _ in range(3)]
    running = Aggregation(3, 2, 1)
    for epoch, state in enumerate(states):
        running.add(epoch, state)
    for name, total in running.total.items():
        wanted = sum(w * state[name].detach().float() for w, state in zip(running.weights, states, strict=True))
        assert total.dtype == torch.float32 and not total.requires_grad and torch.allclose(total, wanted)
    assert running.total.keys() == states[0].keys()


def test_agreement_terms():
    features, frozen = (F.normalize(torch.randn(5, 7), dim=-1) for _ in range(2))
    assert agreement(features, frozen) == pytest.approx(F.l1_loss(features, frozen).item())
    logits, teacher = torch.randn(4, 6), torch.randn(4, 6)
    divergence = F.kl_div(logits.log_softmax(1), teacher.log_softmax(1), log_target=True, reduction="sum") / (4 * 6)
    assert logit_agreement(logits, teacher) == pytest.approx(divergence.item(), rel=1e-5)
    assert logit_agreement(teacher, teacher) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("strength", [0, 0.3, 1])
def test_a_conflicting_gradient_loses_its_part_against_the_guide(strength):
    gradient, guide = torch.tensor([[1.0, -4.0], [2.0, 3.0]]), torch.tensor([[1.0, 2.0], [-1.0, 0.0]])
    along = (gradient * guide).sum() / guide.square().sum()
    assert along < 0
    guides = [guide, -guide, guide, None]
    found, kept, missing, unguided = project([gradient, gradient, None, gradient], guides, strength)
    assert torch.allclose(found, gradient - strength * along * guide)
    assert torch.equal(kept, gradient) and missing is None and unguided is gradient
    if strength == 1:
        assert (found * guide).sum().abs() < 1e-6
    assert torch.allclose(project([gradient], [guide])[0], gradient - along * guide)


def test_the_least_agreement_is_no_conflict():
    gradient, guide = torch.tensor([0.01, 2.0]), torch.tensor([3.0, 0.0])
    assert torch.equal(project([gradient], [guide])[0], gradient)
    with pytest.raises(ValueError, match="shorter"):
        project([gradient], [])


# ---- GRAM's function

SHAPES = {"prompt_learner.ctx": (3, 8), "prompt_learner.meta_net.weight": (8, 2), "image_encoder.VPT": (3, 8),
          "image_encoder.VPT_shallow": (2, 6)}


def drawn(seed):
    torch.manual_seed(seed)
    return {name: torch.randn(shape) for name, shape in SHAPES.items()}


def trained(rank=4):
    """A regulator with all its weights drawn."""
    made = Regulator(SHAPES, rank=rank, seed=3, form="bend")
    torch.manual_seed(1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_it_has_the_prompts_grouped_by_shape():
    made = Regulator(SHAPES, rank=5, form="bend")
    assert made.names == ["prompt_learner.ctx", "image_encoder.VPT", "image_encoder.VPT_shallow"] and made.rank == 5
    assert {group: len(names) for group, names in made.members.items()} == {"3x8": 2, "2x6": 1}
    assert {name: tuple(value.shape) for name, value in made.bends["3x8"].named_parameters()} == {
        "down": (2, 5, 8), "shift": (2, 1, 5), "up": (2, 8, 5), "gate_in": (2, 16, 8), "gate_shift": (2, 16, 1),
        "gate_out": (2, 1, 16), "gate_bias": (2, 1, 1)}
    assert all((value == 0).all() for value in made.parameters())
    assert Regulator(SHAPES).rank == 32 and Regulator(SHAPES, rank=1).rank == 1


def test_it_draws_all_but_what_must_start_at_zero():
    bend = Regulator({"ctx": (4, 512)}, rank=64, seed=2, form="bend").bends["4x512"]
    assert bend.down.std().item() == pytest.approx(1, rel=0.02)
    assert bend.gate_in.std().item() == pytest.approx(512 ** -0.5, rel=0.05)
    assert all((value == 0).all() for value in (bend.up, bend.shift, bend.gate_shift, bend.gate_out, bend.gate_bias))
    again = Regulator({"ctx": (4, 512)}, rank=64, seed=2, form="bend").bends["4x512"]
    assert torch.equal(bend.down, again.down)


@torch.no_grad()
def test_directions_are_the_formulas():
    made, prompts, gradients = trained(), drawn(5), drawn(6)
    directions = made(prompts, gradients)
    assert list(directions) == list(gradients)
    assert directions["prompt_learner.meta_net.weight"] is gradients["prompt_learner.meta_net.weight"]
    for group, names in made.members.items():
        gates = made.bends[group].gates(torch.stack([prompts[name] for name in names]))
        for i, name in enumerate(names):
            own = {part: value[i] for part, value in made.bends[group].named_parameters()}
            mean = prompts[name].mean(0)
            mean = (mean - mean.mean()) / (mean.var(unbiased=False) + 1e-5).sqrt()
            hidden = (own["gate_in"] @ mean + own["gate_shift"][:, 0]).clamp(min=0)
            z = 1 / (1 + math.exp(-(own["gate_out"][0] @ hidden + own["gate_bias"][0, 0])))
            assert gates[i].item() == pytest.approx(z, rel=1e-5)
            for gradient, direction in zip(gradients[name], directions[name], strict=True):
                size = gradient.norm()
                bent = gradient + size * own["up"] @ (own["down"] @ gradient / size + own["shift"][0]).clamp(min=0)
                bent = bent * size / bent.norm()
                assert torch.allclose(direction, gradient + z * (bent - gradient), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_prompt_without_a_part_has_none_and_disturbs_no_other():
    made, prompts, gradients = trained(), drawn(5), drawn(6)
    whole = made(prompts, gradients)
    directions = made(prompts, {**gradients, "image_encoder.VPT": None})
    assert directions["image_encoder.VPT"] is None
    assert torch.equal(directions["prompt_learner.ctx"], whole["prompt_learner.ctx"])


@torch.no_grad()
def test_a_gradient_of_zero_stays_zero():
    directions = trained()(drawn(5), {name: torch.zeros(shape) for name, shape in SHAPES.items()})
    assert all(value.abs().max() < 1e-11 for value in directions.values())
    assert regulators.length(torch.tensor([3.0, 4.0])).tolist() == [5.0]


def test_what_it_cannot_regulate():
    with pytest.raises(ValueError, match="rank 0 with a gate of 16: both must be at least 1"):
        Regulator(SHAPES, rank=0)
    with pytest.raises(ValueError, match=r"prompt_learner.ctx has shape \[5, 3, 8\]"):
        Regulator({"prompt_learner.ctx": (5, 3, 8)})
