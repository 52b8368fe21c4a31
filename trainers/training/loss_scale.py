"""Gradients that are not finite: found in every precision, and met by dynamic loss scaling for PREC amp.

All of it stays on the device: the host asks for a number where it prints or saves one.
"""
from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def all_finite(tensors: Iterable[Tensor | None]) -> Tensor:
    """Return a boolean scalar tensor, on the device: whether all entries of a list (None left out) are finite."""
    there = [t.flatten() for t in tensors if t is not None]
    # the largest size, which is not a number where one of them is not; one kernel where isfinite takes five
    return torch.linalg.vector_norm(torch.cat(there), float("inf")) < float("inf") if there else torch.tensor(True)


class LossScale:
    """Multiplies the loss so that half-precision gradients do not vanish (Micikevicius et al., arXiv 1710.03740).

    Attributes:
        factor: ``scale`` as a tensor on the device.
    """

    def __init__(self, scale: float = 2.0 ** 16, double_after: int = 2000, device: torch.device | str = "cpu") -> None:
        self.double_after = double_after
        self.factor = torch.full((), scale, dtype=torch.float32, device=device)
        self._good, self._left_out = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(2))

    @property
    def scale(self) -> float:
        """The present factor, a power of two, at least 1."""
        return self.factor.item()

    @scale.setter
    def scale(self, value: float) -> None:
        self.factor.fill_(value)

    @property
    def good(self) -> int:
        """Steps since the factor last changed."""
        return int(self._good)

    @good.setter
    def good(self, value: int) -> None:
        self._good.fill_(value)

    @property
    def left_out(self) -> int:
        """Steps that were left out since somebody set it to 0."""
        return int(self._left_out)

    @left_out.setter
    def left_out(self, value: int) -> None:
        self._left_out.fill_(value)

    @torch.no_grad()
    def accept(self, finite: bool | Tensor) -> bool | Tensor:
        """Tell whether the step may be made, given whether all its gradients are finite; adapt the next one's scale."""
        finite_here = finite if isinstance(finite, Tensor) else torch.full_like(self._good, finite, dtype=torch.bool)
        good = torch.where(finite_here, self._good + 1, 0)
        double = good == self.double_after
        raised, lowered = torch.where(double, self.factor * 2, self.factor), (self.factor / 2).clamp_min(1)
        self.factor.copy_(torch.where(finite_here, raised, lowered))
        self._good.copy_(torch.where(double, 0, good))
        self._left_out.add_(~finite_here)
        return finite

    @property
    def exhausted(self) -> Tensor:
        """Whether the scale cannot be lowered any more, a boolean scalar tensor."""
        return self.factor <= 1
