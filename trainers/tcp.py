"""TCP: class-aware tokens made of the frozen text, inside the text tower (Yao et al., arXiv 2311.18231)."""
from typing import Any

import torch
from torch import Tensor, nn

from .base import PromptMethod, declare, register
from .clip import template_tokens, templates
from .clip.class_vectors import ClassVectors
from .clip.tokens import PackedPrompts
from .config.limits import PRECISIONS, Limited, at_least
from .errors import InputError
from .kgcoop import guided_loss

N_CTX = 4  # learned vectors, the words that the sentences below begin with, and tokens made for a class
TEACHER = {
    "OxfordPets": "a photo of a {}, a type of pet.",
    "OxfordFlowers": "a photo of a {}, a type of flower.",
    "FGVCAircraft": "a photo of an aircraft {}.",
    "DescribableTextures": "a photo of a {}, a type of texture.",
    "EuroSAT": "a centered satellite photo of {}.",
    "Food101": "a photo of a {}, a type of food.",
    "UCF101": "a photo of a person doing {}.",
}
LEARNER = {
    "OxfordPets": "X X X X {}, a type of pet.",
    "OxfordFlowers": "X X X X {}, a type of flower.",
    "FGVCAircraft": "X X X X {}, a type of aircraft.",
    "DescribableTextures": "X X X X {} texture.",
    "EuroSAT": "X X X X {}.",
    "StanfordCars": "X X X X {}, a type of car",  # without a full stop, as published
    "Food101": "X X X X {}, a type of food.",
    "SUN397": "X X X X {}.",
    "Caltech101": "X X X X {}.",
    "UCF101": "a photo of a person doing {}.",
}
declare("TCP", W=8.0, LAYER=Limited(8, at_least(1)), PREC=Limited("fp16", PRECISIONS))


class ClassTokens(nn.Module):
    """Linear, QuickGELU, linear: frozen text features [C, E] to tokens [C, N_CTX, D] through E // 4 units."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, features // 4)
        self.linear2 = nn.Linear(features // 4, N_CTX * width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens of unit text features ``x`` [C, E]."""
        hidden = self.linear1(x)
        return self.linear2(hidden * torch.sigmoid(1.702 * hidden)).unflatten(-1, (N_CTX, -1))


@register
class TCP(PromptMethod):
    """Cross-entropy + W * (1 - mean cosine of prompted and frozen text features); four shared context vectors, which
    in the text tower's block LAYER four tokens of each class replace (equations 5 to 8).

    Keys, TRAINER.TCP: W (weight of the agreement, fixed at 8 in the published code), LAYER (the block, from 0, before
    which the classes' tokens enter), PREC.
    """

    SECTION, FORWARD_KEYS = "TCP", ("LAYER",)
    CAPTURABLE = True

    def build_prompts(self) -> None:
        layers = len(self.clip.text.blocks)
        if self.method_cfg.LAYER >= layers:
            raise InputError(f"TRAINER.TCP.LAYER is {self.method_cfg.LAYER}: it must be 1 to {layers - 1}, the "
                             "backbone's blocks behind the first")
        name, width = self.cfg.DATASET.NAME, self.clip.text.width
        self.frozen_text = self.template_features([templates.of(TEACHER, name)])
        self.prompts.put("prompt_learner.ctx", torch.empty(N_CTX, width).normal_(std=0.02))
        self.prompts.put("prompt_learner.meta_net", ClassTokens(self.clip.embed_dim, width))
        sentences = templates.fill(templates.of(LEARNER, name), self.classnames)
        for sot, *words in template_tokens(sentences, self.clip.tokenizer):
            context = [(token, slot) for slot, (token, _) in enumerate(words[:N_CTX])]
            self.rows.append([sot, *context, *words[N_CTX:]])

    def pack(self) -> PackedPrompts:
        """Return the rows laid out, for tokens of the classes from LAYER on."""
        return self.clip.text.pack(self.rows, unshared_from=self.method_cfg.LAYER)

    def encode_text(self, image: Tensor | None = None) -> Tensor:
        """Return the prompted features [C, E] of all classes."""
        learner = self.prompts.prompt_learner
        own = ClassVectors(self.method_cfg.LAYER, learner.meta_net(self.frozen_text))
        return self.clip.text(self.layout, learner.ctx, own=own).float()

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        return guided_loss(self, images, labels, self.frozen_text)
