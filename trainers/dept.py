"""DePT: decoupled prompt tuning, a classifier of the classes trained on beside any method's (arXiv 2309.07439)."""
import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode

from .base import FEATURES, PromptMethod, declare, wrapper
from .config.defaults import section_cfg
from .config.limits import POSITIVE, Limit, Limited, one_of
from .errors import InputError
from .training.trained import TrainedPrompts

declare("LINEAR_PROBE", TYPE=Limited("linear", one_of("linear", "similarity")), TEST_TIME_FUSION=True,
        WEIGHT=Limited(0.7, Limit("a share, 0 to 1", lambda value: 0 <= value <= 1)))
declare("FILM", LINEAR_PROBE=True)
declare("OPTIM", at_root=True, LR_EXP=Limited(6.5, POSITIVE))


class FiLM(nn.Module):
    """x -> scale * x + bias, entry by entry of features [..., E]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.bias


@wrapper(FEATURES)
class DePT(PromptMethod):
    """Mix-in before a method: its cross-entropy becomes (1 - WEIGHT) of it + WEIGHT of a head's for the classes trained
    on, which sees features of CLIP's own length, transformed by a scale and a bias (equations 4 to 7).

    Keys: TRAINER.LINEAR_PROBE.WEIGHT, .TYPE (linear; similarity: the cosine again), .TEST_TIME_FUSION (False: the head
    alone), TRAINER.FILM.LINEAR_PROBE (transform the features), OPTIM.LR_EXP (the head's learning rate over OPTIM.LR).
    """

    SECTIONS, WHOLE_MODEL, CAPTURABLE = ("LINEAR_PROBE", "FILM"), True, True
    text: Tensor | None = None  # of the pass under way, as encoded
    image: Tensor | None = None

    @classmethod
    def check_composition(cls) -> None:
        """Refuse methods without features of CLIP's own length; name the folder as published."""
        super().check_composition()
        for unit, features in ("text_features", "encode_text"), ("image_features", "encode_image"):
            if cls.overrides(unit) and not cls.overrides(features):
                raise InputError(f"{cls.__name__}: DePT reads features before they are normalized: the method needs "
                                 f"{features} in place of {unit}")
        if cls.overrides("second_step"):
            raise InputError(f"{cls.__name__}: the method's second step has a loss of its own, without DePT's head")
        cls.FOLDER = "PromptLearner" if cls.FOLDER == "prompt_learner" else cls.FOLDER

    def build_prompts(self) -> None:
        super().build_prompts()
        self.probe, film = section_cfg(self.cfg, "LINEAR_PROBE"), section_cfg(self.cfg, "FILM").LINEAR_PROBE
        self.linear, width = self.probe.TYPE == "linear", self.clip.embed_dim
        with torch.random.fork_rng(devices=[]):  # all else in the run is drawn as without the head
            self.prompts.put("film_lp_img", FiLM(width) if film else nn.Identity())
            self.prompts.put("film_lp_text", FiLM(width) if film else nn.Identity())
            head = nn.Linear(width, len(self.classnames)) if self.linear else nn.Identity()
            self.prompts.put("linear_probe_proj", head)
        self.prompts.added |= {"film_lp_img", "film_lp_text", "linear_probe_proj"}

    def encode_text(self, image: Tensor | None = None) -> Tensor:
        self.text = super().encode_text(image)
        return self.text

    def encode_image(self, images: Tensor, embedded: Tensor | None = None) -> Tensor:
        self.image = super().encode_image(images, embedded)
        return self.image

    def head(self, labels: Tensor | None = None) -> Tensor:
        """Return the head's logits [B, C]; in training, of the labels' texts and then the images: [2B, C] if linear."""
        assert self.image is not None, "logits and cross_entropy come after image_features"
        image = self.prompts.film_lp_img(self.image)
        if labels is None and self.linear:
            return self.prompts.linear_probe_proj(image)
        text = self.encode_text() if self.text is None else self.text
        if labels is not None and self.linear:
            text = text[labels] if text.dim() == 2 else text[torch.arange(len(image), device=text.device), labels]
        text = self.prompts.film_lp_text(text)
        if self.linear:
            return self.prompts.linear_probe_proj(torch.cat([text, image]))
        image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        return self.clip.logit_scale * torch.einsum("be,ce->bc" if text.dim() == 2 else "be,bce->bc", image, text)

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return (1 - WEIGHT) * the method's cross-entropy + WEIGHT * the head's."""
        share, found = self.probe.WEIGHT, self.head(labels)
        of_head = F.cross_entropy(found, labels.repeat(len(found) // len(labels)))
        return (1 - share) * super().cross_entropy(logits, labels) + share * of_head

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        found, self.text, self.image = super().loss(images, labels), None, None  # the step's graph hangs on the two
        return found

    def fused(self, similarity: Tensor) -> Tensor:
        """Return logits [B, C]: in evaluation on the head's classes fused with the head's, or the head's alone."""
        similarity, share = super().fused(similarity), self.probe.WEIGHT
        if self.training or not self.own_classes:
            return similarity
        return (1 - share) * similarity + share * self.head() if self.probe.TEST_TIME_FUSION else self.head()

    def forget_text_features(self) -> None:
        super().forget_text_features()
        self.text = None

    def optimizer_groups(self, optim: CfgNode) -> Any:
        """Return the method's parameters at OPTIM.LR and the head's at OPTIM.LR * LR_EXP."""
        own, added = ([parameter for _, parameter in self.prompts.own_parameters(part)] for part in (False, True))
        return [{"params": own}, {"params": added, "lr": optim.LR * optim.get("LR_EXP", 6.5)}]

    def fit_classes(self, trained: TrainedPrompts, as_start: bool = False) -> TrainedPrompts:
        """Return ``trained`` with the head's rows of the classes here; where they are others, the head has no part."""
        here, there, data = self.classnames, list(trained.classnames or self.classnames), self.cfg.DATASET
        published = data.get("SUBSAMPLE_CLASSES") == "base" or "ImageNet" in data.NAME  # whose files name no classes
        known = {*here} <= {*there} if trained.classnames else published
        rows = [there.index(name) for name in here] if known and here != there else slice(None)
        own, self.own_classes = self.prompts.state_dict(), known or as_start
        head = {name: own.get(name, value) if not known else value[rows] if len(value) == len(there) else value
                for name, value in trained.state_dict.items() if name.startswith("linear_probe_proj.")
                and torch.is_tensor(value) and value.dim()}
        return dataclasses.replace(trained, state_dict={**trained.state_dict, **head})
