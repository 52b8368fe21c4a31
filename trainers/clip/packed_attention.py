"""Attention of packed prompts on a GPU: few fused kernels, whose keys stand behind the shared prefix's.

On CPUs the prefix's keys are never copied (``block.attend_after_prefix``); on a GPU each kernel launch costs as much as
some hundred tokens, so that the classes' sequences are padded to one to three lengths and each such group is one call.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .tokens import Chunk

GROUPS = 3  # lengths a chunk, at most


def masks(chunk: Chunk, prefix: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor | None]]:
    """Return what is added to each group's attention weights, made once.

    Args:
        chunk: C sequences, on their device.
        prefix: P, tokens of the prefix.
        dtype: of queries and keys.

    Returns:
        Of each group of c sequences, L long: (causal [L, P + L], that of the last tokens alone [c, 1, 1, P + L], or
        None where none is padded). Rows lie at multiples of 8 elements, as the kernels want them.
    """
    found = []
    sizes = [count for count, _ in chunk.groups]
    for (_, length), own in zip(chunk.groups, chunk.lengths.split(sizes), strict=True):
        keys = torch.arange(prefix + length, device=own.device)
        causal = keys <= prefix + torch.arange(length, device=own.device)[:, None]
        padded = int(own.min()) < length
        last = keys < prefix + own[:, None, None, None] if padded else None
        found.append((_added(causal, dtype), None if last is None else _added(last, dtype)))
    return found


def _added(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 0 where a key is ``seen`` [..., M] and minus infinity elsewhere."""
    m = seen.shape[-1]
    room = torch.zeros(*seen.shape[:-1], -(-m // 8) * 8, dtype=dtype, device=seen.device)[..., :m]
    return room.masked_fill_(~seen, float("-inf"))


def attend_packed(y: Tensor, prefix: int, chunk: Chunk, added: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Causal attention of prefix and sequences, each to the prefix and to itself.

    Args:
        y: queries, keys and values [G, P + T, 3, H, d] of the prefix and the chunk's T tokens.
        prefix: P.
        chunk: how the tokens are packed.
        added: ``masks`` of the chunk.

    Returns:
        [G, P + T, H * d].
    """
    first, *own = y.split([prefix, *(count * length for count, length in chunk.groups)], 1)
    q, kv = first.split([1, 2], 2)
    k, v = kv.unbind(2)
    mixed = [_fused(q.squeeze(2), k, v, causal=True)]
    for (count, _), part, (causal, _) in zip(chunk.groups, own, added, strict=True):
        q, kv_own = part.split([1, 2], 2)
        mixed.append(_group(q.squeeze(2).unflatten(1, (count, -1)), kv_own, kv, causal))
    return torch.cat(mixed, 1)


def attend_last(q: Tensor, y: Tensor, prefix: int, chunk: Chunk,
                added: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Attention of each sequence's last token alone.

    Args:
        q: their queries [G, C, 1, H, d].
        y: keys and values [G, P + T, 2, H, d] of all tokens.

    Returns:
        [G, C, H * d].
    """
    kv, *own = y.split([prefix, *(count * length for count, length in chunk.groups)], 1)
    mixed = []
    for part, kv_own, (_, last) in zip(q.split([count for count, _ in chunk.groups], 1), own, added, strict=True):
        if last is not None and len(q) > 1:
            last = last.repeat(len(q), 1, 1, 1)
        mixed.append(_group(part, kv_own, kv, last))
    return torch.cat(mixed, 1)


def _group(q: Tensor, own: Tensor, prefix: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of c sequences of one length.

    Args:
        q: [G, c, N, H, d].
        own: their keys and values [G, c * L, 2, H, d].
        prefix: the prefix's [G, P, 2, H, d].

    Returns:
        [G, c * N, H * d].
    """
    g, c = q.shape[:2]
    own = own.unflatten(1, (c, -1))
    shared = prefix.unsqueeze(1).expand(-1, c, -1, -1, -1, -1)
    k, v = torch.cat([shared, own], 2).flatten(0, 1).unbind(2)
    return _fused(q.flatten(0, 1), k, v, mask).unflatten(0, (g, c)).flatten(1, 2)


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of [B, N, H, d] on [B, M, H, d]; returns [B, N, H * d]."""
    heads = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(*heads, attn_mask=mask, is_causal=causal).transpose(1, 2).flatten(2)
