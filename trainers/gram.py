"""GRAM: gradient-regulated prompt tuning from a meta-learned start (arXiv 2303.06571), over any prompt method.

Meta-training itself, trainer ``GRAM``, is in ``meta/``.
"""
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from .base import GRADIENT, Gradients, PromptMethod, compose, register, wrapper
from .clip import weights
from .cocoop import CoCoOp
from .config.defaults import section_cfg
from .coop import CoOp
from .errors import InputError
from .ivlp import IVLP
from .meta import checkpoint, options  # noqa: F401  the latter declares TRAINER.GRAM
from .meta.learner import METHODS
from .prograd import ProGrad
from .promptsrc import PromptSRC
from .regulate.regulator import Regulator
from .vpt import VPT

__all__ = ["GRAM", "GRAMCoCoOp", "GRAMCoOp", "GRAMProGrad", "GRAMPromptSRC", "GRAMVPT", "UNIGRAM"]


@wrapper(GRADIENT)
class GRAM(PromptMethod):
    """Mix-in before a prompt method: in training its prompts start from the meta-trained file TRAINER.GRAM.META, and
    the file's regulating function, frozen, stands between the method's gradient and the optimizer.

    Raises:
        InputError: no file, a damaged one, or one of other prompts than the method's.
    """

    regulator: Regulator
    SECTIONS = ("GRAM",)
    CAPTURABLE = True

    @classmethod
    def check_composition(cls) -> None:
        """Refuse methods whose prompts no meta-training learns."""
        super().check_composition()
        cls.kind_of_prompts()

    def prepare_training(self) -> None:
        """Take the start and the regulating function from the file; features and logits need neither."""
        command = f"bash scripts/gram/meta_train.sh CORPUS {self.kind_of_prompts()}"
        if not section_cfg(self.cfg, "GRAM").META:
            raise InputError(f"{type(self).__name__} starts from a meta-trained file and TRAINER.GRAM.META is empty: "
                             f"make one with {command}, then add TRAINER.GRAM.META FILE (demo names the one that comes "
                             "along)")
        path = self.meta_path(self.cfg)
        start, self.regulator, about = checkpoint.read_meta(path, command)
        self.compare_places(path, about.get("method", {}))
        here = dict(self.prompts.own_parameters())
        if {n: v.shape for n, v in here.items()} != {n: v.shape for n, v in start.items()}:
            raise InputError(f"{path} was made for {_describe(start)}, and {type(self).__name__} has {_describe(here)} "
                             f"here: set {self.SECTION}'s context length and depth, and the backbone, to the file's, "
                             f"or {command}")
        with torch.no_grad():
            for name, parameter in here.items():
                parameter.copy_(start[name])
        self.regulator.to(self.device)
        if about.get("clip") not in (None, self.clip.fingerprint):
            self.mismatch(f"{path} was meta-trained on another CLIP file ({about.get('backbone')}) than "
                          f"{self.clip.path}")
        super().prepare_training()  # which may look at the start

    @classmethod
    def kind_of_prompts(cls) -> str:
        """Return whose prompts a meta-training has to learn for this method: a key of ``meta.learner.METHODS``.

        Raises:
            InputError: those of none.
        """
        for kind, method in METHODS.items():
            if issubclass(cls, method):
                return kind
        raise InputError(f"{cls.__name__}: GRAM has a meta-training for the prompts of "
                         f"{', '.join(method.__name__ for method in METHODS.values())} and methods derived from these")

    @classmethod
    def meta_path(cls, cfg: CfgNode) -> str | Path:
        """Return the path of the meta-trained file that TRAINER.GRAM.META names."""
        name = section_cfg(cfg, "GRAM").META
        return checkpoint.DEMO / f"{cls.kind_of_prompts()}.safetensors" if name == "demo" else name

    @classmethod
    def method_identity(cls, cfg: CfgNode) -> Mapping[str, str | None]:
        """Return the file's hash."""
        return {"start": weights.fingerprint(cls.meta_path(cfg))}

    def compare_places(self, path: str | Path, method: Mapping[str, Any]) -> None:
        """Raise InputError where the start was learned for another place in the sentence than it is used at."""
        key = "CLASS_TOKEN_POSITION"
        there, here = method.get(key), self.method_cfg.get(key)
        if there and here and there != here:
            raise InputError(f"{path} was meta-trained with {key} {there}, and TRAINER.{self.SECTION}.{key} is {here} "
                             f"here: set it to {there}, or meta-train with {here}")

    def compute_gradients(self, loss: Any, gradients: Callable[..., Gradients]) -> Gradients:
        """Return the base method's gradients (ProGrad's already projected), regulated."""
        prompts = dict(self.prompts.named_parameters())
        found: dict[str, Tensor | None] = dict(zip(prompts, super().compute_gradients(loss, gradients), strict=True))
        with torch.no_grad():
            return list(self.regulator(prompts, found).values())


def _describe(tensors: Mapping[str, Tensor]) -> str:
    context = [f"{name} {list(value.shape)}" for name, value in tensors.items()]
    return f"{len(context)} tensors ({', '.join(context[:2])}{', …' if len(context) > 2 else ''})"


GRAMCoOp = register(compose(GRAM, CoOp, doc="GRAM over CoOp (textual prompts; in the paper)."))
GRAMCoCoOp = register(compose(GRAM, CoCoOp, doc="GRAM over CoCoOp (in the paper); meta-net's gradient as it is."))
GRAMVPT = register(compose(GRAM, VPT, doc="GRAM over VPT (visual prompts; in the paper)."))
UNIGRAM = register(compose(GRAM, IVLP, "UNIGRAM", "GRAM over both towers' prompts (in the paper): IVLP's."))
GRAMProGrad = register(compose(GRAM, ProGrad, doc="GRAM over ProGrad (ours): the projected gradient is regulated."))
GRAMPromptSRC = register(compose(GRAM, PromptSRC, doc="GRAM over PromptSRC (ours): UNIGRAM's start, PromptSRC's loss."))
