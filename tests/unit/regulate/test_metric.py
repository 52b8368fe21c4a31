"""The regulating function as a metric: it neither drifts nor ascends, whatever it has learned; the first form does."""
import pytest
import torch

from trainers.meta import checkpoint
from trainers.regulate.regulator import Regulator

SHAPES = {"prompt_learner.ctx": (4, 48), "image_encoder.VPT": (4, 48), "image_encoder.VPT_shallow": (8, 32)}
DRAWS = 4000


def trained(form="metric", rank=8, scale=1.0):
    """A regulator with all its weights drawn."""
    made = Regulator(SHAPES, rank, seed=3, form=form)
    torch.manual_seed(1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return made


def drawn(seed):
    torch.manual_seed(seed)
    return {name: torch.randn(shape) for name, shape in SHAPES.items()}


@torch.no_grad()
def drift(regulator):
    """The longest mean answer to directions without a mean, as a share of the gradient's length."""
    torch.manual_seed(2)
    noise = {name: torch.nn.functional.normalize(torch.randn(DRAWS, width), dim=-1) for name, (_, width) in
             SHAPES.items()}
    if not regulator.linear:  # its gate reads the prompt, so each draw is one token of the same one
        prompts = {name: value[:1].expand(DRAWS, -1) for name, value in noise.items()}
        return max(value.mean(0).norm().item() for value in regulator(prompts, noise).values())
    return max((value.mean(0).norm() / value.norm(dim=-1).mean()).item() for value in regulator(noise, noise).values())


def test_noise_stays_without_a_mean():
    assert drift(trained()) < 0.05
    assert drift(trained(scale=3.0)) < 0.05


def test_the_first_form_drifts_and_its_files_in_the_repository_do():
    assert drift(trained("bend")) > 0.15
    _, shipped, about = checkpoint.read_meta(checkpoint.DEMO / "unigram.safetensors")
    assert shipped.form == "bend" and "form" not in about  # from before there were two
    name = "image_encoder.VPT"
    start = {n: torch.zeros(8 if "VPT" in n else 4, 64) for n in shipped.names}
    torch.manual_seed(0)
    noise = torch.nn.functional.normalize(torch.randn(DRAWS, 64), dim=-1)
    found = shipped({n: v[:1].expand(DRAWS, -1) for n, v in start.items()}, dict.fromkeys(start, noise))
    assert found[name].mean(0).norm() > 0.3


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.5, 3.0, 30.0])
def test_it_always_descends_and_is_linear(scale):
    made = trained(scale=min(scale, 3.0))
    for metric in made.metrics.values():
        metric.stretch.fill_(-scale)  # the strongest pull towards no descent
    a, b = drawn(4), drawn(5)
    along = {name: made.metrics[group].basis[i].mT[:SHAPES[name][0]] for group, names in made.members.items()
             for i, name in enumerate(names)}  # gradients that V holds whole
    for gradients in (a, b, along):
        for name, direction in made(a, gradients).items():
            assert ((direction * gradients[name]).sum(-1) > 0).all(), name
    found, other = made(a, a), made(a, b)
    for factor in (-2.0, 0.0, 1000.0):
        scaled = made(a, {name: factor * value for name, value in a.items()})
        assert all(torch.allclose(scaled[n], factor * found[n], rtol=1e-4, atol=1e-4 * abs(factor)) for n in a)
    both = made(a, {name: a[name] + b[name] for name in a})
    assert all(torch.allclose(both[n], found[n] + other[n], rtol=1e-4, atol=1e-4) for n in a)


@torch.no_grad()
def test_untrained_it_is_the_identity_to_the_bit():
    gradients = drawn(6)
    for made in (Regulator(SHAPES, 8, seed=1), Regulator(SHAPES, 8, seed=1).settle(), Regulator(SHAPES, 64, seed=1)):
        assert made.form == "metric"
        assert all(torch.equal(direction, gradients[n]) for n, direction in made(gradients, gradients).items())


@torch.no_grad()
def test_settled_no_step_decomposes_it(monkeypatch):
    settled, gradients = trained().settle(), drawn(9)
    monkeypatch.setattr(torch.linalg, "qr", lambda *_: pytest.fail("decomposed again"))
    assert settled(gradients, gradients)


@torch.no_grad()
def test_it_is_the_formula():
    made, gradients = trained(), drawn(7)
    found = made(gradients, gradients)
    settled = trained().settle()(gradients, gradients)
    for group, names in made.members.items():
        part = made.metrics[group]
        for i, name in enumerate(names):
            basis = torch.linalg.qr(part.basis[i].double()).Q  # [d, r]
            metric = torch.eye(len(basis)) + basis @ torch.diag(0.999 * part.stretch[i, 0].double().tanh()) @ basis.T
            wanted = (made.common + part.log_scale[i]).double().exp() * gradients[name].double() @ metric
            assert torch.allclose(found[name].double(), wanted, rtol=1e-4, atol=1e-4)
            assert torch.allclose(settled[name], found[name], rtol=1e-4, atol=1e-5)


def test_its_file_says_its_form(tmp_path):
    made = trained()
    checkpoint.write_meta(tmp_path / "meta.safetensors", drawn(1), made, {})
    _, again, about = checkpoint.read_meta(tmp_path / "meta.safetensors")
    assert about["form"] == again.form == "metric" and not any(p.requires_grad for p in again.parameters())
    gradients = drawn(8)
    for name, direction in again(gradients, gradients).items():
        assert torch.allclose(direction, made(gradients, gradients)[name], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="form 'line': it must be one of metric, bend"):
        Regulator(SHAPES, form="line")
