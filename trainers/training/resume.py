"""An interrupted run goes on: the newest whole state in a folder is chosen, compared with the run, and restored."""
import logging
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from . import checkpoint, distributed, identity
from .compatibility import load_prompts_into
from .random_state import set_random_state

log = logging.getLogger("promptreg")


def resume_first(trainer: Any, directories: Iterable[str | Path]) -> int:
    """Continue from the first of some folders that holds a state; returns the epoch to start with, from 0."""
    trainer.state.batch = 0
    for place in directories:
        epoch = resume(trainer, place)
        if epoch is not None:
            if place == trainer.output_dir and trainer.state.batch == 0 and distributed.rank() == 0:
                checkpoint.remove_earlier(Path(place) / trainer.model.FOLDER, epoch, trainer.cfg.TRAIN.CHECKPOINT_FREQ)
            distributed.barrier()
            return epoch
    return 0


def resume(trainer: Any, directory: str | Path) -> int | None:
    """Bring a trainer to where its newest whole checkpoint left off; the batch is in its state.

    Returns:
        The epoch to start with, from 0; None where there is nothing to resume from.

    Raises:
        InputError: the checkpoint is of another trainer, on other data or weights, or of another learning-rate
            schedule.
    """
    found = newest(Path(directory or ".") / trainer.model.FOLDER)
    if found is None:
        return None
    path, content = found
    refuse_other_content(trainer, content, path)
    if not content.get("identity"):
        trainer.note(identity.NOT_RECORDED)
    restore(trainer, content, path)
    epoch, batch = content["epoch"], trainer.state.batch
    print(f"Resumed from {path} (epoch {epoch}" + (f", batch {batch})" if batch else ")"))
    return epoch


def newest(folder: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """Return (path, content) of the newest whole state in a method's folder of checkpoints, or None."""
    whole = [folder / f"{checkpoint.STEM}{epoch}" for epoch in reversed(checkpoint.saved_epochs(folder))]
    states = {}
    for path in [folder / checkpoint.INTERIM] * (folder / checkpoint.INTERIM).exists() + whole:
        try:
            content = checkpoint.read_checkpoint(path)
            if "random" not in content:
                raise InputError(f"{path} holds prompts alone, not a run that could be resumed")
        except InputError as error:
            log.warning("%s; resuming from the one before", error)
            continue
        states[path] = content
        if path.name != checkpoint.INTERIM:
            break
    return max(states.items(), key=lambda found: (found[1]["epoch"], found[1].get("batch", 0)), default=None)


def refuse_other_content(trainer: Any, content: Mapping[str, Any], path: Path) -> None:
    """Raise InputError where the run that left ``content`` had other data or weights than ``trainer``."""
    differs = identity.differences(trainer.identity, content.get("identity"))
    if differs:
        raise InputError(f"{path} was left by a run on {'; '.join(differs)}: bring them back, or choose another "
                         "--output-dir")


def restore(trainer: Any, content: Mapping[str, Any], path: Path) -> None:
    """Give a trainer the prompts, schedule, optimizer, state and random states of a checkpoint's content."""
    distributed.compare_joint_batch(trainer.cfg, content.get("joint_batch"), path)
    load_prompts_into(trainer.model.prompts, content["state_dict"], path)
    with warnings.catch_warnings():  # the rate is brought there from its start, for some schedules go by its last value
        warnings.simplefilter("ignore")  # stepping the schedule ahead of the optimizer is what we want
        for _ in range(content["scheduler"]["steps"]):
            trainer.sched.step()
    lr = [group["lr"] for group in trainer.optim.param_groups]
    if lr != content["scheduler"]["lr"]:
        raise InputError(f"{path} was left at learning rate {content['scheduler']['lr']}, this config comes to {lr}: "
                         "resume with the config it was started with, or choose another --output-dir")
    trainer.optim.load_state_dict(content["optimizer"])
    trainer.state.restore(content)
    trainer.model.load_extra_state(content["extra"])
    set_random_state(content["random"])
