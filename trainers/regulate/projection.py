"""Projection of one gradient away from its conflict with another (ProGrad, arXiv 2205.14865, equation 4)."""
from collections.abc import Iterable

import torch


def project(gradients: Iterable[torch.Tensor | None], guides: Iterable[torch.Tensor | None],
            strength: float = 1.0) -> list[torch.Tensor | None]:
    """Remove from each gradient its component against the guide's direction, where the two disagree.

    Args:
        gradients: list of tensors, Gd: of the task's loss. None entries stay None.
        guides: list of tensors of the same shapes, Gg: of the general knowledge's loss.
        strength: lambda; 1 removes the whole component, 0 removes none.

    Returns:
        Per tensor: Gd - strength * (Gd . Gg / |Gg|) Gg / |Gg| where Gd . Gg < 0, else Gd.
    """
    return [g if g is None or guide is None else _project(g, guide, strength)
            for g, guide in zip(gradients, guides, strict=True)]


def _project(gradient: torch.Tensor, guide: torch.Tensor, strength: float) -> torch.Tensor:
    unit = guide / guide.norm()
    along = (gradient * unit).sum()
    return torch.where(along < 0, gradient - strength * along * unit, gradient)
