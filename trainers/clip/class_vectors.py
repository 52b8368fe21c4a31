"""Vectors of each class that enter the text tower at a middle layer: up to there the prefix is shared, then no more."""
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from .tokens import Chunk, PackedPrompts, Rows, pack


class ClassVectors(NamedTuple):
    """Vectors that each class has of its own, and that enter the text tower at a middle layer."""
    layer: int  # the block, from 0, before which they replace the tokens behind start-of-text
    vectors: Tensor  # [C, n, D]


def check_class_vectors(own: ClassVectors, width: int, layers: int, layout: PackedPrompts, deep: int) -> None:
    """Raise ValueError for classes' own vectors of another form than the text tower, or the layout, takes.

    Args:
        own: the vectors.
        width: of the tower's layers, D.
        layers: how many it has.
        layout: of C rows.
        deep: how many layers behind the first have vectors that all classes share.
    """
    if not deep + 1 <= own.layer < layers:
        raise ValueError(f"text tower: the classes' own vectors enter before block {own.layer}, which must be "
                         f"{deep + 1} to {layers - 1}: behind the deep vectors, in the tower")
    shape = tuple(own.vectors.shape)
    if len(shape) != 3 or shape[::2] != (layout.size, width) or not 0 < shape[1] < len(layout.prefix):
        raise ValueError(f"text tower: the classes' own vectors must be [{layout.size}, n, {width}], n from 1 to "
                         f"{len(layout.prefix) - 1}, the tokens that all classes share, got {list(shape)}")
    if any(chunk.unshared is None for chunk in layout.chunks):
        raise ValueError("text tower: the rows are packed for vectors that all classes share: text.pack(rows, "
                         "unshared_from=LAYER)")


def share_kept(rows: Rows, shared: float) -> float:
    """Return how many tokens of ``rows`` are packed while all layers share the prefix, as a share of those if only some
    do, a share ``shared`` of them, on average over the layers."""
    whole = pack(rows)
    own, more = len(whole.chunks[0].tokens), len(rows) * (len(whole.prefix) - 1)
    return own / (own + more * (1 - shared))


def unshare(chunk: Chunk, prefix: int) -> Chunk:
    """Return the same sequences with the prefix's tokens, but for start-of-text, before each one's own.

    Args:
        chunk: sequences behind a prefix that they share.
        prefix: P, its tokens.
    """
    source, first = [torch.zeros(1, dtype=torch.long)], prefix
    for count, length in chunk.groups:
        own = first + torch.arange(count * length).unflatten(0, (count, length))
        source.append(torch.cat([torch.arange(1, prefix).expand(count, -1), own], 1).flatten())
        first += count * length
    more = prefix - 1
    return replace(chunk, groups=[(count, length + more) for count, length in chunk.groups], source=torch.cat(source),
                   ends=chunk.ends + more * torch.arange(1, len(chunk.ends) + 1), lengths=chunk.lengths + more)


def enter(x: Tensor, chunk: Chunk, vectors: Tensor) -> tuple[Tensor, int, Chunk]:
    """Give each sequence a prefix of its own, whose tokens behind start-of-text are its class's vectors.

    Args:
        x: [G, P + T, D] of the shared prefix and the chunk.
        chunk: packed with ``unshared_from``.
        vectors: [C, n, D] of all classes.

    Returns:
        (the same [G, 1 + T', D], tokens that are still shared: 1, how they are packed now).
    """
    unshared = chunk.unshared
    assert unshared is not None and unshared.source is not None, "check_class_vectors has looked"
    x = x.index_select(1, unshared.source)
    first = 2 + unshared.ends - unshared.lengths  # behind start-of-text
    where = first[:, None] + torch.arange(vectors.shape[1], device=x.device)
    new = vectors.index_select(0, unshared.rows).flatten(0, 1).to(x.dtype)
    return x.index_copy(1, where.flatten(), new.expand(len(x), -1, -1)), 1, unshared
