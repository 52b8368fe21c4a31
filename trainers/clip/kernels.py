"""Triton kernels around CLIP's matrix products: layer norm with its casts and the addition before it, QuickGELU.

PyTorch starts three to five kernels for each of these, and as many in the backward; here it is one each. Numbers are
computed in float32 and rounded once. What a masked load returns outside of its mask is neither stored nor, unless it is
made zero, summed. ``fused`` decides where they are used; they have been run by Triton's interpreter
(tests/cuda/test_kernels.py), not yet on a GPU.
"""
import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _norm_forward(x, delta, weight, bias, total, y, mean, rstd, width, eps, HAS_DELTA: tl.constexpr,
                  BLOCK: tl.constexpr):
    """One row: total = x + delta, y = its layer norm."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    value = tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    if HAS_DELTA:
        value += tl.load(delta + row * width + columns, mask=inside, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)
        tl.store(total + row * width + columns, rounded, mask=inside)
        value = rounded.to(tl.float32)
    centre = tl.sum(value, axis=0) / width
    off = tl.where(inside, value - centre, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(off * off, axis=0) / width + eps)
    tl.store(mean + row, centre)
    tl.store(rstd + row, scale)
    gain = tl.load(weight + columns, mask=inside).to(tl.float32)
    shift = tl.load(bias + columns, mask=inside).to(tl.float32)
    tl.store(y + row * width + columns, (off * scale * gain + shift).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _norm_backward(dy, dtotal, total, weight, mean, rstd, dx, ddelta, width, HAS_TOTAL: tl.constexpr,
                   HAS_DELTA: tl.constexpr, BLOCK: tl.constexpr):
    """One row: the gradient of the norm's input, and of what goes on beside the norm."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    scale = tl.load(rstd + row)
    value = tl.load(total + row * width + columns, mask=inside).to(tl.float32)
    unit = tl.where(inside, (value - tl.load(mean + row)) * scale, 0.0)
    gain = tl.load(weight + columns, mask=inside).to(tl.float32)
    along = tl.where(inside, tl.load(dy + row * width + columns, mask=inside).to(tl.float32) * gain, 0.0)
    found = (along - tl.sum(along, axis=0) / width - unit * (tl.sum(along * unit, axis=0) / width)) * scale
    if HAS_TOTAL:
        found += tl.load(dtotal + row * width + columns, mask=inside).to(tl.float32)
    tl.store(dx + row * width + columns, found.to(dx.dtype.element_ty), mask=inside)
    if HAS_DELTA:
        tl.store(ddelta + row * width + columns, found.to(ddelta.dtype.element_ty), mask=inside)


@triton.jit
def _gelu_forward(x, y, count, BLOCK: tl.constexpr):
    """y = x * sigmoid(1.702 x)"""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count).to(tl.float32)
    tl.store(y + at, (value / (1.0 + tl.exp(-1.702 * value))).to(y.dtype.element_ty), mask=at < count)


@triton.jit
def _gelu_backward(dy, x, dx, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count).to(tl.float32)
    gate = 1.0 / (1.0 + tl.exp(-1.702 * value))
    slope = gate * (1.0 + 1.702 * value * (1.0 - gate))
    grad = tl.load(dy + at, mask=at < count).to(tl.float32)
    tl.store(dx + at, (grad * slope).to(dx.dtype.element_ty), mask=at < count)


def _rows(x: Tensor) -> tuple[int, int, int, int]:
    """Return (rows, width, block size, warps) of a contiguous tensor [..., D]."""
    width = x.shape[-1]
    block = triton.next_power_of_2(width)
    return x.numel() // width, width, block, min(max(block // 256, 1), 8)


def norm_forward(x: Tensor, delta: Tensor | None, weight: Tensor, bias: Tensor, eps: float,
                 dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (x + delta in the dtype of ``x``, its norm in ``dtype``, means [rows], inverse deviations [rows])."""
    x, delta = x.contiguous(), None if delta is None else delta.contiguous()
    rows, width, block, warps = _rows(x)
    total = x if delta is None else torch.empty_like(x)
    y = torch.empty_like(x, dtype=dtype)
    mean, rstd = torch.empty(2, rows, dtype=torch.float32, device=x.device)
    _norm_forward[(rows,)](x, x if delta is None else delta, weight, bias, total, y, mean, rstd, width, eps,
                           HAS_DELTA=delta is not None, BLOCK=block, num_warps=warps)
    return total, y, mean, rstd


def norm_backward(dy: Tensor, dtotal: Tensor | None, total: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor,
                  delta_dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the norm's input ``total``, plus ``dtotal``, and the same in ``delta_dtype``, or None."""
    dy, dtotal = dy.contiguous(), None if dtotal is None else dtotal.contiguous()
    rows, width, block, warps = _rows(total)
    dx = torch.empty_like(total)
    again = delta_dtype not in (None, total.dtype)
    ddelta = torch.empty_like(total, dtype=delta_dtype) if again else dx
    _norm_backward[(rows,)](dy, dy if dtotal is None else dtotal, total, weight, mean, rstd, dx, ddelta, width,
                            HAS_TOTAL=dtotal is not None, HAS_DELTA=again, BLOCK=block, num_warps=warps)
    return dx, None if delta_dtype is None else ddelta


def gelu_forward(x: Tensor) -> Tensor:
    """Return QuickGELU of ``x``."""
    y = torch.empty_like(x)
    _gelu_forward[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
    return y


def gelu_backward(dy: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of QuickGELU's input ``x``."""
    dy, dx = dy.contiguous(), torch.empty_like(x)
    _gelu_backward[(triton.cdiv(x.numel(), 1024),)](dy, x, dx, x.numel(), BLOCK=1024)
    return dx
