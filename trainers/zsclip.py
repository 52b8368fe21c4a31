"""Zero-shot CLIP, with one sentence a class or an ensemble of eight (arXiv 2103.00020; CoOp's baselines)."""
import logging

from .base import PromptTrainer, declare, register
from .clip import templates

log = logging.getLogger("promptreg")

declare("ZEROSHOT", PREC="fp32")


@register
class ZeroshotCLIP(PromptTrainer):
    """CLIP as it is, with its dataset's sentence. Nothing is trained."""

    SECTION = "ZEROSHOT"

    def build_prompts(self):
        print("Sentences of the classes: " + " | ".join(self.sentences()))
        self.frozen_text = self.template_features(self.sentences(), normalize_each=True)

    def sentences(self):
        return [templates.of(templates.ZERO_SHOT, self.cfg.DATASET.NAME)]

    def text_features(self):
        return self.frozen_text

    def train(self):
        """There is nothing to train: evaluate."""
        print(f"{type(self).__name__} learns nothing; evaluating it as it is")
        self.test()

    def load_model(self, directory, epoch=None):
        """There is nothing to load."""
        if directory:
            log.warning("--model-dir %s has no effect: %s learns nothing, the figure is that of CLIP as it is",
                        directory, type(self).__name__)


@register
class ZeroshotCLIP2(ZeroshotCLIP):
    """The mean of normalized features over 7 selected sentences and (except on ImageNet) the dataset's own."""

    def sentences(self):
        own = [] if self.cfg.DATASET.NAME == "ImageNet" else super().sentences()
        return templates.SELECTED + own
