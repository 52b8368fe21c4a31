"""CoCoOp: context words conditioned on the image (Zhou et al., arXiv 2203.05557)."""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import PromptMethod, declare, register
from .clip import templates
from .clip.tokens import PackedPrompts
from .config.limits import PRECISIONS, Limited
from .errors import InputError
from .prompts import prompt_tokens, sentence_to_context, words_to_context

declare("COCOOP", N_CTX=16, CTX_INIT=None, PREC=Limited("fp16", PRECISIONS))


class MetaNet(nn.Module):
    """Linear, ReLU, linear: image feature [B, E] to context shift [B, D] through E // 16 units."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, features // 16)
        self.linear2 = nn.Linear(features // 16, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shifts [B, D] of unit image features ``x`` [B, E]."""
        return self.linear2(F.relu(self.linear1(x)))


@register
class CoCoOp(PromptMethod):
    """Cross-entropy where each image has its own context: the shared vectors plus a shift (equation 3).

    Keys, TRAINER.COCOOP: N_CTX, CTX_INIT (words to start from: their number then
    stands for N_CTX; True: the dataset's own words in the last of N_CTX places, as in ProGrad's repository), PREC.
    """

    SECTION = "COCOOP"
    CAPTURABLE = True

    def build_prompts(self) -> None:
        n_ctx = self.method_cfg.N_CTX
        if self.method_cfg.CTX_INIT is True:
            sentence = templates.of(templates.PROGRAD, self.cfg.DATASET.NAME)
            words, context = sentence_to_context(self.clip, sentence, n_ctx, self.SECTION)
        else:
            words = (self.method_cfg.CTX_INIT or "").replace("_", " ")
            n_ctx = len(words.split(" ")) if words else n_ctx
            words, context = words_to_context(self.clip, words, n_ctx)
        self.prompts.put("prompt_learner.ctx", context)
        self.prompts.put("prompt_learner.meta_net", MetaNet(self.clip.embed_dim, self.clip.text.width))
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, n_ctx)
        self.layouts: dict[int, PackedPrompts] = {}  # for so many images at once

    def encode_text(self, image: Tensor | None = None) -> Tensor:
        """Return features [B, C, E] for unit image features [B, E].

        Raises:
            InputError: no image: each has its own.
        """
        if image is None:
            raise InputError("CoCoOp's text features depend on the image: there are none of the classes alone")
        learner = self.prompts.prompt_learner
        contexts = learner.ctx + learner.meta_net(image).unsqueeze(1)  # [B, M, D]
        if self.training:
            return self.clip.text(self.layout_for(len(image)), contexts).float()
        return torch.stack([self.clip.text(self.layout_for(1), context).float()  # memory of one image's at a time
                            for context in contexts])

    def logits_of(self, image: Tensor) -> Tensor:
        """Return logits [B, C] of unit image features [B, E]; every image needs the features [C, E] of its prompts."""
        text = F.normalize(self.encode_text(image), dim=-1)  # [B, C, E]
        if self.training:
            return self.clip.logit_scale * torch.einsum("be,bce->bc", image, text)
        return torch.stack([self.clip.logit_scale * own @ one for own, one in zip(text, image, strict=True)])

    def layout_for(self, images: int) -> PackedPrompts:
        """Return the rows packed in chunks that fit the memory budget for so many images at once."""
        if images not in self.layouts:
            self.layouts[images] = self.clip.text.pack(self.rows, self.training, images)
        return self.layouts[images]

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        loss = self.cross_entropy(self.logits(images), labels)
        return loss, {"loss": loss}
