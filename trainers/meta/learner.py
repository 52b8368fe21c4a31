"""A prompt method's forward alone, for any class names and values of its prompts: what episodes need of a trainer."""
from torch import nn
from torch.func import functional_call

from ..cocoop import CoCoOp
from ..config.defaults import settings
from ..coop import CoOp
from ..errors import InputError
from ..ivlp import IVLP
from ..vpt import VPT

METHODS = {"coop": CoOp, "cocoop": CoCoOp, "vpt": VPT, "unigram": IVLP}  # TRAINER.GRAM.PROMPTS: whose prompts


class _Forward(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.prompts = model.prompts
        self.__dict__["model"] = model  # no submodule: the frozen CLIP is nobody's parameter here

    def forward(self, images):
        return self.model.logits(images)


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

    def __init__(self, kind, cfg, clip):
        if kind not in METHODS:
            raise InputError(f"TRAINER.GRAM.PROMPTS is {kind!r}: it must be one of {', '.join(METHODS)}")
        self.kind, self.method, self.cfg, self.clip = kind, METHODS[kind], cfg.clone(), clip
        self.cfg.defrost()
        self.cfg.TRAINER.PROMPTREG.CACHE = False  # episodes' names do not come back
        if settings(cfg, self.method.SECTION).get("CSC"):
            raise InputError("TRAINER.COOP.CSC is True: contexts of each class's own cannot be meta-learned, "
                             "set it False")
        self.sees = "pixels" if self._model(["thing"]).prompts.vision is not None else "features"

    def start(self):
        """Return {name: tensor}: the method's own initial prompts, drawn from torch's generator."""
        return {name: p.detach().clone() for name, p in self._model(["thing"]).prompts.named_parameters()}

    def on(self, classnames):
        """Return a function (prompts {name: tensor}, images or features [B, …]) -> logits [B, C]."""
        forward = _Forward(self._model(classnames))
        return lambda prompts, images: functional_call(forward, {f"prompts.{n}": p for n, p in prompts.items()}, images)

    def _model(self, classnames):
        """A trainer of the method that has its forward and nothing else."""
        model = self.method.without_data(self.cfg, self.clip, classnames)
        model.prompts.train()
        if model.prompts.vision is None:
            model.image_features = lambda features: features
        return model
