"""What PretendCuda puts in place of PyTorch's own while it is on: the driver, pinned memory, attention, NCCL."""
import contextlib
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

from .pretend_cuda import CUDA, CudaError, CudaTensor, _shapes_alone, means_cuda, running, tensors_of

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
        "reset_peak_memory_stats": nothing,
        "manual_seed": gpu.generator.manual_seed, "manual_seed_all": gpu.generator.manual_seed,
        "get_rng_state": lambda *_: gpu.generator.get_state(),
        "get_rng_state_all": lambda: [gpu.generator.get_state()], "set_rng_state_all": set_states, **graphs(gpu)}


def graphs(gpu):
    """Return what stands for CUDA graphs and streams."""
    class Graph:
        def replay(self):
            gpu.add("launch", "graph", 1)
            self.tape.replay()

    @contextlib.contextmanager
    def capture(graph):
        graph.tape = gpu.tape = Tape()
        try:
            yield
        finally:
            gpu.tape = None
        graph.tape.forget()

    class Stream:
        def wait_stream(self, other):
            pass
    return {"CUDAGraph": Graph, "graph": capture, "Stream": Stream, "current_stream": Stream,
            "stream": lambda stream: contextlib.nullcontext()}


class Tape:
    """What a CUDA graph holds: operators and the memory that they read and write, the same at each replay."""

    def __init__(self):
        self.entries, self.made = [], set()

    def add(self, again, made, written=()):
        """Add an operator: ``again`` computes it anew from the memory as it then is, for the tensors ``made``."""
        if any(id(t) not in self.made and t._base is None for t in written):
            raise CudaError("a captured step writes to memory that was there before")
        self.made |= {id(t) for t in made}
        self.entries.append((again, made))

    def forget(self):
        """A capture computes nothing: let nobody use what it has made before a replay."""
        for _, made in self.entries:
            for t in made:
                if t.dtype.is_floating_point:
                    t.content.fill_(math.nan)

    def replay(self):
        for again, made in self.entries:
            found = again()
            for old, new in zip(made, tensors_of(found, []), strict=True) if made else ():
                old.content.copy_(new)


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


__all__ = ["patches"]
