"""MaPLe: multi-modal prompts, the visual ones projected from the textual ones (Khattak et al., arXiv 2210.03117)."""
import copy
from typing import Any

import torch
from torch import Tensor, nn

from .base import PromptMethod, declare, register
from .config.limits import PRECISIONS, Limited, at_least
from .prompts import joint_context, prompt_tokens

declare("MAPLE", N_CTX=2, CTX_INIT="a photo of a", PREC=Limited("fp16", PRECISIONS),
        PROMPT_DEPTH=Limited(9, at_least(1)))


@register
class MaPLe(PromptMethod):
    """Cross-entropy; each layer's visual vectors are a learned linear map of its textual ones (section 3.2.3).

    Keys, TRAINER.MAPLE: N_CTX (vectors a layer), PROMPT_DEPTH (layers, the input's included), CTX_INIT (words to start
    from; as published, with more than four vectors the start is random), PREC.
    """

    SECTION, FOLDER, WHOLE_MODEL = "MAPLE", "MultiModalPromptLearner", True
    CAPTURABLE = True

    def build_prompts(self) -> None:
        v_width = self.require_vit()
        depth, n = self.method_cfg.PROMPT_DEPTH, self.method_cfg.N_CTX
        width = self.clip.text.width
        words, context = joint_context(self.clip, self.method_cfg.CTX_INIT, n)
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, n)
        deep = range(depth - 1)
        self.prompts.put("prompt_learner.ctx", context)
        self.prompts.put("prompt_learner.proj", nn.Linear(width, v_width))
        self.prompts.put("prompt_learner.compound_prompts_text",
                         nn.ParameterList(torch.empty(n, width).normal_(std=0.02) for _ in deep))
        start = nn.Linear(width, v_width)  # of all layers, as published
        self.prompts.put("prompt_learner.compound_prompt_projections",
                         nn.ModuleList(copy.deepcopy(start) for _ in deep))

    def encode_text(self, image: Tensor | None = None) -> Tensor:
        """Return the prompted features [C, E] of all classes."""
        learner = self.prompts.prompt_learner
        return self.clip.text(self.layout, learner.ctx, list(learner.compound_prompts_text)).float()

    def encode_image(self, images: Tensor, embedded: Tensor | None = None) -> Tensor:
        """Return the prompted features [B, E] of ``images`` [B, 3, S, S], or of their embedding."""
        learner = self.prompts.prompt_learner
        deep = [project(x) for project, x in zip(learner.compound_prompt_projections, learner.compound_prompts_text,
                                                 strict=True)]
        embedded = self.clip.vision.embed(images) if embedded is None else embedded
        return self.clip.vision(embedded, learner.proj(learner.ctx), deep).float()

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        loss = self.cross_entropy(self.logits(images), labels)
        return loss, {"loss": loss}
