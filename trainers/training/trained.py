"""A file of trained prompts, a checkpoint or an exported one: what it holds, and what it says it was made for."""
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..config.yaml_text import parsed
from ..errors import InputError
from ..utils.untrusted import read_untrusted
from . import checkpoint
from .result import load_result


@dataclass(frozen=True)
class TrainedPrompts:
    """Prompts that were read from a file.

    Attributes:
        path: the file.
        state_dict: {name: tensor}, names as published.
        epoch: how many epochs they were trained; None where the file does not say.
        trainer: name of the method; "" in published files.
        config: the run's config as plain dicts; None in published files.
        classnames: of the classes they were trained on, in the order of the labels; None in published files.
        identity: what the run was made of (see ``identity``); {} in published files and those of older versions.
        notes: what belongs to every figure of theirs.
    """

    path: Path
    state_dict: dict[str, torch.Tensor] = field(repr=False)
    epoch: int | None = None
    trainer: str = ""
    config: dict[str, Any] | None = field(default=None, repr=False)
    classnames: tuple[str, ...] | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, content: Mapping[str, Any], path: Path) -> "TrainedPrompts":
        """Return what a checkpoint's content holds. Raises InputError where it holds no prompts."""
        state, epoch = checkpoint.prompts_of(content, path)
        return cls(path, state, epoch, **_made_for(content, path))

    @property
    def published(self) -> bool:
        """Whether it is a published implementation's: these say neither method nor classes."""
        return not self.trainer


def read_trained(path: Path) -> TrainedPrompts:
    """Read a checkpoint, ours or a published implementation's, or a file of ``promptreg.export``; nothing in it is run.

    Raises:
        InputError: it is missing or damaged, or it holds no prompts.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}: correct the path")
    if path.suffix != ".safetensors":
        return TrainedPrompts.of(checkpoint.read_checkpoint(path), path)
    about, state = read_untrusted(path, _exported, lambda reason: f"{path} cannot be read ({reason}): export it again")
    return TrainedPrompts(path, state, **_made_for(about, path))


def read_run(folder: Path) -> TrainedPrompts:
    """Read the prompts of a run's folder: of its best or last checkpoint; none of a finished zero-shot run.

    Raises:
        InputError: there is neither a checkpoint nor a result, or it is damaged.
    """
    try:
        return read_trained(Path(checkpoint.find_checkpoint(folder, checkpoint.FOLDERS[0])))
    except checkpoint.Missing:
        content = load_result(folder)
        if content is None:
            raise
        figures: dict[str, Any] = next(iter(content["results"].values()), {})
        classnames = list(figures.get("per_class", ()))
        return TrainedPrompts(folder, {}, **_made_for({"classnames": classnames, **content}, folder))


def _exported(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (the description, {name: tensor}) of an exported file."""
    with safe_open(path, "pt") as file:
        about = json.loads((file.metadata() or {}).get("promptreg", "{}"))
        if not isinstance(about, dict):
            raise ValueError("its description is none")
        return about, {name.removeprefix("prompts."): file.get_tensor(name)
                       for name in file.keys() if name.startswith("prompts.")}


def _made_for(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return what a file says of its making, checked. Raises InputError."""
    trainer, config = content.get("trainer") or "", content.get("config")
    names, identity = content.get("classnames"), content.get("identity") or {}
    notes = content.get("notes") or []
    if not isinstance(trainer, str) or not isinstance(identity, dict) or not _are_texts(notes):
        raise InputError(f"{path}: its method, identity or notes are damaged: fetch it again, or train again")
    if names is not None and not _are_texts(names):
        raise InputError(f"{path}: its class names are damaged: fetch it again, or train again")
    config = parsed(config) if isinstance(config, str) else None
    return {"trainer": trainer, "config": config, "classnames": None if names is None else tuple(names),
            "identity": identity, "notes": tuple(notes)}


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
