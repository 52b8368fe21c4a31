"""Which dtype a norm has, where nothing is fused, and when kernels count as right."""
import sys
from types import SimpleNamespace

import pytest
import torch
from support.pretend_cuda import PretendCuda

from trainers.clip import fused
from trainers.clip.fused import plain


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


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("used", [True, False])
def test_a_norm_that_nobody_uses_hands_gradients_on(dtype, used):
    """To what there is: no second part, or none of them where nobody used the sum either."""
    ctx = SimpleNamespace(saved_tensors=[None] * 4, delta_dtype=dtype)
    dtotal = torch.ones(2) if used else None
    first, second, *rest = fused._AddNorm.backward(ctx, dtotal, None)
    assert first is dtotal and rest == [None] * 4
    assert (second is None) is (dtype is None or not used) and (second is None or second.dtype == dtype)


@pytest.mark.parametrize("cuda", [True, False])
def test_attention_by_products_before_torch_2_3(cuda, monkeypatch):
    asked = []
    monkeypatch.setitem(sys.modules, "torch.nn.attention", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.cuda, "sdp_kernel", lambda **kernels: asked.append(kernels) or plain(),
                        raising=False)
    with fused._attention_by_products():
        assert asked == [{"enable_flash": False, "enable_math": True, "enable_mem_efficient": False}][:int(cuda)]


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
