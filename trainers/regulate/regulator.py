"""GRAM's gradient regulating function: a small network from a gradient to a direction that holds across domains.

The paper (Li et al., arXiv 2303.06571) has such a function, meta-learned with the prompts' start, and leaves its form
open. ``metric`` has the one that is used; here is the first one, ``bend``, after SUPMER's (arXiv 2303.12314), which
older files hold. Its answer to noise without a mean has one: it drifts. For the gradient g [d] of one token of a
prompt [n, d]:

    h = g + |g| U relu(V g / |g| + b)     a bend of rank r, none at the start (U = 0)
    h <- h |g| / |h|                      the length stays the base method's
    z = sigmoid(MLP(mean token))          a gate, from the prompt's own value
    R(g) = g + z (h - g)

V sees the gradient's direction alone, so R(c g) = c R(g) for c > 0: what was learned under one loss holds under
another's scale.
"""
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .metric import Metric

FORMS = ("metric", "bend")
TINY = 1e-24  # below it a squared length counts as zero


def regulates(name: str) -> bool:
    """Return whether the parameter of that published name is a prompt (CoCoOp's meta-net, for example, is not)."""
    return name.rpartition(".")[2] in ("ctx", "VPT", "VPT_shallow")


def length(x: Tensor) -> Tensor:
    """Euclidean length of the vectors ``x`` [..., d], kept as [..., 1]; smooth at zero."""
    return (x.square().sum(-1, keepdim=True) + TINY).sqrt()


class Bend(nn.Module):
    """The first form, for T prompts of one shape [n, d], computed together."""

    def __init__(self, prompts: int, width: int, rank: int, gate: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(prompts, rank, width))  # V
        self.shift = nn.Parameter(torch.zeros(prompts, 1, rank))  # b
        self.up = nn.Parameter(torch.zeros(prompts, width, rank))  # U
        self.gate_in = nn.Parameter(torch.zeros(prompts, gate, width))
        self.gate_shift = nn.Parameter(torch.zeros(prompts, gate, 1))
        self.gate_out = nn.Parameter(torch.zeros(prompts, 1, gate))
        self.gate_bias = nn.Parameter(torch.zeros(prompts, 1, 1))

    def draw(self, generator: torch.Generator) -> None:
        """Draw what must not start at zero; U does, so that the function starts as the identity."""
        with torch.no_grad():
            self.down.normal_(generator=generator)
            self.gate_in.normal_(std=self.gate_in.shape[-1] ** -0.5, generator=generator)

    def gates(self, prompts: Tensor) -> Tensor:
        """Return z [T, 1, 1] of the prompts [T, n, d]."""
        mean = F.layer_norm(prompts.mean(1), prompts.shape[-1:]).unsqueeze(-1)  # [T, d, 1]
        hidden = F.relu(self.gate_in @ mean + self.gate_shift)  # [T, units, 1]
        return torch.sigmoid(self.gate_out @ hidden + self.gate_bias)

    def forward(self, prompts: Tensor, gradients: Tensor) -> Tensor:
        """Return the directions [T, n, d] for prompts and gradients of that shape."""
        size = length(gradients)
        hidden = F.relu((gradients / size) @ self.down.mT + self.shift)  # [T, n, r]
        bent = gradients + size * (hidden @ self.up.mT)
        bent = bent * (size / length(bent))
        return gradients + self.gates(prompts) * (bent - gradients)


class Regulator(nn.Module):
    """The regulating function of all prompts of a method; parameters of other kinds pass through untouched.

    Args:
        shapes: {published name: shape [n, d]} of the method's parameters.
        rank: r, of the bend.
        seed: of the initial draw; None leaves all at zero, to be loaded.
        gate: hidden units of the gate, of the form "bend".
        form: one of ``FORMS``.

    Attributes:
        names: of the prompts it regulates, in the order of ``shapes``.
        rank, gate, form: as given.
        linear: whether the directions are linear in the gradients, and owe nothing to the prompts.
        common: rho, which all prompts share, of the form "metric".

    Raises:
        ValueError: a prompt that is not [n, d] (class-specific contexts), a rank or gate below 1, or an unknown form.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], rank: int = 32, seed: int | None = None,
                 gate: int = 16, form: str = "metric") -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"a regulator of form {form!r}: it must be one of {', '.join(FORMS)}")
        if min(rank, gate) < 1:
            raise ValueError(f"a regulator of rank {rank} with a gate of {gate}: both must be at least 1")
        self.rank, self.gate, self.names, self.members = rank, gate, [n for n in shapes if regulates(n)], {}
        self.form, self.linear = form, form == "metric"
        for name in self.names:
            if len(shapes[name]) != 2:
                raise ValueError(f"{name} has shape {list(shapes[name])}: the regulator takes prompts [n, d], "
                                 "so no class-specific contexts")
            self.members.setdefault("x".join(map(str, shapes[name])), []).append(name)
        widths = {group: (len(names), shapes[names[0]][1]) for group, names in self.members.items()}
        if self.linear:
            self.common = nn.Parameter(torch.zeros(()))
            self.metrics = nn.ModuleDict({group: Metric(*width, rank) for group, width in widths.items()})
        else:
            self.bends = nn.ModuleDict({group: Bend(*width, rank, gate) for group, width in widths.items()})
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            for part in (self.metrics if self.linear else self.bends).values():
                part.draw(generator)

    def settle(self) -> "Regulator":
        """Freeze the function, and return it."""
        if self.linear:
            for metric in self.metrics.values():
                metric.settle()
        return self.requires_grad_(False)

    def forward(self, prompts: Mapping[str, Tensor],
                gradients: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
        """Return {name: direction} for {name: prompt} and {name: gradient, or None where it has no part}.

        As long as the regulator is untrained, each direction equals the gradient to the bit.
        """
        directions = dict(gradients)
        for group, names in self.members.items():
            present = [gradients[n] if gradients[n] is not None else torch.zeros_like(prompts[n]) for n in names]
            if self.linear:
                turned = self.metrics[group](torch.stack(present), self.common)
            else:
                turned = self.bends[group](torch.stack([prompts[n] for n in names]), torch.stack(present))
            directions.update((n, d) for n, d in zip(names, turned, strict=True) if gradients[n] is not None)
        return directions
