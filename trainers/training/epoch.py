"""The figures of an epoch's steps: on the device until a line is printed, then checked, averaged and written."""
import datetime
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dassl.utils import AverageMeter, MetricMeter

from ..errors import InputError
from . import distributed
from .loss_scale import all_finite


class EpochReport:
    """Meters of one epoch of a ``PromptTrainer``.

    Figures are read off the device where a line is printed, and on a CPU, where it costs nothing, at each step.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.pending = trainer, []
        self.losses, self.batch_time, self.data_time = MetricMeter(), AverageMeter(), AverageMeter()
        self.mark = time.time()

    def batch_is_loaded(self) -> None:
        """Note the time that the batch took to load."""
        self.data_time.update(time.time() - self.mark)

    def step_is_done(self, summary: Mapping[str, Tensor], finite: bool | Tensor, paths: Sequence[str] | None,
                     read: bool) -> None:
        """Take in one step's figures and print a line where one is due.

        Args:
            summary: {name: figure}.
            finite: whether its gradients are.
            paths: of the batch's images.
            read: check the figures now.
        """
        trainer, every = self.trainer, self.trainer.cfg.TRAIN.PRINT_FREQ
        self.pending.append((trainer.batch_idx, summary, finite, paths))
        shown = (trainer.batch_idx + 1) % every == 0 or trainer.num_batches < every
        if shown or read or trainer.device.type == "cpu":
            self.read()
        self.batch_time.update(time.time() - self.mark)
        if shown:
            self.print_line()

    def next_batch(self) -> None:
        """Start the next batch's time."""
        self.mark = time.time()

    def read(self) -> None:
        """Take the figures off the device into the meters.

        Raises:
            InputError: the first figure, or the first gradient, that is not finite.
        """
        trainer, pending, self.pending = self.trainer, self.pending, []
        for batch_idx, summary, finite, paths in pending:
            figures = {name: value.item() for name, value in summary.items()}
            bad = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
            bad += [] if finite else ["the gradient is not finite"]
            if bad:
                files = ", ".join(map(str, paths or ["unnamed images"]))
                share = " (this process's share)" if distributed.world_size() > 1 else ""
                raise InputError(f"{bad[0]} in epoch {trainer.epoch + 1}, batch {batch_idx + 1} of "
                                 f"{trainer.num_batches}, on {files}{share}: lower OPTIM.LR, try another PREC, or "
                                 "check these files")
            self.losses.update(figures)
            for name, value in figures.items():
                trainer.write_scalar(f"train/{name}", value, trainer.epoch * trainer.num_batches + batch_idx)

    def print_line(self) -> None:
        """Print the meters."""
        trainer, batch_time, data_time = self.trainer, self.batch_time, self.data_time
        left = (trainer.max_epoch - trainer.epoch) * trainer.num_batches - trainer.batch_idx - 1
        print(f"epoch [{trainer.epoch + 1}/{trainer.max_epoch}] batch [{trainer.batch_idx + 1}/{trainer.num_batches}] "
              f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) data {data_time.val:.3f} ({data_time.avg:.3f}) "
              f"{self.losses} lr {trainer.get_current_lr():.4e} "
              f"eta {datetime.timedelta(seconds=int(batch_time.avg * left))}")


def check_prompts(trainer: Any) -> None:
    """Raise InputError where the prompts are not finite: no later loss would tell of the last step."""
    if not all_finite(trainer.trainable):
        raise InputError(f"the prompts are not finite after epoch {trainer.epoch + 1}, batch {trainer.batch_idx + 1} "
                         f"of {trainer.num_batches}: lower OPTIM.LR, or try another PREC")


def note_left_out(trainer: Any) -> None:
    """Note where amp has left out most of the epoch's steps: the prompts have hardly been trained in it."""
    scale = trainer.state.loss_scale
    if scale and 2 * scale.left_out > trainer.num_batches:
        trainer.note(f"PREC amp left out {scale.left_out} of {trainer.num_batches} steps of epoch {trainer.epoch + 1}, "
                     "whose gradients overflowed: train longer, or take another PREC")
