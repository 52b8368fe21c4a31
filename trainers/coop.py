"""CoOp: learned context words (Zhou et al., arXiv 2109.01134)."""
from .base import PromptMethod, declare, register
from .config.limits import PRECISIONS, Limit, Limited
from .errors import InputError
from .prompts import prompt_tokens, words_to_context

PLACES = Limit("end, middle or front", ("end", "middle", "front").__contains__)  # of the class name
# CTX_INIT defaults to None, which yacs lets a config replace by CoOp's string or by ProGrad's boolean.
declare("COOP", N_CTX=16, CSC=False, CTX_INIT=None, PREC=Limited("fp16", PRECISIONS),
        CLASS_TOKEN_POSITION=Limited("end", PLACES), W=8.0)


@register
class CoOp(PromptMethod):
    """Cross-entropy on prompts "[V]_1 … [V]_M class name." (equations 1 and 2).

    Keys, TRAINER.COOP: N_CTX (M), CSC (contexts of their own for each class), CTX_INIT (words to start from: M is then
    their number, whatever N_CTX is, and all classes share them, whatever CSC is, as published), CLASS_TOKEN_POSITION
    (end, middle, front), PREC.
    """

    SECTION, FORWARD_KEYS = "COOP", ("CLASS_TOKEN_POSITION",)

    def build_prompts(self) -> None:
        cfg, words = self.method_cfg, self.initial_words()
        n_ctx = len(words.split(" ")) if words else cfg.N_CTX
        words, context = words_to_context(self.clip, words, n_ctx)
        per_class = cfg.CSC and not self.initial_words()
        if per_class:
            context = context.new_empty(len(self.classnames), *context.shape).normal_(std=0.02)
        self.prompts.put("prompt_learner.ctx", context, per_class)
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, n_ctx, cfg.CLASS_TOKEN_POSITION,
                                  per_class)

    def initial_words(self) -> str:
        """Return the words of CTX_INIT, or "" for a random start."""
        if self.method_cfg.CTX_INIT is True:
            raise InputError("TRAINER.COOP.CTX_INIT True stands for a dataset's words in ProGrad and for fixed ones in "
                             'KgCoOp: give CoOp its words, or "" for a random start')
        return (self.method_cfg.CTX_INIT or "").replace("_", " ")
