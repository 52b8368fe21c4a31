"""Prompts on disk: written atomically, read as data, resumed to the bit.

A run keeps ``<output>/<folder>/model.pth.tar-<epoch>``, as Dassl names it, with the published parameter names inside;
a file is kilobytes (MaPLe's: megabytes), so one is written every epoch and the one before is then dropped (unless
TRAIN.CHECKPOINT_FREQ asks for it). Within an epoch, every TRAIN.CHECKPOINT_MINUTES and when a signal ends the run,
``interim.pth.tar`` is written, which is resumed at the very batch and goes when the epoch is over.
"""
import contextlib
import hashlib
import io
import logging
import pickle
import random
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from . import archive, atomic, parallel
from .config import parsed
from .errors import InputError

log = logging.getLogger("promptreg")
FOLDERS = ("prompt_learner", "VLPromptLearner", "MultiModalPromptLearner")
STEM = "model.pth.tar-"
INTERIM = "interim.pth.tar"


class Missing(InputError):
    """There is no such checkpoint."""


def save(trainer, epoch, directory, is_best=False, val_result=None, model_name=""):
    """Write a trainer's checkpoint of ``epoch`` (from 0) and drop the one of the epoch before.

    Raises:
        OSError: the disk is full or the folder read-only; what was there is untouched.
    """
    folder = Path(directory) / trainer.FOLDER
    content = {**state(trainer, epoch + 1), "val_result": None if val_result is None else float(val_result)}
    write(content, folder / (model_name or f"{STEM}{epoch + 1}"))
    if is_best:
        write(content, folder / "model-best.pth.tar")
    if not model_name:
        drop_before(folder, epoch + 1, trainer.cfg.TRAIN.CHECKPOINT_FREQ)


def save_interim(trainer, batch, directory):
    """Write the state within the trainer's epoch, after ``batch`` batches; Raises as ``save``."""
    write({**state(trainer, trainer.epoch), "val_result": None, "batch": batch, "epoch_random": trainer.epoch_random},
          Path(directory) / trainer.FOLDER / INTERIM)


def state(trainer, epochs_done):
    """Return all that an exact resumption needs, as plain data."""
    return {
        "state_dict": {name: value.detach().cpu() for name, value in trainer.prompts.state_dict().items()},
        "epoch": epochs_done,
        "optimizer": trainer.optim.state_dict(),
        "scheduler": {"steps": epochs_done, "lr": [group["lr"] for group in trainer.optim.param_groups]},
        "joint_batch": parallel.joint_batch(trainer.cfg),
        "loss_scale": [trainer.loss_scale.scale, trainer.loss_scale.good] if trainer.loss_scale else None,
        "best_result": float(trainer.best_result),
        "extra": trainer.extra_state(),
        "random": random_state(),
        "beginning": trainer.beginning,
        "trainer": type(trainer).__name__,
        "classnames": trainer.classnames,
        "config": trainer.config_text,
    }


def drop_before(folder, epoch, every):
    """Drop what the checkpoint of ``epoch`` replaces: what was saved within it, and the one before if not asked for."""
    (folder / INTERIM).unlink(missing_ok=True)
    if epoch > 1 and not (every > 0 and (epoch - 1) % every == 0):
        (folder / f"{STEM}{epoch - 1}").unlink(missing_ok=True)


def write(content, path):
    """torch.save ``content`` to ``path``: whole or not at all, also when the power fails."""
    raw = io.BytesIO()  # what torch.save says of a file on a full disk does not name the disk
    torch.save(content, raw)
    with atomic.whole(path) as file:
        file.write(raw.getbuffer())


def tidy(directory):
    """Remove what processes that were killed while writing have left in a run's folders."""
    for place in (Path(directory), *Path(directory).glob("*/")):
        atomic.tidy(place)


def read(path):
    """Return what a checkpoint holds, ours or a published implementation's; nothing in it is run.

    Raises:
        InputError: missing or damaged, or it names code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}: check --model-dir and --load-epoch")
    try:
        if archive.is_torchscript(path):  # some versions of torch.load would hand it to torch.jit.load, which runs it
            raise InputError(f"{path} is a program (TorchScript), not a checkpoint: give the file that training wrote")
        check_sums(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # Dassl's scheduler objects, or worse
            return archive.read(path)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, KeyError, ValueError,
            IndexError, TypeError, AttributeError, OverflowError, struct.error, zlib.error) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        reason = reason if " " in reason else "it is no PyTorch file"
        raise InputError(f"{path} cannot be read as a checkpoint ({reason[:150]}): "
                         "delete it or fetch it again") from error


def check_sums(path):
    """Raise BadZipFile where a part of a checkpoint is not what was written; torch.load does not look."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"{damaged} in it has changed since it was written")


def read_prompts(path):
    """Return ({name: tensor}, epoch) of a checkpoint file; the epoch may become part of a file's name, or be None."""
    content = read(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise InputError(f"{path} holds no state_dict: it is not a checkpoint of prompts")
    epoch = content.get("epoch")
    if epoch is not None and not (type(epoch) is int and 0 <= epoch < 2 ** 63):
        raise InputError(f"{path}: its epoch is no number of epochs: delete it or fetch it again")
    return state, epoch


def digest(state):
    """Return a hash of prompts, {name: tensor}: of their numbers, whatever else their file holds."""
    found = hashlib.blake2b(digest_size=16)
    for name, value in sorted(state.items()):
        if torch.is_tensor(value):
            found.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@torch.no_grad()
def fit(prompts, state, path):
    """Copy into ``prompts`` what ``state`` holds under the published names.

    Files of the published implementations hold the prompt learner alone (names without ``prompt_learner.``) or the
    whole model (its weights are passed over), and the class-dependent token_prefix and token_suffix (likewise).

    Raises:
        InputError: a parameter is missing, has another shape, or is not finite.
    """
    own = prompts.state_dict()
    for name, parameter in own.items():
        value = state.get(name, state.get(name.removeprefix("prompt_learner.")))
        if not torch.is_tensor(value):
            raise InputError(f"{path} has no {name}: it was written by another method")
        if value.shape != parameter.shape:
            raise InputError(f"{path}: {name} is {list(value.shape)} there and {list(parameter.shape)} here: the "
                             "depth, the context length, the backbone or (for class-specific contexts) the classes "
                             "differ")
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: {name} has entries that are not finite: train it again")
        parameter.copy_(value)
    deeper = [n for n in state if n.endswith("VPT_shallow") and n not in own]
    if deeper:
        raise InputError(f"{path} also has {deeper[0]}: its prompts are deeper than PROMPT_DEPTH here")


def published(state, whole_model):
    """Return {name: tensor} under the names in a method's published files: of the whole model, or of its learner."""
    return {name if whole_model else name.removeprefix("prompt_learner."): value for name, value in state.items()}


def export(path, target, whole_model):
    """Write the prompts of the checkpoint ``path`` to ``target`` as the published implementation of its method does.

    Args:
        path: a checkpoint, ours or a published one.
        target: the file to write; a plain PyTorch file that Dassl's loader reads.
        whole_model: the trainer's WHOLE_MODEL.
    """
    state, epoch = read_prompts(path)
    learned = re.compile(r"(prompt_learner\.)?(ctx|meta_net\.|proj\.|compound_prompt)|.*\.VPT(_shallow)?$")
    state = {name: value for name, value in state.items() if learned.match(name)}
    write({"state_dict": published(state, whole_model), "epoch": epoch, "val_result": None}, Path(target))


def epochs(folder):
    """Return the epochs that have a checkpoint in ``folder``, in order."""
    found = [re.fullmatch(re.escape(STEM) + r"(\d+)", p.name) for p in folder.glob(f"{STEM}*")]
    return sorted(int(match[1]) for match in found if match)


def find(directory, folder, epoch=None):
    """Return the path of a checkpoint below ``directory``.

    Args:
        directory: a run's output folder.
        folder: the method's own folder name; the others' are looked into as well.
        epoch: which; None for the best on validation, else the last.

    Raises:
        InputError: it is not there; says what is.
    """
    places = [Path(directory) / name for name in dict.fromkeys((folder, *FOLDERS))]
    for place in places:
        names = [f"{STEM}{epoch}"] if epoch is not None else ["model-best.pth.tar"]
        names += [f"{STEM}{e}" for e in epochs(place)[-1:]] if epoch is None else []
        for name in names:
            if (place / name).is_file():
                return place / name
    there = [str(p / f"{STEM}{e}") for p in places for e in epochs(p)]
    raise Missing(f"there is no checkpoint {places[0] / f'{STEM}{epoch or 1}'}: "
                  + (f"there are {', '.join(there)}" if there else "train first, or correct --model-dir"))


def unfinished(directory):
    """Return (path, content) of the newest state in a run's folder that could be resumed, of any method; or None."""
    found = [path for pattern in (f"*/{STEM}*", f"*/{INTERIM}") for path in Path(directory).glob(pattern)]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(InputError):
            content = read(path)
            if isinstance(content, dict) and "random" in content and parsed(content.get("config")):
                return path, content
    return None


def begin_as_before(*directories):
    """Take the random states with which an unseeded run in the first of these folders that has one began."""
    for directory in filter(None, directories):
        found = unfinished(directory)
        if found and found[1].get("beginning"):
            set_random_state(found[1]["beginning"])
            return


def resume(trainer, directory):
    """Bring a trainer to where its newest whole checkpoint left off.

    Returns:
        (epoch, batch) to start with, from 0; None where there is nothing to resume from.

    Raises:
        InputError: the checkpoint is of another trainer, or of another learning-rate schedule.
    """
    folder = Path(directory or ".") / trainer.FOLDER
    whole = [folder / f"{STEM}{epoch}" for epoch in reversed(epochs(folder))]
    states = {}
    for path in [folder / INTERIM] * (folder / INTERIM).exists() + whole:
        try:
            content = read(path)
            if "random" not in content:
                raise InputError(f"{path} holds prompts alone, not a run that could be resumed")
        except InputError as error:
            log.warning("%s; resuming from the one before", error)
            continue
        states[path] = content
        if path.name != INTERIM:
            break
    if not states:
        return None
    path, content = max(states.items(), key=lambda found: (found[1]["epoch"], found[1].get("batch", 0)))
    epoch, batch = content["epoch"], content.get("batch", 0)
    parallel.compare_joint_batch(trainer.cfg, content.get("joint_batch"), path)
    fit(trainer.prompts, content["state_dict"], path)
    with warnings.catch_warnings():  # the rate is brought there from its start, for some schedules go by its last value
        warnings.simplefilter("ignore")  # stepping the schedule ahead of the optimizer is what we want
        for _ in range(content["scheduler"]["steps"]):
            trainer.sched.step()
    lr = [group["lr"] for group in trainer.optim.param_groups]
    if lr != content["scheduler"]["lr"]:
        raise InputError(f"{path} was left at learning rate {content['scheduler']['lr']}, this config comes to {lr}: "
                         "resume with the config it was started with, or choose another --output-dir")
    trainer.optim.load_state_dict(content["optimizer"])
    if trainer.loss_scale:
        trainer.loss_scale.scale, trainer.loss_scale.good = content["loss_scale"]
    trainer.best_result = content.get("best_result", trainer.best_result)
    trainer.epoch_random = content.get("epoch_random")
    trainer.load_extra_state(content["extra"])
    set_random_state(content["random"])
    print(f"Resumed from {path} (epoch {epoch}" + (f", batch {batch})" if batch else ")"))
    return epoch, batch


def random_state():
    """Return the states of Python's, numpy's and torch's generators as plain data."""
    name, keys, *rest = np.random.get_state()
    state = {"python": random.getstate(), "numpy": (name, keys.tolist(), *rest), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state):
    """Take back what ``random_state`` gave."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][:torch.cuda.device_count()])  # of as many as are seen today
