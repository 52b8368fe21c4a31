"""VPT: visual prompts alone, as the PromptSRC and MaPLe repositories compare with (Jia et al., arXiv 2203.12119)."""
import torch
from torch import Tensor

from .base import declare, register
from .clip import template_tokens, templates
from .config.limits import PRECISIONS, Limited, at_least
from .ivlp import IVLP

declare("VPT", N_CTX_VISION=2, CTX_INIT="a photo of a", PREC=Limited("fp16", PRECISIONS),
        PROMPT_DEPTH_VISION=Limited(1, at_least(1)))


@register
class VPT(IVLP):
    """Cross-entropy with learned vectors behind the patches; the text is frozen: CTX_INIT, the name, a full stop.

    Keys, TRAINER.VPT: N_CTX_VISION (vectors a layer), PROMPT_DEPTH_VISION (layers, the input's included), CTX_INIT,
    PREC.
    """

    SECTION, FOLDER, FORWARD_KEYS = "VPT", "prompt_learner", ("CTX_INIT",)
    CAPTURABLE = True

    def build_prompts(self) -> None:
        self.put_vision(self.method_cfg.N_CTX_VISION, self.method_cfg.PROMPT_DEPTH_VISION)
        self.sentence = self.method_cfg.CTX_INIT.replace("_", " ") + " {}."
        self.frozen_text = self.template_features([self.sentence])
        self.unscaled: Tensor | None = None

    def encode_text(self, image: Tensor | None = None) -> Tensor:
        """Return the frozen text's features [C, E]: a wrapper alone asks for them, so they are not kept on disk."""
        if self.unscaled is None:
            rows = template_tokens(templates.fill(self.sentence, self.classnames), self.clip.tokenizer)
            with torch.no_grad():
                self.unscaled = self.clip.text(self.clip.text.pack(rows, grad=False)).float()
        return self.unscaled

    def text_features(self) -> Tensor:
        """Return the frozen text's unit features [C, E]."""
        return self.frozen_text
