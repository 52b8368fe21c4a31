"""GRAM: gradient-regulated prompt tuning from a meta-learned start (arXiv 2303.06571), over any prompt trainer.

Meta-training itself, trainer ``GRAM``, is in ``meta/``.
"""
import torch

from .base import PromptTrainer, register
from .clip import weights
from .cocoop import CoCoOp
from .config.defaults import settings
from .coop import CoOp
from .errors import InputError
from .ivlp import IVLP
from .meta import file
from .meta.trainer import GRAM
from .prograd import ProGrad
from .promptsrc import PromptSRC
from .vpt import VPT

__all__ = ["GRAM", "GRAMCoCoOp", "GRAMCoOp", "GRAMProGrad", "GRAMPromptSRC", "GRAMVPT", "UNIGRAM", "Regulated"]


class Regulated(PromptTrainer):
    """Mix-in before a prompt trainer: its prompts start from the meta-trained file TRAINER.GRAM.META, and the file's
    regulating function, frozen, stands between the method's own gradient and the optimizer.

    Raises:
        InputError: no file, a damaged one, or one of other prompts than the method's.
    """

    PROMPTS: str  # whose prompts: a key of meta.learner.METHODS

    def build_prompts(self):
        super().build_prompts()
        if self.forward_only:  # features and logits need neither the start nor the regulating function
            return
        gram = settings(self.cfg, "GRAM")
        command = f"bash scripts/gram/meta_train.sh CORPUS {self.PROMPTS}"
        if not gram.META:
            raise InputError(f"{type(self).__name__} starts from a meta-trained file and TRAINER.GRAM.META is empty: "
                             f"make one with {command}, then add TRAINER.GRAM.META FILE (demo names the one that comes "
                             "along)")
        path = self.meta_path(self.cfg)
        start, self.regulator, about = file.read(path, command)
        self.compare_places(path, about.get("method", {}))
        own = dict(self.prompts.named_parameters())
        if {n: v.shape for n, v in own.items()} != {n: v.shape for n, v in start.items()}:
            raise InputError(f"{path} was made for {_describe(start)}, and {type(self).__name__} has {_describe(own)} "
                             f"here: set {self.SECTION}'s context length and depth, and the backbone, to the file's, "
                             f"or {command}")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(start[name])
        self.regulator.to(self.device)
        if about.get("clip") not in (None, self.clip.fingerprint):
            self.mismatch(f"{path} was meta-trained on another CLIP file ({about.get('backbone')}) than "
                          f"{self.clip.path}")

    @classmethod
    def meta_path(cls, cfg):
        """Return the path of the meta-trained file that TRAINER.GRAM.META names."""
        name = settings(cfg, "GRAM").META
        return file.DEMO / f"{cls.PROMPTS}.safetensors" if name == "demo" else name

    @classmethod
    def method_identity(cls, cfg):
        return {"start": weights.fingerprint(cls.meta_path(cfg))}

    def compare_places(self, path, method):
        """Raise InputError where the start was learned for another place in the sentence than it is used at."""
        key = "CLASS_TOKEN_POSITION"
        there, here = method.get(key), self.own.get(key)
        if there and here and there != here:
            raise InputError(f"{path} was meta-trained with {key} {there}, and TRAINER.{self.SECTION}.{key} is {here} "
                             f"here: set it to {there}, or meta-train with {here}")

    def gradients(self, loss):
        """The base method's gradients (ProGrad's already projected), regulated."""
        names = [name for name, _ in self.prompts.named_parameters()]
        found = dict(zip(names, super().gradients(loss), strict=True))  # under amp it has yet to scale the loss
        with torch.no_grad():
            return list(self.regulator(dict(zip(names, self.parameters, strict=True)), found).values())


def _describe(tensors):
    context = [f"{name} {list(value.shape)}" for name, value in tensors.items()]
    return f"{len(context)} tensors ({', '.join(context[:2])}{', …' if len(context) > 2 else ''})"


@register
class GRAMCoOp(Regulated, CoOp):
    """GRAM over CoOp (textual prompts; in the paper)."""

    PROMPTS = "coop"


@register
class GRAMCoCoOp(Regulated, CoCoOp):
    """GRAM over CoCoOp (in the paper); the meta-net starts meta-learned, and its gradient stays its own."""

    PROMPTS = "cocoop"


@register
class GRAMVPT(Regulated, VPT):
    """GRAM over VPT (visual prompts; in the paper)."""

    PROMPTS = "vpt"


@register
class UNIGRAM(Regulated, IVLP):
    """GRAM over both towers' prompts (in the paper), here IVLP's deep ones."""

    PROMPTS = "unigram"


@register
class GRAMProGrad(Regulated, ProGrad):
    """GRAM over ProGrad (ours): the projected gradient is regulated."""

    PROMPTS = "coop"


@register
class GRAMPromptSRC(Regulated, PromptSRC):
    """GRAM over PromptSRC (ours): UNIGRAM's start and regulator under PromptSRC's loss and aggregation."""

    PROMPTS = "unigram"
