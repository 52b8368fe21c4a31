"""Episodes: few-shot tasks drawn from the hierarchy, the i-th of a seed being the same whoever draws it."""
import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from ..errors import InputError
from ..training.loader import num_cpus
from . import pairs
from .features import Features
from .hierarchy import Hierarchy


@dataclass
class Part:
    """Some pairs of one domain's pseudo-classes.

    Attributes:
        names: C class names.
        rows: int64 [B] into the features, in any order.
        labels: int64 [B], 0 to C - 1.
    """

    names: list
    rows: np.ndarray
    labels: torch.Tensor


@dataclass
class Episode:
    """Support and query of one domain's task; and queries of new classes of that domain, or of another domain.

    Attributes:
        other: None where there are no further classes.
        domain: the task's.
    """

    support: Part
    query: Part
    other: Part | None
    domain: int


class Episodes:
    """Draws episodes from some of a hierarchy's domains.

    Args:
        hierarchy: ``Hierarchy``.
        domains: numbers of the domains to draw from.
        ways: N classes a task, fewer where the domain has fewer (but two).
        shots: K support pairs a class.
        queries: Q query pairs a class.
        seed: of all draws.
        new: draw the further queries from new classes of the same domain, half of its classes, in place of another
            domain's. Domains of fewer than four classes are then left out, if any has as many.

    Raises:
        InputError: none of the domains has two pseudo-classes.
    """

    def __init__(self, hierarchy: Hierarchy, domains: Sequence[int], ways: int, shots: int, queries: int,
                 seed: int, new: bool = False) -> None:
        self.members, self.seed, self.new = hierarchy.members(), seed, new
        self.ways, self.shots, self.queries = ways, shots, queries
        self.domains = {d: hierarchy.domains[d]["classes"] for d in domains if len(hierarchy.domains[d]["classes"]) > 1}
        if not self.domains:
            raise InputError(f"none of {len(domains)} domains has two pseudo-classes to tell apart: lower "
                             "TRAINER.GRAM.DOMAINS, raise CLASSES, or give a larger corpus")
        if new:
            self.domains = {d: c for d, c in self.domains.items() if len(c) > 3} or self.domains

    def draw(self, i: int) -> Episode:
        """Return episode ``i``."""
        rng = np.random.default_rng([self.seed, i])
        a, *others = (int(d) for d in rng.permutation(list(self.domains)))
        classes, further = self._shuffled(a, rng), []
        if self.new and len(classes) > 3:
            classes, further = classes[:(len(classes) + 1) // 2], classes[(len(classes) + 1) // 2:]
        support, query = self._task(classes, rng, self.shots, self.queries)
        if others and not self.new:
            further = self._shuffled(others[0], rng)
        other = self._task(further, rng, 0, self.queries)[1] if further else None
        return Episode(support, query, other, a)

    def _shuffled(self, domain: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        classes = self.domains[domain]
        return [classes[c] for c in rng.permutation(len(classes))]

    def _task(self, classes: Sequence[dict[str, Any]], rng: np.random.Generator, shots: int,
              queries: int) -> tuple[Part, Part]:
        chosen = classes[:self.ways]
        drawn = [rng.permutation(self.members[c["number"]])[:shots + queries] for c in chosen]
        support, query = (Part([c["name"] for c in chosen], np.concatenate([rows[cut] for rows in drawn]),
                               torch.cat([torch.full((len(rows[cut]),), c) for c, rows in enumerate(drawn)]))
                          for cut in (slice(None, shots), slice(shots, None)))
        return support, query


class Inputs:
    """What a learner sees of pairs: decoded images, kept under a memory budget, or their frozen features.

    Args:
        features: ``features.Features``.
        sees: "pixels" or "features" (``Learner.sees``).
        transform: PIL image -> tensor.
        budget: bytes of decoded images to keep.
    """

    def __init__(self, features: Features, sees: str, transform: Callable[[Image], torch.Tensor],
                 budget: float) -> None:
        self.features, self.sees, self.transform, self.budget = features, sees, transform, budget
        self.kept, self.size = {}, 0
        self.pool = concurrent.futures.ThreadPoolExecutor(num_cpus()) if sees == "pixels" else None

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """Return [B, 3, S, S] or [B, E] of ``rows``."""
        order = np.argsort(rows, kind="stable")
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        if self.pool is None:
            return self.features.vectors("image", rows[order])[back]
        missing = np.unique([r for r in rows.tolist() if r not in self.kept]).astype(np.int64)
        fresh = dict(zip(missing.tolist(), self.pool.map(self._decode, self.features.records(missing)), strict=True)) \
            if len(missing) else {}
        images = torch.stack([self.kept[r] if r in self.kept else fresh[r] for r in rows.tolist()])
        for row, image in fresh.items():
            self.size += image.numel() * image.element_size()
            if self.size > self.budget:
                break
            self.kept[row] = image
        return images

    def _decode(self, record: tuple[str, Any]) -> torch.Tensor:
        _, place = record
        try:
            return self.transform(pairs.picture(self.features.root, place))
        except pairs.Bad as fault:  # it was readable when its features were made
            raise InputError(f"{place} of the corpus: {fault}, though it could be read before: "
                             "restore the corpus") from None
