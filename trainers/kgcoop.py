"""KgCoOp: context words kept near the hand-written ones (Yao et al., arXiv 2303.13283)."""
from typing import Any

from torch import Tensor

from .base import PromptMethod, accuracy, register
from .clip import templates
from .coop import CoOp


@register
class KgCoOp(CoOp):
    """Cross-entropy + W * (1 - mean cosine of prompted and frozen text features) (equation 5).

    Keys, TRAINER.COOP: CoOp's, and W. CTX_INIT may be True: "a photo of a", which like any words decides over N_CTX
    and CSC.
    """

    CAPTURABLE = True

    def prepare_training(self) -> None:
        self.frozen_text = self.template_features([templates.of(templates.KGCOOP, self.cfg.DATASET.NAME)])

    def initial_words(self) -> str:
        return "a photo of a" if self.method_cfg.CTX_INIT is True else super().initial_words()

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        return guided_loss(self, images, labels, self.frozen_text)


def guided_loss(method: PromptMethod, images: Tensor, labels: Tensor,
                frozen_text: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return cross-entropy + W * (1 - mean cosine of the text features and the frozen ones [C, E]), and the figures."""
    text = method.text_features()
    logits = method.clip.logit_scale * method.image_features(images) @ text.T
    cosine = (text * frozen_text).sum(-1).mean()
    loss = method.cross_entropy(logits, labels) + method.method_cfg.W * (1 - cosine)
    return loss, {"loss": loss, "acc": accuracy(logits, labels)}
