"""Evaluation under torchrun: each process takes its share of the batches, and all come to one process's figures."""
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from . import distributed


@contextlib.contextmanager
def shared_out(trainer: Any) -> Iterator[None]:
    """While it lasts, ``trainer``'s evaluation loaders yield this process's batches and its evaluator joins them all.

    Every process's evaluator gets every batch, made up and ordered as in one process; what it makes of them (and may
    write) is the first one's affair, and its figure is everyone's. Does nothing in one process.
    """
    if distributed.world_size() == 1:
        yield
        return
    before = trainer.val_loader, trainer.test_loader, trainer.evaluator
    joined = trainer.evaluator = JoinedEvaluator(trainer.evaluator, trainer.device)
    trainer.val_loader, trainer.test_loader = (None if loader is None else SharedLoader(loader, joined)
                                               for loader in before[:2])
    try:
        yield
    finally:
        trainer.val_loader, trainer.test_loader, trainer.evaluator = before


class SharedLoader:
    """Every ``world``-th batch of a loader, from the ``rank``-th on: whole batches, so that logits keep their bits."""

    def __init__(self, loader: Any, joined: "JoinedEvaluator") -> None:
        self.loader, self.joined = loader, joined

    def __len__(self) -> int:
        return len(range(distributed.rank(), len(self.loader), distributed.world_size()))

    def __iter__(self) -> Iterator[Any]:
        loader = self.loader
        self.joined.rounds = -(-len(loader) // distributed.world_size())
        if not isinstance(loader, DataLoader):
            return _share(loader)
        return iter(DataLoader(loader.dataset, batch_sampler=_Share(loader.batch_sampler), collate_fn=loader.collate_fn,
                               num_workers=loader.num_workers, pin_memory=loader.pin_memory,
                               worker_init_fn=loader.worker_init_fn))


def _share(batches: Iterable[Any]) -> Iterator[Any]:
    return itertools.islice(iter(batches), distributed.rank(), None, distributed.world_size())


class _Share:
    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return _share(self.batches)


class JoinedEvaluator:
    """Stands before a Dassl evaluator and hands it the batches of all processes, in order.

    Attributes:
        rounds: how often each process has a batch, or none, to give.
    """

    def __init__(self, evaluator: Any, device: torch.device) -> None:
        self.evaluator, self.device, self.rounds, self.given = evaluator, device, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.evaluator, name)

    def reset(self) -> None:
        self.given = 0
        self.evaluator.reset()

    def process(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Take in logits [B, C] and labels [B] of this process's batch."""
        self.give(torch.cat([outputs.float(), labels[:, None].float()], 1))

    def give(self, rows: torch.Tensor) -> None:
        """Exchange one round's batches [B, C + 1]: logits and, in the last column, labels."""
        self.given += 1
        for part in distributed.gather(rows):
            if len(part):
                self.evaluator.process(part[:, :-1], part[:, -1].long())

    def evaluate(self) -> OrderedDict[str, float]:
        """Return the figures in the first process, its first figure in the others."""
        if self.given < self.rounds:  # the last round has fewer batches than processes
            self.give(torch.zeros(0, 0, device=self.device))
        results = self.evaluator.evaluate() if distributed.rank() == 0 else OrderedDict(accuracy=0.0)
        name, figure = next(iter(results.items()))
        return OrderedDict(results, **{name: distributed.first(figure)})
