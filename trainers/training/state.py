"""What a run carries from step to step besides prompts, optimizer and schedule; checkpoints save it."""
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .loss_scale import LossScale

log = logging.getLogger("promptreg")


class Notes:
    """What a reader of a run's figures must know: each is warned of once; result.json and all tables keep them."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """Warn of ``text`` and keep it, unless it is among the notes."""
        if text not in self.texts:
            log.warning("%s", text)
            self.texts.append(text)

    def adopt(self, texts: Iterable[str]) -> None:
        """Keep notes that somebody else has warned of."""
        self.texts += texts

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)


@dataclass
class RunState:
    """The state of a run. Checkpoints hold the first six fields, under their names.

    Attributes:
        batch: how many batches of the epoch under way are done; 0 between epochs.
        epoch_random: the generators' states when the epoch under way began, from which the order of its batches was
            drawn; None between epochs.
        initial_rng_state: the generators' states before an unseeded run's few-shot set was drawn; None for seeded runs.
        loss_scale: of PREC amp.
        best_result: on the validation images, in percent.
        notes: of all figures of this run.
        last_saved: (directory, epoch) of the epoch that this process has saved last.
        saved_at: when that was, or the first epoch began, by ``time.monotonic()``.
    """

    batch: int = 0
    epoch_random: dict[str, Any] | None = None
    initial_rng_state: dict[str, Any] | None = None
    loss_scale: LossScale | None = None
    best_result: float = -float("inf")
    notes: Notes = field(default_factory=Notes)
    last_saved: tuple[str | Path, int] | None = None
    saved_at: float = 0.0

    def content(self) -> dict[str, Any]:
        """Return the part that checkpoints hold, as plain data."""
        scale = [self.loss_scale.scale, self.loss_scale.good] if self.loss_scale else None
        return {"batch": self.batch, "epoch_random": self.epoch_random, "initial_rng_state": self.initial_rng_state,
                "loss_scale": scale,
                "best_result": float(self.best_result), "notes": list(self.notes)}

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take the state from a checkpoint's content, which an older version may have written with fewer fields.

        The run's initial state stays: where it went on with an older run's, it was built from it.
        """
        self.batch, self.epoch_random = content.get("batch", 0), content.get("epoch_random")
        if self.loss_scale:
            self.loss_scale.scale, self.loss_scale.good = content["loss_scale"]
        self.best_result = content.get("best_result", self.best_result)
        for text in content.get("notes") or ():
            self.notes.add(text)
