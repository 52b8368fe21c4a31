"""The form of learned vectors: what a tower cannot take, or would pass over, is an error and not a riddle."""
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

# {block, from 0: what is added to its output, a function of its normed input [..., N, D]}, of any tokens alike
Adapters = Mapping[int, Callable[[Tensor], Tensor]]
NO_ADAPTERS: Adapters = MappingProxyType({})


def check_vectors(tower: str, width: int, layers: int, first: Tensor | None, deep: Sequence[Tensor | None],
                  sets: bool = False) -> None:
    """Raise ValueError for vectors of another form than a tower takes, or behind its last layer.

    Args:
        tower: its name, for the message.
        width: of its layers, D.
        layers: how many it has.
        first: the input's vectors [n, D], or None.
        deep: those of each layer from the second on, or None for a layer that has none.
        sets: whether vectors may be [G, n, D], of G sets.
    """
    if len(deep) >= layers:
        raise ValueError(f"{tower}: deep vectors for {len(deep)} layers, and there are {layers - 1} behind the first")
    for layer, vectors in enumerate((first, *deep)):
        if vectors is None:
            continue
        if vectors.dim() not in ((2, 3) if sets else (2,)) or vectors.shape[-1] != width:
            raise ValueError(f"{tower}: the vectors of layer {layer} (0: the input) must be [n, {width}], got "
                             f"{list(vectors.shape)}")


def check_adapters(tower: str, layers: int, adapters: Adapters) -> None:
    """Raise ValueError for an adapter of a block that a tower does not have."""
    for block in adapters:
        if not 0 <= block < layers:
            raise ValueError(f"{tower}: an adapter for block {block}, and the blocks are 0 to {layers - 1}")
