"""By how much Triton's kernels differ from plain PyTorch, in its interpreter: TRITON_INTERPRET must be 1."""
import torch
import torch.nn.functional as F

from trainers.clip import fused, kernels


def errors():
    """Return the largest differences: of ``fused.compare`` in two dtypes, of CLIP's width in other dtypes, at edges."""
    found = [error for dtype in (torch.float16, torch.float32)
             for error in fused.compare(kernels, dtype, torch.device("cpu"))]
    torch.manual_seed(0)
    ln = torch.nn.LayerNorm(768).requires_grad_(False)
    ln.weight.normal_(1.0, 0.2), ln.bias.normal_()
    x, delta, dy = torch.randn(3, 2, 7, 768).unbind()
    for d in (None, delta.half()):
        total, y, mean, rstd = kernels.norm_forward(x, d, ln.weight, ln.bias, ln.eps, torch.bfloat16)
        leaf = (x if d is None else x + d).requires_grad_()
        wanted = ln(leaf)
        dx, = torch.autograd.grad(wanted, leaf, dy.bfloat16().float())
        ours, again = kernels.norm_backward(dy.bfloat16(), None, total, ln.weight, mean, rstd, torch.float16)
        beside, _ = kernels.norm_backward(dy.bfloat16(), delta, total, ln.weight, mean, rstd, None)
        leaf, wanted = leaf.detach(), wanted.detach()
        found += [float((total - leaf).abs().max()), float((y - wanted).abs().max() / 4),
                  float((ours - dx).abs().max()), float((again - dx).abs().max()),
                  float((beside - dx - delta).abs().max())]
        assert again.dtype == torch.float16 and ours.dtype == torch.float32
    return [*found, *norms_of_small_numbers(), *blocks()]


def norms_of_small_numbers():
    """A row whose variance is no more than eps, and whose width fills no block; a gradient of its own dtype."""
    torch.manual_seed(1)
    x, dy = torch.randn(2, 4, 20).mul_(0.1).unbind()
    x.add_(0.3)
    weight, bias = torch.rand(20) + 0.5, torch.randn(20)
    leaf = x.clone().requires_grad_()
    wanted = F.layer_norm(leaf, (20,), weight, bias, 0.01)
    wanted_dx, = torch.autograd.grad(wanted, leaf, dy)
    total, y, mean, rstd = kernels.norm_forward(x, None, weight, bias, 0.01, torch.float32)
    dx, same = kernels.norm_backward(dy, None, total, weight, mean, rstd, torch.float32)
    assert same is dx and [kernels._rows(torch.empty(2, 3, width)) for width in (96, 512, 768, 5000)] == [
        (6, 96, 128, 1), (6, 512, 512, 2), (6, 768, 1024, 4), (6, 5000, 8192, 8)]
    pairs = (y, wanted), (dx, wanted_dx), (mean, x.mean(-1)), (rstd, (x.var(-1, correction=0) + 0.01).rsqrt())
    return [float((ours - theirs).abs().max()) for ours, theirs in pairs]


def blocks():
    """QuickGELU of one number more than a block: all of them, and what lies behind them stays as it was."""
    found = []
    for count in (1024, 1025):
        x, dy = torch.randn(2, count).unbind()
        leaf = x.clone().requires_grad_()
        wanted = leaf * torch.sigmoid(1.702 * leaf)
        slope, = torch.autograd.grad(wanted, leaf, dy)
        found += [float((kernels.gelu_forward(x) - wanted).abs().max()),
                  float((kernels.gelu_backward(dy, x) - slope).abs().max())]
        y, dx = torch.full((2, 2000), 7.0).unbind()
        kernels._gelu_forward[(2,)](x, y, count, BLOCK=1024)
        kernels._gelu_backward[(2,)](dy, x, dx, count, BLOCK=1024)
        for ours, theirs in ((y, wanted), (dx, slope)):
            found.append(float((ours[:count] - theirs).abs().max()))
            assert (ours[count:] == 7).all(), "written behind the last"
    return found


if __name__ == "__main__":
    print(*errors())
