"""Dassl's trainer, whose runs are saved after every epoch and within it, resumed to the bit, and know what they are."""
import functools
import logging
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from dassl.engine import TrainerX

from ..config.yaml_text import dumped
from . import checkpoint, compatibility, distributed, identity, resume, signals
from .state import RunState
from .trained import read_trained

log = logging.getLogger("promptreg")


class ResumableTrainer(TrainerX):
    """Saves, resumes and loads the prompts of ``model``, which a subclass builds.

    Attributes:
        model: a ``base.PromptMethod``.
        trainable: its prompts, a list of parameters; empty where nothing is learned.
        state: what the run carries from step to step.
        loaded: hash of the prompts that were read from a file, to start from or to evaluate.
    """

    model: Any
    trainable: list[Tensor]

    def __init__(self, cfg: Any) -> None:
        self.state = RunState()
        self.loaded: str | None = None
        super().__init__(cfg)

    @functools.cached_property
    def identity(self) -> dict[str, str | None]:
        """What the run is made of, as hashes (see ``training.identity``)."""
        return identity.of_trainer(self)

    @functools.cached_property
    def config_text(self) -> str:
        """The config as YAML, for the checkpoints; making it takes longer than writing one."""
        return dumped(self.cfg)

    @property
    def notes(self) -> tuple[str, ...]:
        """What belongs to this run's figures: result.json and all tables keep it."""
        return tuple(self.state.notes)

    def note(self, text: str) -> None:
        """Warn, once, of something that belongs to this run's figures."""
        self.state.notes.add(text)

    @property
    def best_result(self) -> float:
        """Dassl's name for the best result on the validation images."""
        return self.state.best_result

    @best_result.setter
    def best_result(self, percent: float) -> None:
        self.state.best_result = percent

    def after_epoch(self) -> None:
        """Do as Dassl (best model, CHECKPOINT_FREQ, last epoch), and save every epoch, which is small."""
        super().after_epoch()
        if self.state.last_saved != (self.output_dir, self.epoch):
            self.save_model(self.epoch, self.output_dir)
        signals.allow_signals(f"saved after epoch {self.epoch + 1} of {self.max_epoch}")

    def save_model(self, epoch: int, directory: str, is_best: bool = False, val_result: Any = None,
                   model_name: str = "") -> None:
        """Write the prompts and all that an exact resumption needs (see ``checkpoint``)."""
        if distributed.rank() == 0:
            checkpoint.save(self, epoch, directory, is_best, val_result, model_name)
        distributed.barrier()  # the others may be about to read it
        self.state.last_saved = None if model_name else (directory, epoch)
        self.state.saved_at = time.monotonic()

    def interim_due(self) -> bool:
        """Return whether TRAIN.CHECKPOINT_MINUTES have passed since the last save, or the start."""
        minutes = self.cfg.TRAIN.get("CHECKPOINT_MINUTES", 0)
        return minutes > 0 and time.monotonic() - self.state.saved_at >= 60 * minutes

    def save_interim(self) -> None:
        """Write the state within the epoch; where a signal has asked for it, leave.

        Under torchrun the first process does so, and the others, left without it, are ended by torchrun.
        """
        checkpoint.save_interim(self, self.output_dir)
        self.state.saved_at = time.monotonic()
        if signals.signal_pending():
            batch = f"batch {self.batch_idx + 1} of {self.num_batches}"
            signals.raise_interrupted(f"saved in epoch {self.epoch + 1} after {batch}")

    def resume_model_if_exist(self, directory: str) -> int:
        """Continue from the newest whole state in the output folder, else in ``directory``, even within an epoch.

        Returns:
            The epoch to start with, 0 where there was nothing.
        """
        return resume.resume_first(self, dict.fromkeys((self.output_dir, directory)))

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the prompts of ``directory``, ours or a published implementation's.

        Args:
            directory: output folder of a run; nothing is loaded without one.
            epoch: the epoch's checkpoint, or None for the best one.

        Raises:
            InputError: no such checkpoint, or one that does not fit.
        """
        if not self.trainable:
            if directory:
                log.warning("--model-dir %s has no effect: %s learns nothing, the figure is that of CLIP as it is",
                            directory, type(self.model).__name__)
        elif not directory:
            print("No --model-dir: the prompts stay as they started")
        else:
            path = checkpoint.find_checkpoint(directory, self.model.FOLDER, epoch)
            print(f"Prompts of epoch {self.load_prompts(path)} loaded from {path}")

    def load_prompts(self, path: str | Path, as_start: bool = False) -> int | None:
        """Fill the prompts from a checkpoint file; returns its epoch.

        Args:
            path: of the file.
            as_start: it is where a training starts, which may be of another method.

        Raises:
            InputError: see ``compatibility.load_into``.
        """
        found = read_trained(Path(path))
        compatibility.load_into(self.model, found, as_start)
        if not as_start:
            compatibility.note_origin(self.model, found)
        self.loaded = checkpoint.digest(found.state_dict)
        return found.epoch
