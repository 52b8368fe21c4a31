"""The frozen text encoder, prompted: the shared prefix once, then each class's own tokens, packed.

In a causal encoder the feature at the end-of-text token depends on no later position, and tokens before the class
name see only each other. So the prefix (start-of-text and shared context; a new set of context vectors at each deep
layer) is run once, not once per class; the classes' own tokens attend to its keys and values and to themselves. At the
last layer only the end-of-text tokens go on. Where classes have vectors of their own from a middle layer on, the prefix
is shared up to there.
"""
import ctypes
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from . import packed_attention
from .block import Block, attend, attend_after_prefix, linear
from .class_vectors import ClassVectors, check_class_vectors, enter, share_kept, unshare
from .fused import norm
from .packed_attention import attend_last, attend_packed
from .tokens import Chunk, PackedPrompts, Rows, pack
from .vectors import ANY, NO_ADAPTERS, Adapters, check_adapters, check_slots, check_vectors


class TextEncoder:
    """Text tower of an open_clip model with CLIP's plain causal transformer.

    Raises:
        TypeError: the tower is of another kind.
    """

    def __init__(self, tower: torch.nn.Module) -> None:
        _check(tower)
        self.tower = tower
        self.blocks = [Block(b) for b in tower.transformer.resblocks]
        self.width = self.blocks[0].width
        self.embedding = tower.token_embedding.weight  # [V, D], float32
        self.positional_embedding = tower.positional_embedding  # [77, D], float32
        self.projection = tower.text_projection  # [D, E]
        self.residual_dtype = torch.float32  # dtype of the residual stream
        self.budget = 1 << 30  # bytes that the classes' activations may take at a time

    def embed(self, tokens: Tensor) -> Tensor:
        """Return token embeddings [..., D] of ``tokens`` [...], without position."""
        return self.embedding[tokens]

    def chunk_tokens(self, grad: bool = True, sets: int = 1) -> int:
        """Return how many packed tokens fit into ``budget`` bytes of activations.

        With gradients each layer keeps about 10 vectors of width D a token (block input, queries, keys, values, MLP's
        input and hidden layer, attention weights), on CUDA, where the prefix's keys and values are copied, about 20;
        two of them are of the residual stream, the others of the matrix products' dtype. Without gradients, one layer's
        working space is all.
        """
        vectors = (20 if self.embedding.is_cuda else 10) * len(self.blocks) if grad else 24
        stream = 2 * len(self.blocks) if grad else 2
        size = stream * self.residual_dtype.itemsize + (vectors - stream) * self.compute_dtype.itemsize
        return max(16, self.budget // (size * self.width * sets))

    def pack(self, rows: Rows, grad: bool = True, sets: int = 1, unshared_from: int | None = None) -> PackedPrompts:
        """Return rows laid out for this encoder, on its device, in chunks that fit ``budget``: see ``chunk_tokens``.

        Args:
            rows: of the classes.
            grad, sets: see ``chunk_tokens``.
            unshared_from: the layer of ``ClassVectors``, if the classes have any.
        """
        on_cuda, most = self.embedding.is_cuda, self.chunk_tokens(grad, sets)
        groups = packed_attention.GROUPS if on_cuda else None
        if unshared_from is not None:  # from that layer on each class has the prefix's tokens besides
            most = max(16, int(most * share_kept(rows, unshared_from / len(self.blocks))))
        layout = pack(rows, most, groups=groups)
        for chunk in layout.chunks if unshared_from is not None else ():
            chunk.unshared = unshare(chunk, len(layout.prefix))
        layout.to(self.embedding.device)
        for chunk in layout.chunks if on_cuda else ():
            chunk.masks = packed_attention.masks(chunk, len(layout.prefix), self.compute_dtype)
            if chunk.unshared is not None:
                chunk.unshared.masks = packed_attention.masks(chunk.unshared, 1, self.compute_dtype)
        return layout

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype of matrix products."""
        return self.blocks[0].attn.in_proj_weight.dtype

    def __call__(self, layout: PackedPrompts, context: Tensor | None = None, deep: Sequence[Tensor | None] = (),
                 own: ClassVectors | None = None, adapters: Adapters = NO_ADAPTERS) -> Tensor:
        """Encode prompts.

        Args:
            layout: a ``tokens.PackedPrompts`` of C rows.
            context: learned vectors [K, D] for the rows' slots, or [G, K, D] for G sets of them (CoCoOp's one per
                image). None where the rows have no slots.
            deep: for each layer from the second on, vectors [n, D] (or [G, n, D]) that replace the prefix's slots
                there; at most ``len(blocks) - 1``. Later layers, and those with None, leave these positions alone.
                Where rows share no slot they replace all slots: then they are [K, D], as the context.
            own: of each class, of a layout that was packed for them (``unshared_from``), behind the last deep layer.
            adapters: of some blocks, for all tokens.

        Returns:
            Unnormalized features [C, E], or [G, C, E] for G sets.

        Raises:
            ValueError: vectors of another form, for more layers than there are, or none where the rows have slots.
        """
        check_vectors("text tower", self.width, len(self.blocks), context, deep, ANY)
        check_slots(layout, context, deep)
        if own is not None:
            check_class_vectors(own, self.width, len(self.blocks), layout, len(deep))
        check_adapters("text tower", len(self.blocks), adapters)
        batched = context is not None and context.dim() == 3
        sets = context if batched or context is None else context.unsqueeze(0)
        recompute = len(layout.chunks) > 1 and torch.is_grad_enabled()
        features = []
        for chunk in layout.chunks:
            run = functools.partial(self._run, layout, chunk, sets, deep, own, adapters)
            # memory of one chunk at a time: its inside, in which nothing is random, is computed again in the backward
            features.append(checkpoint(run, use_reentrant=False, preserve_rng_state=False) if recompute else run())
            if len(layout.chunks) > 1 and not features[-1].is_cuda:
                give_back()
                if features[-1].requires_grad:
                    features[-1].register_hook(give_back)  # in the backward, before this chunk's turn
        features = torch.cat(features, 1).index_select(1, layout.order)
        return features if batched else features[0]

    @staticmethod
    def _fill(x: Tensor, slots: Tensor, sets: Tensor | None) -> Tensor:
        """Put learned vectors [G, K, D] at their slots of ``x`` [T, D]; returns [G, T, D]."""
        x = x.unsqueeze(0)
        if len(slots) == 0 or sets is None:
            return x
        x = x.expand(len(sets), -1, -1)
        return x.index_copy(1, slots[:, 0], sets[:, slots[:, 1]].to(x.dtype))

    def _run(self, layout: PackedPrompts, chunk: Chunk, sets: Tensor | None, deep: Sequence[Tensor | None],
             own: ClassVectors | None, adapters: Adapters) -> Tensor:
        """Return features [G, c, E] of one chunk's c sequences, in packed order.

        The prefix's P tokens go first, through the same matrix products as the chunk's T; they are few beside a chunk.
        """
        p, where = len(layout.prefix), layout.prefix_context_positions[:, 0]
        which = None  # of a deep layer's vectors; all of them, where the slots are the prefix's
        if len(where) == 0 and deep:
            where, which = p + chunk.context_positions[:, 0], chunk.context_positions[:, 1]
        rest = self._fill(self.embed(chunk.tokens), chunk.context_positions, sets)
        rest = rest + self.positional_embedding[chunk.position_ids]
        prefix = self._fill(self.embed(layout.prefix), layout.prefix_context_positions, sets)
        prefix = prefix + self.positional_embedding[:p]
        both = max(len(prefix), len(rest))  # G, where only one of them holds learned vectors
        x = torch.cat([prefix.expand(both, -1, -1), rest.expand(both, -1, -1)], 1)  # [G, P + T, D]
        x = x.to(self.residual_dtype)
        masks = chunk.masks or packed_attention.masks(chunk, p, self.compute_dtype) if x.is_cuda else []
        for i, block in enumerate(self.blocks):
            if 0 < i <= len(deep) and (vectors := deep[i - 1]) is not None:
                vectors = vectors if which is None else vectors.index_select(-2, which)
                x = x.index_copy(1, where, vectors.to(x.dtype).expand(len(x), -1, -1))
            if own is not None and i == own.layer:
                x, p, chunk = enter(x, chunk, own.vectors)
                masks = chunk.masks or []
            last = i == len(self.blocks) - 1
            if x.is_cuda:
                x, mixed = self._attend_on_cuda(block, x, p, chunk, masks, last)
            else:
                x, mixed = self._attend_on_cpu(block, x, p, chunk, last)
            x = block.output_and_mlp(x, mixed, adapters.get(i))
        return linear(norm(x, self.tower.ln_final, self.projection.dtype), self.projection.T)

    @staticmethod
    def _attend_on_cuda(block: Block, x: Tensor, p: int, chunk: Chunk, masks: Sequence[tuple[Tensor, Tensor | None]],
                        last: bool) -> tuple[Tensor, Tensor]:
        """Return (residual stream, attention's output): of all tokens, or in the last layer of the last ones."""
        y = block.project_together(x, "kv" if last else "qkv")
        if not last:
            return x, attend_packed(y, p, chunk, masks)
        x = x.index_select(1, p + chunk.ends)
        return x, attend_last(block.project_together(x, "q"), y, p, chunk, masks)

    def _attend_on_cpu(self, block: Block, x: Tensor, p: int, chunk: Chunk, last: bool) -> tuple[Tensor, Tensor]:
        """Return the same, of sequences without padding."""
        # each group's share of the tokens, behind the prefix's; split, whose backward is one concatenation
        sizes = [p, *(count * length for count, length in chunk.groups)]
        if not last:
            (q_0, *q), (k_0, *k), (v_0, *v) = (y.split(sizes, 2) for y in block.project(x))  # [G, H, ., d] each
            # copies of the prefix's, or the backward would keep all of q, k, v
            q_0, k_0, v_0 = q_0.contiguous(), k_0.contiguous(), v_0.contiguous()
            mixed = [attend(q_0, k_0, v_0, causal=True), *self._mix(chunk.groups, q, k, v, k_0, v_0)]
        else:
            (k_0, *k), (v_0, *v) = (y.split(sizes, 2) for y in block.project(x, "kv"))
            x = x.index_select(1, p + chunk.ends)
            q = block.project(x, "q")[0].split([count for count, _ in chunk.groups], 2)
            mixed = self._mix(chunk.groups, q, k, v, k_0, v_0)
        return x, torch.cat(mixed, 1)

    @staticmethod
    def _mix(groups: Sequence[tuple[int, int]], q: Sequence[Tensor], k: Sequence[Tensor], v: Sequence[Tensor],
             prefix_k: Tensor, prefix_v: Tensor) -> list[Tensor]:
        """Attention of packed sequences to the prefix and to themselves, for each group of one length.

        Args:
            groups: [(sequences, length)].
            q: for each group [G, H, sequences * length, d], or [G, H, sequences, d] of the last tokens alone.
            k, v: for each group [G, H, sequences * length, d].
            prefix_k, prefix_v: [G, H, P, d].

        Returns:
            A list of [G, tokens of the group, D].
        """
        mixed = []
        for (count, _), *own in zip(groups, q, k, v, strict=True):
            q_own, k_own, v_own = (y.unflatten(2, (count, -1)) for y in own)  # [G, H, sequences, ., d]
            mixed.append(attend_after_prefix(q_own, k_own, v_own, prefix_k, prefix_v))
        return mixed


def _check(tower: torch.nn.Module) -> None:
    """Raise TypeError for a tower that would run and compute something else than CLIP's."""
    if getattr(tower, "attn_mask", None) is None:
        raise TypeError("its attention is not causal")
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", "argmax"))
    if pool != "argmax" or getattr(tower, "cls_emb", None) is not None:
        raise TypeError("its feature is not read at the end-of-text token")
    if not isinstance(tower.text_projection, torch.nn.Parameter):
        raise TypeError("its projection is no plain matrix")


@functools.cache
def _trim() -> Callable[[int], int]:
    """glibc's malloc_trim, or nothing to call where the C library is another."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda _: 0


def give_back(*_: object) -> None:
    """Release the heap's free pages.

    glibc keeps what tensors free, in gaps that the next chunk's aligned tensors of the same sizes do not fit into: a
    process would grow with every chunk, a step of 10,000 classes to 8.8 GB, most of it free, instead of 3.3 GB.
    """
    _trim()(0)
