"""GRAM's gradient regulating function as a metric: linear in the gradient, so that noise without a mean stays without.

For the gradient g [d] of one token of a prompt (the form is ours; the paper leaves it open):

    R(g) = exp(rho) (g + V' diag(tanh a) V g)

V has orthonormal rows; rho is the sum of one that all prompts share and one of the prompt's own. R is odd and linear,
R(c g) = c R(g) for every c, and symmetric positive definite, so that it always descends; at a = rho = 0 it is the
identity, to the bit.
"""
import torch
from torch import Tensor, nn

BOUND = 0.999  # of tanh a: in float32 it would come to -1, and R to no longer descend along V


class Metric(nn.Module):
    """The function for T prompts of one shape [n, d], computed together.

    Attributes:
        basis: [T, d, r], whose columns span V's rows; orthonormal once ``settle`` has been called.
    """

    def __init__(self, prompts: int, width: int, rank: int) -> None:
        super().__init__()
        rank = min(rank, width)
        self.basis = nn.Parameter(torch.zeros(prompts, width, rank))
        self.stretch = nn.Parameter(torch.zeros(prompts, 1, rank))  # a
        self.log_scale = nn.Parameter(torch.zeros(prompts, 1, 1))  # rho, the prompt's own
        self.settled = False

    def draw(self, generator: torch.Generator) -> None:
        """Draw the directions; a and rho stay zero, so that the function starts as the identity."""
        with torch.no_grad():
            self.basis.normal_(generator=generator)

    def settle(self) -> None:
        """Make the basis orthonormal once and for all: where nothing is learned any more, no step decomposes it."""
        with torch.no_grad():
            self.basis.copy_(torch.linalg.qr(self.basis).Q)
        self.settled = True

    def forward(self, gradients: Tensor, common: Tensor) -> Tensor:
        """Return the directions [T, k, d] for gradients of that shape and the rho [] that all prompts share."""
        basis = self.basis if self.settled else torch.linalg.qr(self.basis).Q
        along = (gradients @ basis) * (BOUND * torch.tanh(self.stretch))  # [T, k, r]
        return torch.exp(common + self.log_scale) * (gradients + along @ basis.mT)
