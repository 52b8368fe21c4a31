"""By how much Triton's kernels differ from plain PyTorch, in its interpreter: TRITON_INTERPRET must be 1."""
import torch

from trainers.clip import fused, kernels


def errors():
    """Return the largest differences: of ``fused.compare`` in two dtypes, then of CLIP's width in other dtypes."""
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
    return found


if __name__ == "__main__":
    print(*errors())
