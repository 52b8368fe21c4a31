"""ProGrad: prompt-aligned gradients (Zhu et al., arXiv 2205.14865)."""
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Gradients, accuracy, declare, register
from .clip import prompt_tokens, templates
from .coop import CoOp
from .errors import InputError
from .prompts import sentence_to_context
from .regulate.projection import project

declare("LOSS", at_root=True, GM=False, NAME="", ALPHA=0.0, T=1.0, LAMBDA=1.0)


@register
class ProGrad(CoOp):
    """CoOp whose gradient is projected away from conflict with the frozen model's knowledge (equation 4).

    Keys: TRAINER.COOP's; CTX_INIT may be True (the dataset's own words, in the last of N_CTX places behind zero
    vectors, shared by all classes whatever CSC is); LOSS.T (temperature of the distillation), LOSS.LAMBDA (share of
    the conflicting component taken away), LOSS.NAME (prograd). Published config files also set GM and ALPHA: they are
    accepted, and nothing reads them.
    """

    CAPTURABLE = True

    def build_prompts(self) -> None:
        if self.method_cfg.CTX_INIT is not True:
            return super().build_prompts()
        words, context = sentence_to_context(self.clip, self.sentence(), self.method_cfg.N_CTX, self.SECTION)
        self.prompts.put("prompt_learner.ctx", context)
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, self.method_cfg.N_CTX,
                                  self.method_cfg.CLASS_TOKEN_POSITION)

    def sentence(self) -> str:
        """Return the dataset's sentence, with {} for the class name."""
        return templates.of(templates.PROGRAD, self.cfg.DATASET.NAME)

    def prepare_training(self) -> None:
        if self.cfg.LOSS.NAME not in ("", "prograd"):
            raise InputError(f"LOSS.NAME is {self.cfg.LOSS.NAME!r}: it must be prograd; the published code's other "
                             "losses, kd and vertical_grad, are not supported")
        self.frozen_text = self.template_features([self.sentence()], exact=True)
        exact = self.clip.exact()
        self.frozen_vision = None if exact is self.clip else exact.vision

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        image = self.image_features(images)
        logits = self.clip.logit_scale * image @ self.text_features().T
        teacher = self.clip.logit_scale * self.teacher_features(images, image) @ self.frozen_text.T
        xe, kl = self.cross_entropy(logits, labels), distillation(logits, teacher, self.cfg.LOSS.T)
        return (xe, kl), {"xe_loss": xe, "kl_loss": kl, "acc": accuracy(logits, labels)}

    def teacher_features(self, images: Tensor, image: Tensor) -> Tensor:
        """Return the teacher's unit features [B, E], in float32 as published: in a run in float32 the student's own."""
        if self.frozen_vision is None:  # prompts are in the text alone
            return image
        with torch.no_grad():
            return F.normalize(self.frozen_vision(self.frozen_vision.embed(images)), dim=-1)

    def compute_gradients(self, loss: Any, gradients: Callable[..., Gradients]) -> Gradients:
        """Return the gradient of the cross-entropy, its conflict with the teacher's taken away."""
        xe, kl = loss
        task, general = gradients(xe, retain_graph=True), gradients(kl)
        return project(task, general, self.cfg.LOSS.LAMBDA)


def distillation(logits: Tensor, teacher: Tensor, t: float) -> Tensor:
    """-sum softmax(teacher / t) log_softmax(logits / t) * t^2, mean over the batch; logits and teacher [B, C]."""
    with torch.no_grad():
        target = F.softmax(teacher / t, dim=-1)
    return -(target * F.log_softmax(logits / t, dim=-1)).sum(-1).mean() * t * t
