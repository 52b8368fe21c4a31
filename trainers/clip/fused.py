"""Layer norm, the addition before it, and QuickGELU: each one kernel on a GPU, plain PyTorch everywhere else."""
import contextlib
import contextvars
import functools
import logging
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

log = logging.getLogger("promptreg")
_off: contextvars.ContextVar[bool] = contextvars.ContextVar("_off", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Context in which nothing is fused: for gradients of gradients, which the kernels have none of."""
    token = _off.set(True)
    try:
        yield
    finally:
        _off.reset(token)


@contextlib.contextmanager
def twice_differentiable() -> Iterator[None]:
    """Context in which attention, norms and activations have a backward that can itself be differentiated."""
    with _attention_by_products(), plain():
        yield


def _attention_by_products() -> contextlib.AbstractContextManager:
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:  # before torch 2.3
        if not torch.cuda.is_available():
            return contextlib.nullcontext()
        return torch.backends.cuda.sdp_kernel(enable_flash=False, enable_math=True, enable_mem_efficient=False)
    return sdpa_kernel(SDPBackend.MATH)


def norm(x: Tensor, ln: nn.LayerNorm, dtype: torch.dtype | None = None) -> Tensor:
    """Layer norm of ``x`` [..., D] in float32, whatever dtype it has; of ``dtype``, or float32."""
    if _fuses(x):
        return _AddNorm.apply(x, None, ln.weight, ln.bias, ln.eps, dtype or torch.float32)[1]
    y = F.layer_norm(x.float(), ln.normalized_shape, ln.weight, ln.bias, ln.eps)
    return y if dtype is None else y.to(dtype)


def add_norm(x: Tensor, delta: Tensor, ln: nn.LayerNorm, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return (x + delta, its layer norm in ``dtype``) of a residual stream ``x`` [..., D]."""
    if _fuses(x):
        total, y = _AddNorm.apply(x, delta, ln.weight, ln.bias, ln.eps, dtype)
        return total, y
    total = x + delta
    return total, norm(total, ln, dtype)


def quick_gelu(x: Tensor) -> Tensor:
    """Return x * sigmoid(1.702 x) of a fresh tensor that may be written over."""
    if _fuses(x):
        return _QuickGELU.apply(x)
    return F.silu(x.mul_(1.702)).div_(1.702)  # keeps one tensor for the backward


def _fuses(x: Tensor) -> bool:
    if not x.is_cuda or torch.compiler.is_compiling() or _off.get():
        return False
    return x.get_device() == torch.cuda.current_device() and kernels() is not None  # Triton starts them on that one


@functools.cache
def kernels() -> Any:
    """Return the module ``kernels``, or None, with a warning, where Triton is missing or computes something else."""
    try:
        from . import kernels as found
        with torch.inference_mode(False):
            errors = [error for dtype in (torch.float16, torch.float32)
                      for error in compare(found, dtype, torch.device("cuda"))]
        if not all(error < 1e-2 for error in errors):
            raise ValueError(f"their results are off by {max(errors):.1e}")
    except Exception as error:  # a missing compiler, a driver of another version: Triton has errors of many types
        log.warning("Triton's kernels are not used (%s): layer norms and QuickGELU take plain PyTorch's",
                    str(error).partition("\n")[0][:200] or type(error).__name__)
        return None
    return found


def compare(found: Any, dtype: torch.dtype, device: torch.device) -> Iterator[float]:
    """Yield by how much each kernel's result differs from plain PyTorch's, as a share of the largest entry."""
    generator = torch.Generator().manual_seed(0)
    x, delta, dy = (torch.randn(5, 96, generator=generator).to(device, dtype) for _ in range(3))
    ln = nn.LayerNorm(96).to(device).requires_grad_(False)
    ln.weight.add_(0.5)
    total, y, mean, rstd = found.norm_forward(x, delta, ln.weight, ln.bias, ln.eps, torch.float16)
    dx, _ = found.norm_backward(dy, dy, total, ln.weight, mean, rstd)
    activated, slope = found.gelu_forward(x), found.gelu_backward(dy, x)
    with plain(), torch.enable_grad():
        leaf, other = (t.float().requires_grad_() for t in (x + delta, x))
        wanted = norm(leaf, ln)
        wanted_dx, = torch.autograd.grad((wanted * dy).sum() + (leaf * dy).sum(), leaf)
        gelu = other * torch.sigmoid(1.702 * other)
        wanted_slope, = torch.autograd.grad((gelu * dy).sum(), other)
    for ours, theirs in ((total, leaf), (y, wanted), (dx, wanted_dx), (activated, gelu), (slope, wanted_slope)):
        yield float((ours.float() - theirs.detach()).abs().max() / theirs.detach().abs().max())


class _AddNorm(torch.autograd.Function):
    """(x, delta or None) -> (x + delta, its norm). The norm's weights are frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor | None, weight: Tensor, bias: Tensor, eps: float,
                dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        total, y, mean, rstd = kernels().norm_forward(x, delta, weight, bias, eps, dtype)
        ctx.save_for_backward(total, weight, mean, rstd)
        ctx.set_materialize_grads(False)
        ctx.delta_dtype = None if delta is None else delta.dtype
        return (total.view_as(total) if delta is None else total), y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dtotal: Tensor | None, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        total, weight, mean, rstd = ctx.saved_tensors
        if dy is None:
            delta = None if ctx.delta_dtype is None or dtotal is None else dtotal.to(ctx.delta_dtype)
            return dtotal, delta, None, None, None, None
        found = kernels().norm_backward(dy, dtotal, total, weight, mean, rstd, ctx.delta_dtype)
        return (*found, None, None, None, None)


class _QuickGELU(torch.autograd.Function):
    """x -> x * sigmoid(1.702 x)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        return kernels().gelu_forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        x, = ctx.saved_tensors
        return kernels().gelu_backward(dy, x)
