"""PromptMethod: what every method shares: prompts on a frozen CLIP, features and logits, and an ``Objective``.

A method's own module declares its config keys and says what its prompts are and what its loss is:

    @register
    class Mine(PromptMethod):
        SECTION = "MINE"
        def build_prompts(self): ...        # fill self.prompts, set self.rows
        def loss(self, images, labels): ...  # -> loss, {name: figure}

``register`` enters a trainer of that name in Dassl's registry; ``compose`` wraps a method by another. The method
itself, ``Mine.from_backbone("demo", ["cat", "dog"])`` or ``trainer.model``, is a module that maps images to logits.
"""
from collections.abc import Sequence
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode

from dassl.config import get_cfg_default

from .clip import FrozenCLIP, load_clip
from .clip.tokens import PackedPrompts, Rows
from .clip.zero_shot import template_features
from .compat.registry import TRAINERS
from .config.defaults import GENERAL, declare, section_cfg, set_keys
from .config.limits import Limit, Limited
from .errors import InputError
from .prompts import Prompts, check_prompts, check_rows, check_sizes
from .training.compatibility import OVERRIDE
from .training.composition import FEATURES, GRADIENT, compose, wrapper
from .training.machine import text_memory
from .training.objective import Gradients, Objective, accuracy
from .training.state import Notes
from .training.trained import TrainedPrompts
from .training.trainer import PromptTrainer, trainer_of

__all__ = ["FEATURES", "GRADIENT", "Gradients", "PromptMethod", "PromptTrainer", "accuracy", "compose", "declare",
           "register", "wrapper"]

declare(GENERAL,
        # GiB of the classes' activations; what does not fit is chunked, recomputed. Negative: as fits the machine
        TEXT_MEMORY=Limited(-1.0, Limit("a positive number, or negative to be chosen", lambda value: value != 0)),
        CACHE=True,  # keep frozen text features on disk
        ALLOW_MISMATCH=False)  # use prompts that were trained for something else; the result keeps a note

M = TypeVar("M", bound=type["PromptMethod"])


def register(method: M) -> M:
    """Enter a trainer of a method in Dassl's registry under the method's name, unless the host has one of that name.

    A class decorator; of composed methods a function: ``register(compose(GRAM, Mine))``.

    Raises:
        TypeError: the class is no ``PromptMethod``, or declares no PREC.
    """
    if not issubclass(method, PromptMethod):
        raise TypeError(f"{method.__name__} must derive from promptreg.base.PromptMethod, got "
                        f"{', '.join(base.__name__ for base in method.__bases__)}: docs/new-method.md has what changed")
    TRAINERS.add(trainer_of(method))
    return method


class PromptMethod(Objective):
    """Learned prompts on a frozen CLIP for a list of classes: ``method(images)`` gives logits [B, C].

    Args:
        cfg: a config with the method's section; of the rest MODEL.BACKBONE.NAME and DATASET.NAME are read for
            messages and sentences, and INPUT where checkpoints are compared.
        clip: the ``FrozenCLIP``; the method computes on its device.
        classnames: C names.
        notes: where to put what belongs to all figures made with these prompts.

    Attributes:
        prompts: ``Prompts``, the parameters.
        rows: token rows of the C classes (``clip.prompt_tokens``); none where the text is not prompted.
        layout: the same, packed for the text encoder.
        method_cfg: this method's config section, over its defaults.
        general_cfg: the section PROMPTREG.

    Raises:
        InputError: the backbone or the method's keys do not fit.
    """

    layout: PackedPrompts
    SECTION: str  # of the method's keys, below TRAINER
    FOLDER = "prompt_learner"  # of the checkpoints, as published
    WHOLE_MODEL = False  # whether published checkpoints there hold the whole model (names with "prompt_learner.")
    CAPTURABLE = True
    own_classes = True  # whether the classes are among those that a wrapper's classifier was trained on
    FORWARD_KEYS: tuple[str, ...] = ()  # of the section: what decides, besides the prompts, over features and logits

    def __init__(self, cfg: CfgNode, clip: FrozenCLIP, classnames: Sequence[str], notes: Notes | None = None) -> None:
        super().__init__()
        self.cfg, self.clip, self.device, self.classnames = cfg, clip, clip.device, list(classnames)
        self.method_cfg, self.general_cfg = section_cfg(cfg, self.SECTION), section_cfg(cfg, GENERAL)
        self.notes = Notes() if notes is None else notes
        self.prompts = Prompts()
        self.rows: Rows = []
        self._text: Tensor | None = None  # text features of the evaluation
        clip.text.budget = int(text_memory(self.general_cfg.TEXT_MEMORY, clip.device) * 2 ** 30)
        check_sizes(self.SECTION, self.method_cfg, clip)
        self.build_prompts()
        check_prompts(self.prompts, clip)
        usual = not type(self).overrides("text_features", "encode_text")
        check_rows(self.rows, len(self.classnames), self.prompts.context if usual else None)
        if self.rows:
            self.layout = self.pack()
        self.prompts.to(self.device)

    @classmethod
    def from_backbone(cls, backbone: str, classnames: Sequence[str], device: str = "cpu",
                      **keys: Any) -> "PromptMethod":
        """Build the method for use alone; in a training loop, call ``prepare_training()`` before the first ``loss``.

        Args:
            backbone: as MODEL.BACKBONE.NAME.
            classnames: C names.
            device: where to compute.
            keys: of the method's config section, where not the defaults.
        """
        cfg = get_cfg_default()
        cfg.MODEL.BACKBONE.NAME = backbone
        set_keys(cfg, cls.SECTION, keys)
        return cls(cfg, load_clip(backbone, section_cfg(cfg, cls.SECTION).PREC, device), classnames)

    # ---- what a method says

    def build_prompts(self) -> None:
        """Fill ``self.prompts`` and set ``self.rows``."""
        raise NotImplementedError(f"{type(self).__name__} has no build_prompts: fill self.prompts there, set self.rows")

    def pack(self) -> PackedPrompts:
        """Return the rows laid out for the text tower."""
        return self.clip.text.pack(self.rows)

    def encode_text(self, image: Tensor | None = None) -> Tensor:
        """Return the prompted features [C, E] of all classes, in float32, of the length that CLIP gives them.

        Where the prompts depend on the image: features [B, C, E] for unit image features [B, E].
        """
        if not self.rows:
            raise ValueError(f"{type(self).__name__}: set self.rows in build_prompts, or override encode_text")
        return self.clip.text(self.layout, self.prompts.context, self.prompts.deep_text).float()

    def encode_image(self, images: Tensor, embedded: Tensor | None = None) -> Tensor:
        """Return the prompted features [B, E] of ``images`` [B, 3, S, S], or of their embedding, as ``encode_text``."""
        embedded = self.clip.vision.embed(images) if embedded is None else embedded
        return self.clip.vision(embedded, self.prompts.vision, self.prompts.deep_vision).float()

    def text_features(self) -> Tensor:
        """Return the prompted unit features [C, E] of all classes."""
        return F.normalize(self.encode_text(), dim=-1)

    def image_features(self, images: Tensor, embedded: Tensor | None = None) -> Tensor:
        """Return the prompted unit features [B, E] of ``images`` [B, 3, S, S], or of their embedding."""
        return F.normalize(self.encode_image(images, embedded), dim=-1)

    def logits_of(self, image: Tensor) -> Tensor:
        """Return logits [B, C] of unit image features [B, E]."""
        return self.clip.logit_scale * image @ self.current_text_features().T

    def logits(self, images: Tensor) -> Tensor:
        """Return logits [B, C] of ``images`` [B, 3, S, S]."""
        return self.fused(self.logits_of(self.image_features(images)))

    def fused(self, similarity: Tensor) -> Tensor:
        """Return logits [B, C] from those of the features: a wrapper may add its classifier's in evaluation."""
        return similarity

    def fit_classes(self, trained: TrainedPrompts, as_start: bool = False) -> TrainedPrompts:
        """Return ``trained`` with what it has of each class made to fit the classes here (see ``compatibility``)."""
        return trained

    # ---- what it finds

    @classmethod
    def overrides(cls, *names: str) -> bool:
        """Return whether the method, wrappers aside, has a function of its own in place of one of ``names``."""
        return any(name in vars(c) for c in cls.__mro__[:cls.__mro__.index(PromptMethod)] for name in names
                   if not vars(c).get("WRAPPER"))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, C] of ``images`` [B, 3, S, S]."""
        return self.logits(images)

    def current_text_features(self) -> Tensor:
        """Return the text features; in evaluation, where nothing is to be differentiated, they are computed once."""
        if self.training:
            return self.text_features()
        if self._text is None:
            text = self.text_features()
            if text.requires_grad:
                return text
            self._text = text
        return self._text

    def forget_text_features(self) -> None:
        """Have the text features of the evaluation computed anew: the prompts have changed."""
        self._text = None

    def train(self, mode: bool = True) -> "PromptMethod":
        """Set training or evaluation mode, as of any module.

        Raises:
            ValueError: to be trained, a parameter that optimizer and checkpoints would pass over (a method with an
                ``extra_state`` may train some itself), or one that is frozen among the prompts.
        """
        saved = type(self).extra_state is not PromptMethod.extra_state
        for name, parameter in self.named_parameters() if mode else ():
            prompt = name.startswith("prompts.")
            if parameter.requires_grad != prompt and (prompt or not saved):
                raise ValueError(f"{type(self).__name__}.{name}: what is learned must be in self.prompts "
                                 "(self.prompts.put) or saved by extra_state, what is frozen outside of self.prompts, "
                                 "with requires_grad_(False)")
        self.forget_text_features()
        return super().train(mode)

    def template_features(self, templates: Sequence[str], normalize_each: bool = False, exact: bool = False) -> Tensor:
        """Return frozen unit features [C, E] of the classes in ``templates`` (see ``clip.zero_shot``)."""
        return template_features(self.clip, self.classnames, templates, normalize_each, self.general_cfg.CACHE, exact)

    def require_vit(self) -> int:
        """Return the width of the vision tower's layers. Raises InputError where prompts cannot enter the tower."""
        if self.clip.vision.width is None:
            raise InputError(f"{type(self).__name__} puts prompts into a vision transformer: MODEL.BACKBONE.NAME "
                             f"{self.cfg.MODEL.BACKBONE.NAME} has none, choose a ViT")
        return self.clip.vision.width

    def note(self, text: str) -> None:
        """Warn, once, of something that belongs to all figures made with these prompts."""
        self.notes.add(text)

    def mismatch(self, text: str) -> None:
        """Raise InputError of what does not belong together; note it where TRAINER.PROMPTREG.ALLOW_MISMATCH is set."""
        if not self.general_cfg.ALLOW_MISMATCH:
            raise InputError(f"{text}: correct it, or set {OVERRIDE} True to use it all the same, which is noted")
        self.note(f"{text}, and is used all the same")

    @property
    def prompt_learner(self) -> nn.Module:
        """The context and what belongs to it, where CoOp's trainers have it: ``trainer.model.prompt_learner.ctx``."""
        return self.prompts.get_submodule("prompt_learner")
