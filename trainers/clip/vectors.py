"""The form of learned vectors: what a tower cannot take, or would pass over, is an error and not a riddle."""
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from .tokens import PackedPrompts

# {block, from 0: what is added to its output, a function of its normed input [..., N, D]}, of any tokens alike
Adapters = Mapping[int, Callable[[Tensor], Tensor]]
NO_ADAPTERS: Adapters = MappingProxyType({})
ANY = -1  # number of sets of vectors


def check_vectors(tower: str, width: int, layers: int, first: Tensor | None, deep: Sequence[Tensor | None],
                  sets: int = 0) -> None:
    """Raise ValueError for vectors of another form than a tower takes, or behind its last layer.

    Args:
        tower: its name, for the message.
        width: of its layers, D.
        layers: how many it has.
        first: the input's vectors [n, D], or None.
        deep: those of each layer from the second on, or None for a layer that has none.
        sets: G, of vectors [G, n, D] that are accepted as well; ANY of any number of sets.
    """
    if len(deep) >= layers:
        raise ValueError(f"{tower}: deep vectors for {len(deep)} layers, and there are {layers - 1} behind the first")
    for layer, vectors in enumerate((first, *deep)):
        if vectors is None:
            continue
        fits = vectors.dim() == 2 or vectors.dim() == 3 and sets in (ANY, vectors.shape[0])
        if not fits or vectors.shape[-1] != width:
            more = f" or [{'G' if sets == ANY else int(sets)}, n, {width}]" if sets else ""
            raise ValueError(f"{tower}: the vectors of layer {layer} (0: the input) must be [n, {width}]{more}, got "
                             f"{list(vectors.shape)}")


def check_adapters(tower: str, layers: int, adapters: Adapters) -> None:
    """Raise ValueError for an adapter of a block that a tower does not have."""
    for block in adapters:
        if not 0 <= block < layers:
            raise ValueError(f"{tower}: an adapter for block {block}, and the blocks are 0 to {layers - 1}")


def check_slots(layout: PackedPrompts, context: Tensor | None, deep: Sequence[Tensor | None]) -> None:
    """Raise ValueError for a text tower's rows whose slots have no context vectors, or another number of deep ones."""
    slots, some = len(layout.prefix_context_positions), any(len(chunk.context_positions) for chunk in layout.chunks)
    if context is None and (slots or some):
        raise ValueError("text tower: the rows have slots and there are no context vectors for them: put them under "
                         "prompt_learner.ctx, or override text_features")
    if not slots and some and context is not None:  # each class or episode has its own
        slots = context.shape[-2]
    for layer, vectors in enumerate(deep, 1):
        if vectors is not None and vectors.shape[-2] != slots:
            raise ValueError(f"text tower: layer {layer} has {vectors.shape[-2]} vectors for {slots} slots that all "
                             "classes share before their names: make them as many")
