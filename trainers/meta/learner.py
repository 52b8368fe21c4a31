"""A prompt method's logits for any class names and values of its prompts: what episodes need."""
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch.func import functional_call
from yacs.config import CfgNode

from ..base import PromptMethod
from ..clip import FrozenCLIP
from ..cocoop import CoCoOp
from ..config.defaults import section_cfg
from ..coop import CoOp
from ..errors import InputError
from ..ivlp import IVLP
from ..vpt import VPT

# TRAINER.GRAM.PROMPTS: whose prompts. The first of which a method is a subclass names its prompts.
METHODS: dict[str, type[PromptMethod]] = {"coop": CoOp, "cocoop": CoCoOp, "vpt": VPT, "unigram": IVLP}


class OnFeatures(nn.Module):
    """A method's logits from the frozen image features, for prompts that do not enter the vision tower."""

    def __init__(self, method: PromptMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [B, C] of unit image features [B, E]."""
        return self.method.logits_of(image)


class Learner:
    """Logits of a method with given prompts on given class names, without data manager, optimizer or loop.

    Args:
        kind: a key of ``METHODS``.
        cfg: the config; the method's own section says what its prompts are.
        clip: a ``FrozenCLIP``.

    Attributes:
        sees: "pixels" where prompts enter the vision tower, else "features": then ``logits`` takes the frozen image
            features [B, E] in place of images, and no image needs to be decoded again.

    Raises:
        InputError: an unknown kind, or contexts of each class's own, which no start can be learned for.
    """

    def __init__(self, kind: str, cfg: CfgNode, clip: FrozenCLIP) -> None:
        if kind not in METHODS:
            raise InputError(f"TRAINER.GRAM.PROMPTS is {kind!r}: it must be one of {', '.join(METHODS)}")
        self.kind, self.method, self.cfg, self.clip = kind, METHODS[kind], cfg.clone(), clip
        self.cfg.defrost()
        self.cfg.TRAINER.PROMPTREG.CACHE = False  # episodes' names do not come back
        if section_cfg(cfg, self.method.SECTION).get("CSC"):
            raise InputError("TRAINER.COOP.CSC is True: contexts of each class's own cannot be meta-learned, "
                             "set it False")
        self.sees = "pixels" if self.build(["thing"]).prompts.vision is not None else "features"

    def start(self) -> dict[str, Tensor]:
        """Return {name: tensor}: the method's own initial prompts, drawn from torch's generator."""
        return {name: p.detach().clone() for name, p in self.build(["thing"]).prompts.named_parameters()}

    def on(self, classnames: Sequence[str]) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
        """Return a function (prompts {name: tensor}, images or features [B, …]) -> logits [B, C]."""
        method = self.build(classnames)
        module, prefix = (method, "prompts") if self.sees == "pixels" else (OnFeatures(method), "method.prompts")
        return lambda prompts, images: functional_call(module, {f"{prefix}.{n}": p for n, p in prompts.items()}, images)

    def build(self, classnames: Sequence[str]) -> PromptMethod:
        """Return the method for these classes."""
        return self.method(self.cfg, self.clip, classnames)
