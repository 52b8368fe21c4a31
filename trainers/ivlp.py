"""IVLP: independent vision-language prompting, the base of PromptSRC (arXiv 2212.03640; 2307.06948, 3.1)."""
import torch
import torch.nn.functional as F

from .base import PromptTrainer, declare, register
from .errors import InputError
from .prompts import joint_context, prompt_tokens

declare("IVLP", N_CTX_VISION=2, N_CTX_TEXT=2, CTX_INIT="a photo of a", PREC="fp16", PROMPT_DEPTH_VISION=9,
        PROMPT_DEPTH_TEXT=9)


@register
class IVLP(PromptTrainer):
    """Cross-entropy with learned vectors in both towers, in the input and in each layer up to a depth.

    Keys, TRAINER.IVLP: N_CTX_TEXT and N_CTX_VISION (vectors a layer), PROMPT_DEPTH_TEXT and PROMPT_DEPTH_VISION
    (layers, the input's included; 0 for vision means none), CTX_INIT (words to start from; as published, with more
    than four text vectors the start is random, whatever they are), PREC.
    """

    SECTION, FOLDER, WHOLE_MODEL = "IVLP", "VLPromptLearner", True

    def build_prompts(self):
        own = self.own
        if own.PROMPT_DEPTH_TEXT < 1:
            raise InputError(f"TRAINER.{self.SECTION}.PROMPT_DEPTH_TEXT is {own.PROMPT_DEPTH_TEXT}: it must be at "
                             "least 1 (for visual prompts alone use VPT)")
        words, context = joint_context(self.clip, own.CTX_INIT, own.N_CTX_TEXT)
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, own.N_CTX_TEXT)
        self.prompts.put("prompt_learner.ctx", context)
        self.prompts.put_deep("text_encoder", own.PROMPT_DEPTH_TEXT, own.N_CTX_TEXT, self.clip.text.width)
        self.put_vision(own.N_CTX_VISION, own.PROMPT_DEPTH_VISION)

    def put_vision(self, n, depth):
        """Add visual vectors [n, D_v] in the input and in the layers below ``depth``."""
        if depth > 0:
            self.need_vision_prompts()
            width = self.clip.vision.width
            self.prompts.put("image_encoder.VPT", torch.empty(n, width).normal_(std=0.02))
            self.prompts.put_deep("image_encoder", depth, n, width)

    def objective(self, images, labels):
        loss = F.cross_entropy(self.logits(images), labels)
        return loss, {"loss": loss}
