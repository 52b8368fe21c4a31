"""Gaussian-weighted aggregation of the prompts over the epochs (PromptSRC, arXiv 2307.06948, section 3.3)."""
import math
from collections.abc import Mapping

import torch


def gaussian_weights(epochs: int, mean: float, std: float) -> list[float]:
    """Return the weights of epochs 1 to ``epochs``: the normal density N(e; mean, std), normalized to sum 1.

    Raises:
        ValueError: no epochs, std not positive, or a mean so far off that every weight vanishes.
    """
    if epochs < 1 or std <= 0:
        raise ValueError(f"aggregation over {epochs} epochs with GPA_STD {std}: both must be positive")
    density = [math.exp(-0.5 * ((e - mean) / std) ** 2) for e in range(1, epochs + 1)]
    total = sum(density)
    if not total > 0:
        raise ValueError(f"aggregation over {epochs} epochs with GPA_MEAN {mean}, GPA_STD {std}: every weight is zero")
    return [d / total for d in density]


class Aggregation:
    """The running sum of weighted prompts, in float32.

    Attributes:
        total: {name: tensor}, empty before the first epoch.
    """

    def __init__(self, epochs: int, mean: float, std: float) -> None:
        self.weights = gaussian_weights(epochs, mean, std)
        self.total = {}

    @torch.no_grad()
    def add(self, epoch: int, state: Mapping[str, torch.Tensor]) -> None:
        """Add the prompts ``state`` ({name: tensor}) at the end of ``epoch`` (from 0)."""
        weight = self.weights[epoch]
        for name, value in state.items():
            term = value.detach().float() * weight
            self.total[name] = self.total[name] + term if name in self.total else term
