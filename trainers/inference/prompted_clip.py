"""Trained prompts as a plain object, outside of Dassl's loop: a notebook, a server, another trainer's teacher.

    model = PromptedCLIP.from_checkpoint("output/…/seed1", ["cat", "dog"])
    model.classify(images)

From the shell: promptreg classify CHECKPOINT IMAGE…
"""
import argparse
import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from ..clip import FrozenCLIP, load_clip
from ..compat.registry import PREFIX, TRAINERS
from ..config.build import setup_cfg
from ..config.defaults import complete, section_cfg
from ..errors import InputError
from ..training.compatibility import load_into
from ..training.identity import digest
from ..training.trained import TrainedPrompts, read_run, read_trained
from ..utils.untrusted import read_untrusted
from .inputs import class_list, image_batch


class PromptedCLIP:
    """A frozen CLIP with trained prompts and a list of classes.

    It computes what the trainer's evaluation computes: the forward is the method's. Gradients flow to the images
    where the caller lets them; the prompts are constants.

    Attributes:
        method: the ``PromptMethod``, in evaluation mode.
        classnames: C names.
        embed_dim: E.
        image_size: S, pixels a side.
        logit_scale: CLIP's own, a float32 scalar tensor.
        preprocess: transform of a PIL image to [3, S, S], as in the trainer's evaluation.
    """

    def __init__(self, method: Any, trained: TrainedPrompts) -> None:
        """Use ``from_checkpoint``. Takes a method and the ``TrainedPrompts`` to put into it."""
        self.method, self._trained = method.eval().requires_grad_(False), trained
        load_into(method, trained)
        self.classnames, self.device = method.classnames, method.device
        self.embed_dim, self.logit_scale = method.clip.embed_dim, method.clip.logit_scale
        self.image_size = tuple(method.cfg.INPUT.SIZE)[0]
        self.preprocess = _transform(method.cfg)
        self._text: Tensor | None = None

    @classmethod
    def from_checkpoint(cls, path: str | Path, classnames: Iterable[str] | None = None,
                        backbone: str | Path | None = None, device: str | torch.device = "cpu",
                        precision: str | None = None, trainer: str | None = None,
                        config_file: str | Path | None = None, opts: Sequence[Any] = ()) -> "PromptedCLIP":
        """Load prompts.

        Args:
            path: a checkpoint, a run's output folder (its best or last checkpoint), or a file of ``promptreg.export``.
            classnames: a list of the classes to tell apart; None for those of the training.
            backbone: MODEL.BACKBONE.NAME, if not the run's: a file's path, say, which lies elsewhere here.
            device: where to compute.
            precision: "fp32", "fp16", "amp" or "bf16", if not the run's.
            trainer: the method's name, for published checkpoints, which do not say; so are the next two.
            config_file: its config file.
            opts: KEY VALUE pairs, as behind train.py's flags.

        Raises:
            InputError: no such file, a damaged one, a method or class names missing, or prompts that do not fit: of
                another method, of other weights, or with contexts of other classes.
        """
        path = Path(path)
        trained = read_run(path) if path.is_dir() else read_trained(path)
        cfg, name = _config(trained, trainer, config_file, opts)
        if backbone:
            cfg.MODEL.BACKBONE.NAME = str(backbone)
        method = TRAINERS.entries[name].METHOD
        if precision:
            cfg.TRAINER.setdefault(method.SECTION, CfgNode()).PREC = precision
        names = trained.classnames if classnames is None else class_list(classnames)
        if not names:
            raise InputError(f"{path} does not name its classes: give classnames")
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read, not from the caller's draws
            clip = load_clip(cfg.MODEL.BACKBONE.NAME, section_cfg(cfg, method.SECTION).PREC, torch.device(device))
        built = _build(method, cfg, clip, names)
        if not trained.state_dict and list(built.prompts.parameters()):
            raise InputError(f"there is no checkpoint of trained prompts in {path}: train first, or correct the folder")
        return cls(built, trained)

    def with_classnames(self, classnames: Iterable[str]) -> "PromptedCLIP":
        """Return the same prompts on the same CLIP, for other classes.

        Args:
            classnames: a list of names.

        Raises:
            InputError: the contexts are class-specific and of other classes, or a name does not fit into a prompt.
        """
        other = _build(type(self.method), self.method.cfg, self.method.clip, class_list(classnames))
        return type(self)(other, self._trained)

    @property
    def identity(self) -> dict[str, str | None]:
        """What the prompts were trained on, as hashes; of classes and weights, those in use."""
        return {**self._trained.identity, "classnames": digest(self.classnames),
                "weights": self.method.clip.fingerprint}

    # ---- as open_clip's models do

    def encode_image(self, images: Any, normalize: bool = True) -> Tensor:
        """Return prompted image features [B, E] of images: paths, PIL images, pixels or tensors (see ``batch``)."""
        return self._scaled(self.method.image_features(self.batch(images)), normalize)

    def encode_text(self, classnames: Iterable[str] | None = None, normalize: bool = True) -> Tensor:
        """Return prompted text features [C, E] of a list of classnames, or of the object's own.

        Raises:
            InputError: CoCoOp's depend on the image; else as ``with_classnames``.
        """
        if classnames is not None:
            return self.with_classnames(classnames).encode_text(normalize=normalize)
        if self._text is None:
            self._text = self.method.text_features()
        return self._scaled(self._text, normalize)

    @staticmethod
    def _scaled(features: Tensor, normalize: bool) -> Tensor:
        if not normalize:
            raise InputError("features are of unit length here: normalize=False is not supported")
        return features

    def logits(self, images: Any) -> Tensor:
        """Return logits [B, C], the method's, of ``images`` as ``encode_image`` takes them."""
        return self.method.logits(self.batch(images))

    @torch.no_grad()
    def classify(self, images: Any, top: int | None = None) -> Tensor | list[list[tuple[str, float]]]:
        """Return the classes' probabilities [B, C] of ``images`` as ``encode_image`` takes them.

        Args:
            top: return instead, for each image, its ``top`` most likely classes as (name, probability), best first.
        """
        found = self.logits(images).softmax(-1)
        if top is None:
            return found
        values, indices = found.topk(min(top, len(self.classnames)), -1)
        return [[(self.classnames[i], p) for i, p in zip(row_i, row_p, strict=True)]
                for row_i, row_p in zip(indices.tolist(), values.tolist(), strict=True)]

    def __call__(self, images: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return (image features [B, E], text features [C, E], logit scale)."""
        return self.encode_image(images), self.encode_text(), self.logit_scale

    def batch(self, images: Any) -> Tensor:
        """Return images as a tensor [B, 3, S, S] on the device (see ``inference.inputs.image_batch``)."""
        return image_batch(images, self.preprocess, self.image_size).to(self.device)


def method_of(trained: TrainedPrompts, trainer: str | None) -> Any:
    """Return the method of ``TrainedPrompts``: the one named, else the file's own. Raises InputError."""
    name = TRAINERS.find(str(trainer or trained.trainer).removeprefix(PREFIX))
    if not hasattr(TRAINERS.entries.get(name), "METHOD"):
        raise InputError(f"{trained.path} does not say which method's it is: give trainer" if not name else
                         f"trainer {name!r} is not one of ours: {', '.join(sorted(TRAINERS.entries))}")
    return TRAINERS.entries[name].METHOD


def _config(trained: TrainedPrompts, trainer: str | None, config_file: str | Path | None,
            opts: Sequence[Any]) -> tuple[CfgNode, str]:
    """Return (config, method's name) of a file, whose own config wins where it has one."""
    name = method_of(trained, trainer).__name__
    if trained.trainer and not config_file:
        cfg = read_untrusted(trained.config, lambda config: _own_config(config, name, opts), lambda reason:
                             f"{trained.path}: its config cannot be used ({reason}): give trainer and config_file")
        return cfg, name
    flags = argparse.Namespace(dataset_config_file="", config_file=str(config_file or ""), trainer=name,
                               opts=list(opts), no_cache=False)
    cfg, _ = setup_cfg(flags)
    cfg.defrost()
    return cfg, name


def _own_config(config: dict[str, Any] | None, name: str, opts: Sequence[Any]) -> CfgNode:
    if config is None:
        raise ValueError("it is not a config in YAML")
    cfg = complete(config, TRAINERS.entries[name].METHOD.SECTION)
    cfg.merge_from_list(list(opts))
    return cfg


def _build(method: Any, cfg: CfgNode, clip: FrozenCLIP, classnames: Sequence[str]) -> Any:
    """Build a method; the start that it draws for its prompts is overwritten, and not from the caller's generator."""
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):  # it prints its sentences
        return method(cfg, clip, classnames)


def _transform(cfg: CfgNode) -> Any:
    from dassl.data.transforms import build_transform
    with contextlib.redirect_stdout(io.StringIO()):  # it prints each of its steps
        return build_transform(cfg, is_train=False)
