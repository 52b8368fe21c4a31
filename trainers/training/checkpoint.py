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
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..config.yaml_text import parsed
from ..errors import InputError
from ..utils import atomic, torch_archive
from ..utils.untrusted import read_untrusted
from . import distributed
from .random_state import random_state, set_random_state

log = logging.getLogger("promptreg")
FOLDERS = ("prompt_learner", "VLPromptLearner", "MultiModalPromptLearner", "adapter_learner", "PromptLearner")
STEM = "model.pth.tar-"
INTERIM = "interim.pth.tar"
# Names of learned tensors in the published implementations' files, which may hold the whole model besides.
LEARNED = re.compile(r"(prompt_learner\.)?(ctx$|meta_net\.|proj\.|compound_prompt)|.*\.VPT(_shallow)?$|"
                     r"(adapter_learner\.)?(text|visual|shared)_adapter\.|film_lp_(img|text)\.|linear_probe_proj\.")
LEARNER = re.compile(r"(prompt|adapter)_learner\.")  # what files of the learner alone leave out of the names


class Missing(InputError):
    """There is no such checkpoint."""


def save(trainer: Any, epoch: int, directory: str | Path, is_best: bool = False, val_result: Any = None,
         model_name: str = "") -> None:
    """Write a trainer's checkpoint of ``epoch`` (from 0) and drop the one of the epoch before.

    Raises:
        OSError: the disk is full or the folder read-only; what was there is untouched.
    """
    folder = Path(directory) / trainer.model.FOLDER
    content = {**state(trainer, epoch + 1), "val_result": None if val_result is None else float(val_result)}
    write_checkpoint(content, folder / (model_name or f"{STEM}{epoch + 1}"))
    if is_best:
        write_checkpoint(content, folder / "model-best.pth.tar")
    if not model_name:
        remove_earlier(folder, epoch + 1, trainer.cfg.TRAIN.CHECKPOINT_FREQ)


def save_interim(trainer: Any, directory: str | Path) -> None:
    """Write the state within the trainer's epoch; Raises as ``save``."""
    path = Path(directory) / trainer.model.FOLDER / INTERIM
    write_checkpoint({**state(trainer, trainer.epoch), "val_result": None}, path)


def state(trainer: Any, epochs_done: int) -> dict[str, Any]:
    """Return all that an exact resumption needs, as plain data."""
    method = trainer.model
    return {
        "state_dict": {name: value.detach().cpu() for name, value in method.prompts.state_dict().items()},
        "epoch": epochs_done,
        "optimizer": trainer.optim.state_dict(),
        "scheduler": {"steps": epochs_done, "lr": [group["lr"] for group in trainer.optim.param_groups]},
        "joint_batch": distributed.joint_batch(trainer.cfg),
        "extra": method.extra_state(),
        "random": random_state(),
        "trainer": type(method).__name__,
        "classnames": method.classnames,
        "identity": trainer.identity,
        "config": trainer.config_text,
        **trainer.state.content(),
    }


def remove_earlier(folder: Path, epoch: int, every: int) -> None:
    """Drop what the checkpoint of ``epoch`` replaces: what was saved within it, and the one before if not asked for."""
    (folder / INTERIM).unlink(missing_ok=True)
    if epoch > 1 and not (every > 0 and (epoch - 1) % every == 0):
        (folder / f"{STEM}{epoch - 1}").unlink(missing_ok=True)


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """torch.save ``content`` to ``path``: whole or not at all, also when the power fails."""
    raw = io.BytesIO()  # what torch.save says of a file on a full disk does not name the disk
    torch.save(content, raw)
    with atomic.atomic_open(path) as file:
        file.write(raw.getbuffer())


def remove_partial_files(directory: str | Path) -> None:
    """Remove what processes that were killed while writing have left in a run's folders."""
    for place in (Path(directory), *Path(directory).glob("*/")):
        atomic.tidy(place)


def read_checkpoint(path: str | Path) -> Any:
    """Return what a checkpoint holds, ours or a published implementation's; nothing in it is run.

    Raises:
        InputError: missing or damaged, or it names code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}: check --model-dir and --load-epoch")
    return read_untrusted(path, _content, unclear="it is no PyTorch file", refusal=lambda reason:
                          f"{path} cannot be read as a checkpoint ({reason}): delete it or fetch it again")


def _content(path: Path) -> Any:
    # Some versions of torch.load would hand such a file to torch.jit.load, which runs it.
    if torch_archive.is_torchscript(path):
        raise InputError(f"{path} is a program (TorchScript), not a checkpoint: give the file that training wrote")
    check_sums(path)
    try:
        return torch.serialization.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # Dassl's scheduler objects, or worse
        return torch_archive.read_archive(path)


def check_sums(path: Path) -> None:
    """Raise BadZipFile where a part of a checkpoint is not what was written; torch.load does not look."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise zipfile.BadZipFile(f"{damaged} in it has changed since it was written")


def read_prompts(path: str | Path) -> tuple[dict[str, Any], int | None]:
    """Return ({name: tensor}, epoch) of a checkpoint file; the epoch may become part of a file's name, or be None."""
    return prompts_of(read_checkpoint(path), path)


def prompts_of(content: Any, path: str | Path) -> tuple[dict[str, Any], int | None]:
    """Return ({name: tensor}, epoch) of a checkpoint's content; Raises InputError where it holds none."""
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise InputError(f"{path} holds no state_dict: it is not a checkpoint of prompts")
    epoch = content.get("epoch")
    if epoch is not None and not (type(epoch) is int and 0 <= epoch < 2 ** 63):
        raise InputError(f"{path}: its epoch is no number of epochs: delete it or fetch it again")
    return state, epoch


def digest(state: Mapping[str, Any]) -> str:
    """Return a hash of prompts, {name: tensor}: of their numbers, whatever else their file holds."""
    found = hashlib.blake2b(digest_size=16)
    for name, value in sorted(state.items()):
        if torch.is_tensor(value):
            found.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def short(name: str) -> str:
    """Return a tensor's name as published files of a method's learner alone have it."""
    return LEARNER.sub("", name, count=1) if LEARNER.match(name) else name


def published(state: Mapping[str, Any], whole_model: bool) -> dict[str, Any]:
    """Return {name: tensor} under the names in a method's published files: of the whole model, or of its learner."""
    return {name if whole_model else short(name): value for name, value in state.items()}


def export(state: Mapping[str, Any], epoch: int | None, target: str | Path, whole_model: bool) -> None:
    """Write prompts to ``target`` as the published implementation of their method does.

    Args:
        state: {name: tensor}, of a checkpoint of ours or a published one.
        epoch: how long they were trained.
        target: the file to write; a plain PyTorch file that Dassl's loader reads.
        whole_model: the trainer's WHOLE_MODEL.
    """
    state = {name: value for name, value in state.items() if LEARNED.match(name)}
    write_checkpoint({"state_dict": published(state, whole_model), "epoch": epoch, "val_result": None}, Path(target))


def saved_epochs(folder: Path) -> list[int]:
    """Return the epochs that have a checkpoint in ``folder``, in order."""
    found = [re.fullmatch(re.escape(STEM) + r"(\d+)", p.name) for p in folder.glob(f"{STEM}*")]
    return sorted(int(match[1]) for match in found if match)


def find_checkpoint(directory: str | Path, folder: str, epoch: int | None = None) -> Path:
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
        names += [f"{STEM}{e}" for e in saved_epochs(place)[-1:]] if epoch is None else []
        for name in names:
            if (place / name).is_file():
                return place / name
    there = [str(p / f"{STEM}{e}") for p in places for e in saved_epochs(p)]
    what = "trained prompts" if epoch is None else f"epoch {epoch}"
    raise Missing(f"there is no checkpoint of {what} in {directory}: "
                  + (f"there are {', '.join(there)}" if there else "train first, or correct the folder"))


def latest_resumable(directory: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """Return (path, content) of the newest state in a run's folder that could be resumed, of any method; or None."""
    found = [path for pattern in (f"*/{STEM}*", f"*/{INTERIM}") for path in Path(directory).glob(pattern)]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(InputError):
            content = read_checkpoint(path)
            if isinstance(content, dict) and "random" in content and parsed(content.get("config")):
                return path, content
    return None


def restore_initial_rng(*directories: str | Path) -> None:
    """Take the random states with which an unseeded run in the first of these folders that has one began."""
    for directory in directories:
        found = latest_resumable(directory) if directory else None
        initial = found and (found[1].get("initial_rng_state") or found[1].get("beginning"))  # as 0.2.0 named it
        if initial:
            set_random_state(initial)
            return
