"""Zero-shot CLIP, with one sentence a class or an ensemble of eight (arXiv 2103.00020; CoOp's baselines)."""
from torch import Tensor

from .base import PromptMethod, declare, register
from .clip import templates
from .config.limits import PRECISIONS, Limited

declare("ZEROSHOT", PREC=Limited("fp32", PRECISIONS))


@register
class ZeroshotCLIP(PromptMethod):
    """CLIP as it is, with its dataset's sentence. Nothing is trained."""

    SECTION = "ZEROSHOT"

    def build_prompts(self) -> None:
        print("Sentences of the classes: " + " | ".join(self.sentences()))
        self.frozen_text = self.template_features(self.sentences(), normalize_each=True)

    def sentences(self) -> list[str]:
        """Return the sentences of the ensemble, with {} for the class name."""
        return [templates.of(templates.ZERO_SHOT, self.cfg.DATASET.NAME)]

    def text_features(self) -> Tensor:
        """Return the frozen unit features [C, E]."""
        return self.frozen_text


@register
class ZeroshotCLIP2(ZeroshotCLIP):
    """The mean of normalized features over 7 selected sentences and (except on ImageNet) the dataset's own."""

    def sentences(self) -> list[str]:
        """Return the selected sentences and the dataset's own."""
        own = [] if self.cfg.DATASET.NAME == "ImageNet" else super().sentences()
        return templates.SELECTED + own
