"""Episodes on the device, to be tuned as the base method tunes, and judged, side by side."""
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from yacs.config import CfgNode

from ..regulate.regulator import Regulator
from .episodes import Part
from .horizon import Tuned, first_order, optimization, tune
from .learner import Learner
from .together import Together

# Rate and batch of each kind's published runs, and of the demo's
TUNING = {"coop": (0.002, 32), "cocoop": (0.002, 1), "vpt": (0.0025, 4), "unigram": (0.0025, 4)}
STEPS = 60  # of the report's tunings, where meta-training had none (HORIZON 0)
Loaded = tuple[Part, Tensor]  # and what the learner sees of it
Parts = tuple[Loaded, Loaded, Loaded | None]  # support, queries, further queries


class Tasks:
    """E episodes of base and new classes.

    Args:
        learner: ``Learner``.
        episodes: of each, (part, inputs) of the support, of the base classes' queries and of the new ones' (or None).
        options: the config section GRAM.
        device: where to compute.

    Attributes:
        steps: of a tuning.
        per_epoch: steps in which a tuning sees a whole support set.
    """

    def __init__(self, learner: Learner, episodes: Sequence[Parts], options: CfgNode,
                 device: torch.device) -> None:
        self.options, self.device, self.count = options, device, len(episodes)
        rate, batch = TUNING[learner.kind]
        self.rate, self.batch = options.TUNE_LR or rate, options.TUNE_BATCH or batch
        self.base = Together(learner, [support[0].names for support, _, _ in episodes])
        self.with_new = [e for e, (*_, other) in enumerate(episodes) if other]
        others = [other for *_, other in episodes if other]
        self.new = Together(learner, [other[0].names for other in others]) if others else None
        self.support, self.queries, self.others = (
            [(self.base.embed(inputs.to(device)), part.labels.to(device)) for part, inputs in parts]
            for parts in ([e[0] for e in episodes], [e[1] for e in episodes], others))
        longest = max(len(labels) for _, labels in self.support)
        self.per_epoch = max(1, math.ceil(longest / self.batch))
        self.steps = options.HORIZON or STEPS
        self.batches = [list(_batches(part.rows, self.batch, self.steps)) for (part, _), _, _ in episodes]

    def tune(self, start: Mapping[str, Tensor], regulator: Regulator | None, factor: float = 1.0,
             keep: bool = False) -> Tuned:
        """Tune every task from the same ``start`` {name: tensor}, at ``factor`` times the method's own rate."""
        each = {name: value.detach().expand(self.count, *value.shape) for name, value in start.items()}
        optim = optimization(self.rate * factor, max(2, math.ceil(self.steps / self.per_epoch)))
        return tune(self.loss, each, optim, self.steps, self.per_epoch, regulator, keep)

    def loss(self, theta: Mapping[str, Tensor], step: int) -> Tensor:
        """Return the sum over tasks of the cross-entropy on each one's batch of that step."""
        chosen = [batches[step] for batches in self.batches]
        logits = self.base(theta, [x[rows] for (x, _), rows in zip(self.support, chosen, strict=True)])
        labels = [y[rows] for (_, y), rows in zip(self.support, chosen, strict=True)]
        return torch.stack([F.cross_entropy(a, b) for a, b in zip(logits, labels, strict=True)]).sum()

    def judge(self, theta: Mapping[str, Tensor]) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Yield (task, 0 for base or 1 for new, logits, labels) of all queries."""
        logits = self.base(theta, [x for x, _ in self.queries])
        yield from ((e, 0, out, y) for e, (out, (_, y)) in enumerate(zip(logits, self.queries, strict=True)))
        if self.new is not None:
            mine = {name: value[self.with_new] for name, value in theta.items()}
            logits = self.new(mine, [x for x, _ in self.others])
            yield from ((e, 1, out, y) for e, out, (_, y) in zip(self.with_new, logits, self.others, strict=True))

    def meta_gradients(self, start: Mapping[str, Tensor], regulator: Regulator | None,
                       learned: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return the first-order gradients of the outer loss, summed over the tasks, and what it was.

        Args:
            start: {name: tensor}.
            regulator: or None, for plain gradients.
            learned: of the regulator; empty without.

        Returns:
            ([gradient of each of ``start``, then of each of ``learned``], [sum of base losses, of new ones]).
        """
        tuned = self.tune(start, regulator, keep=bool(learned))
        theta = {name: value.requires_grad_() for name, value in tuned.theta.items()}
        losses: list[list[Tensor]] = [[], []]
        for _, kind, logits, labels in self.judge(theta):
            losses[kind].append(F.cross_entropy(logits, labels))
        sums = [torch.stack(part).sum() if part else torch.zeros((), device=self.device) for part in losses]
        slope = torch.autograd.grad(sums[0] + self.options.OTHER_WEIGHT * sums[1], list(theta.values()))
        found = [v.sum(0) for v in slope]
        if learned and regulator is not None:
            momentum = optimization(self.rate, 2).MOMENTUM
            found += first_order(tuned, dict(zip(theta, slope, strict=True)), momentum, regulator, learned)
        return found, torch.stack(sums).detach()


def _batches(rows: np.ndarray, size: int, steps: int) -> Iterator[Tensor]:
    """Yield ``steps`` batches of places in ``rows``, epoch after epoch, the same for the same rows."""
    rng = np.random.default_rng(rows.tolist())
    places = np.empty(0, np.int64)
    for _ in range(steps):
        while len(places) < min(size, len(rows)):
            places = np.concatenate([places, rng.permutation(len(rows))])
        yield torch.from_numpy(places[:size])
        places = places[size:]
