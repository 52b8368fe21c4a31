"""MMA: adapters in the upper blocks of both towers, joined by a shared layer (Yang et al., CVPR 2024)."""
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from .base import PromptMethod, declare, register
from .clip.vectors import Adapters
from .config.limits import PRECISIONS, Limited, at_least
from .errors import InputError
from .prompts import prompt_tokens

declare("MMADAPTER", TEXT_CTX_INIT="a photo of a", ADAPTER_START=Limited(5, at_least(1)), ADAPTER_END=12,
        ADAPTER_DIM=Limited(32, at_least(1)), ADAPTER_SCALE=0.001, PREC=Limited("amp", PRECISIONS))
LEARNER = "adapter_learner"


class Scale(Function):
    """x times one factor; its gradient times another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float, of_gradient: float) -> Tensor:
        ctx.of_gradient = of_gradient
        return x * factor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.of_gradient, None, None


def affine(x: Tensor, layer: nn.Linear) -> Tensor:
    """Return ``layer`` of ``x``, in the dtype of ``x``."""
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


@register
class MultiModalAdapter(PromptMethod):
    """Cross-entropy; each block from ADAPTER_START to ADAPTER_END, counted from 1, of both towers adds to its output
    ADAPTER_SCALE * up(relu(shared(relu(down(its normed input))))), ``shared`` being one for both (equations 4 to 7).

    As published, an adapter's weights get the gradient as if ADAPTER_SCALE were 1; its input gets the true one.

    Keys, TRAINER.MMADAPTER: ADAPTER_START, ADAPTER_END, ADAPTER_DIM (units), ADAPTER_SCALE, TEXT_CTX_INIT (the words
    before the name), PREC.
    """

    SECTION, FOLDER, FORWARD_KEYS = "MMADAPTER", LEARNER, ("ADAPTER_SCALE", "TEXT_CTX_INIT")
    CAPTURABLE = True

    def build_prompts(self) -> None:
        cfg, width = self.method_cfg, self.require_vit()
        most = min(len(tower.transformer.resblocks) for tower in (self.clip.text.tower, self.clip.vision.tower))
        if not cfg.ADAPTER_START <= cfg.ADAPTER_END <= most:
            raise InputError(f"TRAINER.MMADAPTER.ADAPTER_END is {cfg.ADAPTER_END}: it must be {cfg.ADAPTER_START}, "
                             f"ADAPTER_START, to {most}, the backbone's blocks")
        self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, cfg.TEXT_CTX_INIT.replace("_", " "), 0)
        for block in range(cfg.ADAPTER_START, cfg.ADAPTER_END + 1):
            for tower, size in (("text", self.clip.text.width), ("visual", width)):
                self.put(f"{tower}_adapter.{block}.down.0", size, cfg.ADAPTER_DIM)
                self.put(f"{tower}_adapter.{block}.up", cfg.ADAPTER_DIM, size)
            self.put(f"shared_adapter.{block}.0", cfg.ADAPTER_DIM, cfg.ADAPTER_DIM)

    def put(self, name: str, inputs: int, outputs: int) -> None:
        """Add a linear layer under a name of the adapters."""
        layer = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        nn.init.zeros_(layer.bias)
        self.prompts.put(f"{LEARNER}.{name}", layer)

    def adapters(self, tower: str) -> Adapters:
        """Return the adapters of a tower, "text" or "visual", by its blocks from 0."""
        return {block - 1: self.adapter(tower, block)
                for block in range(self.method_cfg.ADAPTER_START, self.method_cfg.ADAPTER_END + 1)}

    def adapter(self, tower: str, block: int) -> Callable[[Tensor], Tensor]:
        """Return the function of a block's normed input [..., N, D] that is added to its output."""
        scale, get = self.method_cfg.ADAPTER_SCALE, self.prompts.get_submodule
        own, shared = get(f"{LEARNER}.{tower}_adapter.{block}"), get(f"{LEARNER}.shared_adapter.{block}")
        down, between, up = own.get_submodule("down.0"), shared.get_submodule("0"), own.get_submodule("up")

        def added(y: Tensor) -> Tensor:
            hidden = F.relu(affine(Scale.apply(y, 1, scale), down))
            return Scale.apply(affine(F.relu(affine(hidden, between)), up), scale, 1)
        return added

    def encode_text(self, image: Tensor | None = None) -> Tensor:
        """Return the adapted features [C, E] of all classes."""
        return self.clip.text(self.layout, adapters=self.adapters("text")).float()

    def encode_image(self, images: Tensor, embedded: Tensor | None = None) -> Tensor:
        """Return the adapted features [B, E] of ``images`` [B, 3, S, S], or of their embedding."""
        embedded = self.clip.vision.embed(images) if embedded is None else embedded
        return self.clip.vision(embedded, adapters=self.adapters("visual")).float()

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        loss = self.cross_entropy(self.logits(images), labels)
        return loss, {"loss": loss}
