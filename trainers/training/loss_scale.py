"""Gradients that are not finite: found in every precision, and met by dynamic loss scaling for PREC amp."""
from collections.abc import Iterable

import torch


@torch.no_grad()
def all_finite(tensors: Iterable[torch.Tensor | None]) -> torch.Tensor:
    """Return a boolean scalar tensor, on the device: whether all entries of a list (None left out) are finite."""
    there = [t.flatten() for t in tensors if t is not None]
    return torch.isfinite(torch.cat(there)).all() if there else torch.tensor(True)


class LossScale:
    """Multiplies the loss so that half-precision gradients do not vanish (Micikevicius et al., arXiv 1710.03740).

    Attributes:
        scale: the present factor, a power of two, at least 1.
        good: steps since it last changed.
        left_out: steps that were left out since somebody set it to 0.
    """

    def __init__(self, scale: float = 2.0 ** 16, double_after: int = 2000) -> None:
        self.scale, self.good, self.double_after, self.left_out = scale, 0, double_after, 0

    def accept(self, finite: bool) -> bool:
        """Tell whether the step may be made, given whether all its gradients are finite; adapt the next one's scale."""
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.scale, self.left_out = max(self.scale / 2, 1.0), self.left_out + 1
        elif self.good == self.double_after:
            self.scale, self.good = self.scale * 2, 0
        return finite

    @property
    def exhausted(self) -> bool:
        """Whether the scale cannot be lowered any more."""
        return self.scale <= 1.0
