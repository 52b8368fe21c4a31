"""IVLP: independent vision-language prompting, the base of PromptSRC (arXiv 2212.03640; 2307.06948, 3.1)."""
from typing import Any

import torch
from torch import Tensor

from .base import PromptMethod, declare, register
from .config.limits import PRECISIONS, Limited, at_least
from .prompts import joint_context, prompt_tokens

TEXT_DEPTH = at_least(1, " (for visual prompts alone use VPT)")
declare("IVLP", N_CTX_VISION=2, N_CTX_TEXT=2, CTX_INIT="a photo of a", PREC=Limited("fp16", PRECISIONS),
        PROMPT_DEPTH_VISION=9, PROMPT_DEPTH_TEXT=Limited(9, TEXT_DEPTH))


@register
class IVLP(PromptMethod):
    """Cross-entropy with learned vectors in both towers, in the input and in each layer up to a depth.

    Keys, TRAINER.IVLP: N_CTX_TEXT and N_CTX_VISION (vectors a layer), PROMPT_DEPTH_TEXT and PROMPT_DEPTH_VISION
    (layers, the input's included; 0 for vision means none), CTX_INIT (words to start from; as published, with more
    than four text vectors the start is random, whatever they are), PREC.
    """

    SECTION, FOLDER, WHOLE_MODEL = "IVLP", "VLPromptLearner", True
    CAPTURABLE = True

    def build_prompts(self) -> None:
        cfg = self.method_cfg
        words, context = joint_context(self.clip, cfg.CTX_INIT, cfg.N_CTX_TEXT)
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, cfg.N_CTX_TEXT)
        self.prompts.put("prompt_learner.ctx", context)
        self.prompts.put_deep("text_encoder", cfg.PROMPT_DEPTH_TEXT, cfg.N_CTX_TEXT, self.clip.text.width)
        self.put_vision(cfg.N_CTX_VISION, cfg.PROMPT_DEPTH_VISION)

    def put_vision(self, n: int, depth: int) -> None:
        """Add visual vectors [n, D_v] in the input and in the layers below ``depth``."""
        if depth > 0:
            width = self.require_vit()
            self.prompts.put("image_encoder.VPT", torch.empty(n, width).normal_(std=0.02))
            self.prompts.put_deep("image_encoder", depth, n, width)

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        loss = self.cross_entropy(self.logits(images), labels)
        return loss, {"loss": loss}
