"""PromptSRC: self-regulating prompts (Khattak et al., arXiv 2307.06948)."""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import declare, register
from .clip.templates import DIVERSE
from .config.limits import PRECISIONS, Limited
from .errors import InputError
from .ivlp import IVLP, TEXT_DEPTH
from .regulate.aggregation import Aggregation
from .regulate.consistency import agreement, logit_agreement

declare("PROMPTSRC", N_CTX_VISION=4, N_CTX_TEXT=4, CTX_INIT="a photo of a", PREC=Limited("fp16", PRECISIONS),
        PROMPT_DEPTH_VISION=9, PROMPT_DEPTH_TEXT=Limited(9, TEXT_DEPTH), TEXT_LOSS_WEIGHT=25,
        IMAGE_LOSS_WEIGHT=10, GPA_MEAN=15, GPA_STD=1)


@register
class PromptSRC(IVLP):
    """IVLP with mutual agreement, aggregation over the epochs and diverse frozen text (sections 3.2 to 3.4).

    Keys, TRAINER.PROMPTSRC: IVLP's, and TEXT_LOSS_WEIGHT, IMAGE_LOSS_WEIGHT (of the agreement terms), GPA_MEAN, GPA_STD
    (in epochs, of the aggregation's weights).
    """

    SECTION = "PROMPTSRC"
    CAPTURABLE = True
    TEMPLATES = DIVERSE  # of the frozen text

    def prepare_training(self) -> None:
        self.frozen_text = self.template_features(self.TEMPLATES, exact=True)  # [C, E], in float32 as published
        try:
            self.aggregation = Aggregation(self.cfg.OPTIM.MAX_EPOCH, self.method_cfg.GPA_MEAN, self.method_cfg.GPA_STD)
        except ValueError as error:
            raise InputError(f"TRAINER.PROMPTSRC: {error}; correct GPA_MEAN or GPA_STD") from None

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        embedded = self.clip.vision.embed(images)  # what prompted and frozen pass share
        text, image = self.text_features(), self.image_features(images, embedded)
        with torch.no_grad():
            frozen_image = F.normalize(self.clip.vision(embedded).float(), dim=-1)
            frozen_logits = self.clip.logit_scale * frozen_image @ self.frozen_text.T
        logits = self.clip.logit_scale * image @ text.T
        loss = (self.cross_entropy(logits, labels)
                + self.method_cfg.TEXT_LOSS_WEIGHT * agreement(text, self.frozen_text)
                + self.method_cfg.IMAGE_LOSS_WEIGHT * agreement(image, frozen_image)
                + logit_agreement(logits, frozen_logits))
        return loss, {"loss": loss}

    def end_epoch(self, epoch: int, epochs: int) -> None:
        """Add the epoch's prompts to the aggregate, which replaces them after the last epoch."""
        self.aggregation.add(epoch, self.prompts.state_dict())
        if epoch + 1 == epochs:
            self.prompts.load_state_dict(self.aggregation.total)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the aggregate."""
        return self.aggregation.total

    def load_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take back the aggregate."""
        self.aggregation.total = {name: value.to(self.device) for name, value in state.items()}
