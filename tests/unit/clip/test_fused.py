"""Which dtype a norm has, where nothing is fused, and when kernels count as right."""
import pytest
import torch
from support.pretend_cuda import PretendCuda

from trainers.clip import fused


@pytest.mark.parametrize("dtype,expected", [(None, torch.float32), (torch.float16, torch.float16)])
def test_a_norm_computes_in_float32_and_gives_what_is_asked_for(dtype, expected):
    ln, x = torch.nn.LayerNorm(8).requires_grad_(False), torch.randn(3, 8).half()
    assert fused.norm(x, ln, dtype).dtype == expected
    assert torch.equal(fused.norm(x, ln), torch.nn.functional.layer_norm(x.float(), (8,), ln.weight, ln.bias))


def test_nothing_is_fused_inside_of_plain_and_on_the_cpu():
    assert not fused._fuses(torch.ones(1))
    with PretendCuda():
        x = torch.ones(1, device="cuda")
        assert fused._fuses(x)
        with fused.plain():
            assert not fused._fuses(x)
        assert fused._fuses(x)


def test_a_sum_alone_has_a_gradient_too():
    """Where nobody uses the norm, the residual stream's gradient goes to both of its parts, each in its dtype."""
    with PretendCuda():
        ln = torch.nn.LayerNorm(8).requires_grad_(False).cuda()
        x, delta = torch.randn(3, 8, device="cuda"), torch.randn(3, 8, device="cuda").half()
        x.requires_grad_(), delta.requires_grad_()
        total, _ = fused.add_norm(x, delta, ln, torch.float16)
        for leaf, gradient in zip((x, delta), torch.autograd.grad(total.sum(), (x, delta)), strict=True):
            assert gradient.dtype == leaf.dtype and torch.equal(gradient.cpu(), torch.ones(3, 8).to(leaf.dtype))


def test_a_norm_alone_leaves_its_input_as_it_is():
    with PretendCuda():
        ln = torch.nn.LayerNorm(8).requires_grad_(False).cuda()
        x = torch.randn(3, 8, device="cuda").requires_grad_()
        y = fused.norm(x, ln, torch.float32)
        gradient, = torch.autograd.grad((y * y).sum(), x)
        leaf = x.detach().cpu().requires_grad_()
        wanted = torch.nn.functional.layer_norm(leaf, (8,), ln.weight.cpu(), ln.bias.cpu())
        expected, = torch.autograd.grad((wanted * wanted).sum(), leaf)
        assert torch.allclose(y.detach().cpu(), wanted.detach(), atol=1e-6)
        assert torch.allclose(gradient.cpu(), expected, atol=1e-5)
