"""What PretendCuda puts in place of PyTorch's own while it is on: the driver, pinned memory, attention, NCCL."""
import math
import sys
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn.functional as F
import torch.utils._foreach_utils
from torch import autograd
from torch.utils._device import DeviceContext

try:
    from trainers.clip import fused
except ImportError:  # benchmarks/launches.py counts an older version's launches, too
    fused = None

from .pretend_cuda import CUDA, CudaError, CudaTensor, _shapes_alone, content, means_cuda, running, wrapped

PLAIN_ATTENTION = F.scaled_dot_product_attention
PLAIN_FORK = torch.random.fork_rng


def patches(gpu):
    """Return the context managers that make PyTorch find the device ``gpu``."""
    foreach = {"_foreach_supported_types": [torch.Tensor, torch.nn.Parameter, CudaTensor],
               "_get_foreach_kernels_supported_devices": lambda: ["cuda"]}
    return [mock.patch.object(owner, name, value) for owner, names in {
        torch.cuda: driver(gpu), torch.accelerator: accelerator(),
        torch: {"tensor": on_cpu_first(torch.tensor), "as_tensor": on_cpu_first(torch.as_tensor)},
        torch.random: {"fork_rng": lambda *_, **__: PLAIN_FORK(devices=[])},
        torch.Tensor: {"pin_memory": pin_memory, "is_pinned": lambda tensor, *_: getattr(tensor, "pinned", False)},
        F: {"scaled_dot_product_attention": attention}, dist: nccl(),
        **({fused: {"kernels": lambda: Kernels}} if fused else {}),
        DeviceContext: {"__torch_function__": noted(DeviceContext.__torch_function__)},
        sys.modules["torch.optim.optimizer"]: foreach, torch.utils._foreach_utils: foreach,
    }.items() for name, value in names.items()]


def driver(gpu):
    """Return what stands for functions of torch.cuda, {name: function}."""
    def set_states(states):
        if any(isinstance(state, CudaTensor) for state in states):
            raise TypeError("RNG state must be a torch.ByteTensor")
        gpu.generator.set_state(states[0])
    nothing = lambda *_, **__: None  # noqa: E731
    return {
        "is_available": lambda: True, "is_initialized": lambda: True, "init": nothing, "_lazy_init": nothing,
        "device_count": lambda: gpu.gpus, "current_device": lambda: 0, "set_device": nothing, "empty_cache": nothing,
        "synchronize": lambda *_: gpu.add("sync", "synchronize"), "get_device_name": lambda *_: "Pretended GPU",
        "get_device_capability": lambda *_: (9, 0), "mem_get_info": lambda *_: (gpu.memory, 80 << 30),
        "max_memory_allocated": lambda *_: 1 << 30, "memory_allocated": lambda *_: 1 << 30,
        "manual_seed": gpu.generator.manual_seed, "manual_seed_all": gpu.generator.manual_seed,
        "get_rng_state": lambda *_: gpu.generator.get_state(),
        "get_rng_state_all": lambda: [gpu.generator.get_state()], "set_rng_state_all": set_states}


def accelerator():
    return {"is_available": lambda: True, "current_accelerator": lambda *_, **__: torch.device("cuda"),
            "device_count": lambda: 1, "current_device_index": lambda: 0, "set_device_index": lambda *_: None}


def noted(make):
    """Note that a factory runs below ``with torch.device("meta")``."""
    def made(context, *args, **kwargs):
        if context.device.type != "meta":
            return make(context, *args, **kwargs)
        _shapes_alone.append(context)
        try:
            return make(context, *args, **kwargs)
        finally:
            _shapes_alone.pop()
    return made


def pin_memory(tensor, *_):
    if isinstance(tensor, CudaTensor):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor', only dense CPU tensors can be pinned")
    copy = tensor.clone()
    copy.pinned = True
    return copy


def on_cpu_first(make):
    """torch.tensor and torch.as_tensor look for the driver before anything is dispatched."""
    def made(data, *args, device=None, **kwargs):
        if not means_cuda(device):
            return make(data, *args, device=device, **kwargs)
        return make(data, *args, device="cpu", **kwargs).to(CUDA)
    return made


def nccl():
    """NCCL is gloo: it takes contiguous CUDA tensors and no others."""
    def inside(tensor):
        if not isinstance(tensor, CudaTensor):
            raise RuntimeError("No backend type associated with device type cpu")
        if not tensor.is_contiguous():
            raise ValueError("Tensors must be contiguous")
        return tensor.content

    def all_gather(outputs, tensor, *args, **kwargs):
        return gather([inside(output) for output in outputs], inside(tensor), *args, **kwargs)
    start, reduce, cast, gather = dist.init_process_group, dist.all_reduce, dist.broadcast, dist.all_gather
    return {"init_process_group": lambda backend=None, **more: start("gloo" if backend == "nccl" else backend, **more),
            "get_backend": lambda *_: "nccl", "all_gather": all_gather,
            "all_reduce": lambda tensor, *args, **more: reduce(inside(tensor), *args, **more),
            "broadcast": lambda tensor, *args, **more: cast(inside(tensor), *args, **more)}


class Kernels:
    """Stands for trainers/clip/kernels.py: Triton's kernels on their plain twins' numbers."""

    @staticmethod
    def norm_forward(x, delta, weight, bias, eps, dtype):
        inner = content(x) if delta is None else content(x) + content(delta)
        var, mean = torch.var_mean(inner.float(), -1, correction=0)
        y = F.layer_norm(inner.float(), weight.shape, content(weight), content(bias), eps).to(dtype)
        out = [wrapped(t.contiguous()) for t in (inner, y, mean.flatten(), (var + eps).rsqrt().flatten())]
        running().kernel("norm", x, *([] if delta is None else [delta]), out=out)
        return [x, *out[1:]] if delta is None else out

    @staticmethod
    def norm_backward(dy, dtotal, total, weight, mean, rstd, delta_dtype=None):
        value, scale = content(total).float(), content(rstd).view(*total.shape[:-1], 1)
        unit = (value - content(mean).view_as(scale)) * scale
        along = content(dy).float() * content(weight)
        dx = (along - along.mean(-1, keepdim=True) - unit * (along * unit).mean(-1, keepdim=True)) * scale
        dx = dx if dtotal is None else dx + content(dtotal).float()
        delta = None if delta_dtype is None else wrapped(dx.to(delta_dtype))
        dx = wrapped(dx.to(total.dtype))
        running().kernel("norm_backward", dy, total, out=[dx])
        return dx, delta

    @staticmethod
    def gelu_forward(x):
        value = content(x).float()
        y = wrapped((value * torch.sigmoid(1.702 * value)).to(x.dtype))
        running().kernel("quick_gelu", x, out=[y])
        return y

    @staticmethod
    def gelu_backward(dy, x):
        value = content(x).float()
        gate = torch.sigmoid(1.702 * value)
        dx = wrapped((content(dy).float() * gate * (1 + 1.702 * value * (1 - gate))).to(x.dtype))
        running().kernel("quick_gelu_backward", dy, x, out=[dx])
        return dx


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
        ctx.causal, inner = causal, [content(x) for x in (q, k, v, mask)]
        out, weights = math_attention(*inner, causal)
        out = laid_out(out.to(q.dtype))
        ctx.save_for_backward(q, k, v, wrapped(weights))
        running().kernel("attention", q, k, v, out=[out], operations=4 * q.numel() * k.shape[-2])
        return out

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx, grad):
        q, k, v, weights = (content(x) for x in ctx.saved_tensors)
        grad = content(grad).float()
        of_weights = weights * (grad @ v.float().mT)
        of_scores = (of_weights - weights * of_weights.sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        found = of_scores @ k.float(), of_scores.mT @ q.float(), weights.mT @ grad
        found = [laid_out(x.to(q.dtype)) for x in found]
        running().kernel("attention_backward", *ctx.saved_tensors[:3], out=found, launches=3,
                         operations=10 * q.numel() * k.shape[-2])
        return (*found, None, None)


def laid_out(heads):
    """Return [B, H, N, d] as the fused kernels lay it out: [B, N, H, d], transposed."""
    return wrapped(heads.transpose(1, 2).contiguous().transpose(1, 2))


def math_attention(q, k, v, mask, causal):
    """Return (output, weights) in float32."""
    scores = q.float() @ k.float().mT * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores + mask.float()
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
    weights = scores.softmax(-1)
    return weights @ v.float(), weights


__all__ = ["patches"]
