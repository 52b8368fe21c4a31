"""CoCoOp: context words conditioned on the image (Zhou et al., arXiv 2203.05557)."""
import torch
import torch.nn.functional as F
from torch import nn

from .base import PromptTrainer, declare, register
from .clip import pack, templates
from .errors import InputError
from .prompts import prompt_tokens, sentence_to_context, words_to_context

declare("COCOOP", N_CTX=16, CTX_INIT=None, PREC="fp16")


class MetaNet(nn.Module):
    """Linear, ReLU, linear: image feature [B, E] to context shift [B, D] through E // 16 units."""

    def __init__(self, features, width):
        super().__init__()
        self.linear1 = nn.Linear(features, features // 16)
        self.linear2 = nn.Linear(features // 16, width)

    def forward(self, x):
        """Return the shifts [B, D] of unit image features ``x`` [B, E]."""
        return self.linear2(F.relu(self.linear1(x)))


@register
class CoCoOp(PromptTrainer):
    """Cross-entropy where each image has its own context: the shared vectors plus a shift (equation 3).

    Keys, TRAINER.COCOOP: N_CTX, CTX_INIT (words to start from: their number then
    stands for N_CTX; True: the dataset's own words in the last of N_CTX places, as in ProGrad's repository), PREC.
    """

    SECTION = "COCOOP"

    def build_prompts(self):
        n_ctx = self.own.N_CTX
        if self.own.CTX_INIT is True:
            sentence = templates.of(templates.PROGRAD, self.cfg.DATASET.NAME)
            words, context = sentence_to_context(self.clip, sentence, n_ctx, self.SECTION)
        else:
            words = (self.own.CTX_INIT or "").replace("_", " ")
            n_ctx = len(words.split(" ")) if words else n_ctx
            words, context = words_to_context(self.clip, words, n_ctx)
        self.prompts.put("prompt_learner.ctx", context)
        self.prompts.put("prompt_learner.meta_net", MetaNet(self.clip.embed_dim, self.clip.text.width))
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, n_ctx)

    def text_features(self):
        """Refuse: each image has its own.

        Raises:
            InputError: always.
        """
        raise InputError("CoCoOp's text features depend on the image: there are none of the classes alone")

    def logits(self, images):
        """Return logits [B, C]; every image needs the features [C, E] of its own prompts."""
        learner, image = self.prompts.prompt_learner, self.image_features(images)
        contexts = learner.ctx + learner.meta_net(image).unsqueeze(1)  # [B, M, D]
        if self.prompts.training:
            text = F.normalize(self.clip.text(self.layout_for(len(images)), contexts).float(), dim=-1)  # [B, C, E]
            return self.clip.logit_scale * torch.einsum("be,bce->bc", image, text)
        rows = []
        for one_image, context in zip(image, contexts, strict=True):  # memory of one image's prompts at a time
            text = F.normalize(self.clip.text(self.layout_for(1), context).float(), dim=-1)
            rows.append(self.clip.logit_scale * text @ one_image)
        return torch.stack(rows)

    def layout_for(self, images):
        """The rows arranged in chunks that fit the memory budget for so many images at once."""
        if images not in self._layouts:
            chunk = self.clip.text.chunk_tokens(self.prompts.training, images)
            self._layouts[images] = pack(self.rows, chunk).to(self.device)  # type: ignore[arg-type]  # rows are set
        return self._layouts[images]

    @property
    def _layouts(self):
        return self.__dict__.setdefault("_by_size", {})

    def objective(self, images, labels):
        loss = F.cross_entropy(self.logits(images), labels)
        return loss, {"loss": loss}
