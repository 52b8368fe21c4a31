"""What the pretended CUDA device computes by kernels of its own: fused attention, Triton's (see ``pretend_cuda``)."""
import math

import torch
import torch.nn.functional as F
from torch import autograd

from .pretend_cuda_tensor import CUDA, CudaError, CudaTensor, running

PLAIN_ATTENTION = F.scaled_dot_product_attention


class Kernels:
    """Stands for trainers/clip/kernels.py: Triton's kernels on their plain twins' numbers."""

    @staticmethod
    def norm_forward(x, delta, weight, bias, eps, dtype):
        def compute(x, weight, bias, *delta):
            total = x + delta[0] if delta else x
            var, mean = torch.var_mean(total.float(), -1, correction=0)
            y = F.layer_norm(total.float(), weight.shape, weight, bias, eps).to(dtype)
            return [*([total] if delta else []), y, mean.flatten(), (var + eps).rsqrt().flatten()]
        found = running().kernel("norm", compute, x, weight, bias, *([] if delta is None else [delta]))
        return [x, *found] if delta is None else found

    @staticmethod
    def norm_backward(dy, dtotal, total, weight, mean, rstd, delta_dtype=None):
        def compute(dy, total, weight, mean, rstd, *dtotal):
            scale = rstd.view(*total.shape[:-1], 1)
            unit = (total.float() - mean.view_as(scale)) * scale
            along = dy.float() * weight
            dx = (along - along.mean(-1, keepdim=True) - unit * (along * unit).mean(-1, keepdim=True)) * scale
            dx = dx + dtotal[0].float() if dtotal else dx
            return [dx.to(total.dtype), *([] if delta_dtype is None else [dx.to(delta_dtype)])]
        more = [] if dtotal is None else [dtotal]
        found = running().kernel("norm_backward", compute, dy, total, weight, mean, rstd, *more)
        return found if delta_dtype is not None else (*found, None)

    @staticmethod
    def gelu_forward(x):
        def compute(x):
            return [(x.float() * torch.sigmoid(1.702 * x.float())).to(x.dtype)]
        return running().kernel("quick_gelu", compute, x)[0]

    @staticmethod
    def gelu_backward(dy, x):
        def compute(dy, x):
            gate = torch.sigmoid(1.702 * x.float())
            return [(dy.float() * gate * (1 + 1.702 * x.float() * (1 - gate))).to(x.dtype)]
        return running().kernel("quick_gelu_backward", compute, dy, x)[0]


# ---- attention

def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **more):
    """Scaled dot-product attention as PyTorch chooses it on CUDA: one fused kernel, or, if told so, matrix products."""
    if not isinstance(q, CudaTensor):
        return PLAIN_ATTENTION(q, k, v, attn_mask, dropout_p, is_causal, scale=scale, **more)
    kinds = {x.dtype for x in (q, k, v)}
    if len(kinds) > 1:
        raise CudaError(f"Expected query, key, and value to have the same dtype, but got {kinds}")
    if attn_mask is not None and not isinstance(attn_mask, CudaTensor):
        raise CudaError("Expected attn_mask to be on cuda:0, but it is on cpu")
    if attn_mask is not None and attn_mask.dtype not in (torch.bool, q.dtype):
        raise CudaError(f"Expected attn_mask dtype to be bool or to match query dtype, but got {attn_mask.dtype} and "
                        f"{q.dtype}")
    if not (torch._C._get_flash_sdp_enabled() or torch._C._get_mem_efficient_sdp_enabled()) or q.dim() != 4:
        return PLAIN_ATTENTION(q, k, v, attn_mask, dropout_p, is_causal, scale=scale, **more)
    if q.shape[0] > 65535:
        raise CudaError("CUDA error: invalid configuration argument")
    return FusedAttention.apply(q, k, v, prepared(attn_mask, k.shape[-2], q.dtype), is_causal)


def prepared(mask, keys, dtype):
    """Do what PyTorch does to a mask before the kernel: numbers for booleans, rows padded to multiples of 8."""
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=dtype, device=CUDA).masked_fill(mask.logical_not(), -math.inf)
    if mask is not None and any(stride % 8 for stride in mask.stride()[:-1]):
        mask = F.pad(mask, (0, -keys % 8))[..., :keys]
    return mask


class FusedAttention(autograd.Function):
    """The fused kernels: one forward, three backward."""

    @staticmethod
    def forward(ctx, q, k, v, mask, causal):
        def compute(q, k, v, *mask):
            out, weights = math_attention(q, k, v, mask[0] if mask else None, causal)
            return [laid_out(out.to(q.dtype)), weights]
        out, weights = running().kernel("attention", compute, q, k, v, *([] if mask is None else [mask]),
                                        operations=4 * q.numel() * k.shape[-2])
        ctx.save_for_backward(q, k, v, weights)
        return out

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx, grad):
        def compute(q, k, v, weights, grad):
            grad = grad.float()
            of_weights = weights * (grad @ v.float().mT)
            of_scores = (of_weights - weights * of_weights.sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
            found = of_scores @ k.float(), of_scores.mT @ q.float(), weights.mT @ grad
            return [laid_out(x.to(q.dtype)) for x in found]
        saved = ctx.saved_tensors  # once: a checkpoint hands them out no second time
        return (*running().kernel("attention_backward", compute, *saved, grad, launches=3,
                                  operations=10 * saved[0].numel() * saved[1].shape[-2]), None, None)


def laid_out(heads):
    """Return [B, H, N, d] as the fused kernels lay it out: [B, N, H, d], transposed."""
    return heads.transpose(1, 2).contiguous().transpose(1, 2)


def math_attention(q, k, v, mask, causal):
    """Return (output, weights) in float32."""
    scores = q.float() @ k.float().mT * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores + mask.float()
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
    weights = scores.softmax(-1)
    return weights @ v.float(), weights


__all__ = ["Kernels", "attention"]
