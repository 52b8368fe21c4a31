"""ProMetaR: prompts whose regularization is modulated by a meta-learned network (Park et al., arXiv 2404.00851)."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from yacs.config import CfgNode

from dassl.optim import build_lr_scheduler, build_optimizer

from .base import Gradients, declare, register
from .clip.fused import twice_differentiable
from .clip.templates import DIVERSE
from .config.limits import PRECISIONS, Limited
from .errors import InputError
from .ivlp import IVLP, TEXT_DEPTH
from .regulate.consistency import agreement
from .regulate.modulation import VNet, take_back, with_optimizer
from .training import distributed

declare("PROMETAR", N_CTX_VISION=4, N_CTX_TEXT=4, CTX_INIT="a photo of a", PREC=Limited("fp16", PRECISIONS),
        PROMPT_DEPTH_VISION=9, PROMPT_DEPTH_TEXT=Limited(9, TEXT_DEPTH), TEXT_LOSS_WEIGHT=50, IMAGE_LOSS_WEIGHT=20,
        ADAPT_LR=0.0005, LR_RATIO=0.0005)
declare("OPTIM_VNET", at_root=True, NAME="sgd", LR=0.00025, MAX_EPOCH=10, LR_SCHEDULER="cosine", WARMUP_EPOCH=1,
        WARMUP_TYPE="constant", WARMUP_CONS_LR=1e-6)


class Towers(nn.Module):
    """A method's features as a function of its prompts, for ``functional_call``."""

    def __init__(self, method: "ProMetaR") -> None:
        super().__init__()
        self.method = method

    def forward(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        return self.method.towers(embedded)


@register
class ProMetaR(IVLP):
    """IVLP with the gradient g + VNet(g, r) r, r that of the agreement with the frozen towers; a second step on each
    batch learns VNet, and the prompts, through an inner step on some of its classes (equations 5 to 12).

    Keys, TRAINER.PROMETAR: IVLP's, and TEXT_LOSS_WEIGHT, IMAGE_LOSS_WEIGHT (of the agreement), ADAPT_LR (rate of the
    inner step), LR_RATIO (weight of the second step's loss); OPTIM_VNET: of VNet's optimizer.
    """

    SECTION = "PROMETAR"
    CAPTURABLE = True  # the first step; the second is another one for each batch, and never captured

    def prepare_training(self) -> None:
        if distributed.world_size() > 1:
            raise InputError("ProMetaR draws tasks from the batch of one process: start it without torchrun")
        self.frozen_text = self.template_features(DIVERSE, exact=True)
        added = {name for name, _ in self.prompts.own_parameters(True)}  # a wrapper's
        self.vnet = VNet(dict(self.prompts.named_parameters()), added).to(self.device)
        optim = CfgNode({**self.cfg.OPTIM, **self.cfg.OPTIM_VNET})
        self.second_optimizer = build_optimizer(self.vnet, optim)
        build_lr_scheduler(self.second_optimizer, optim)  # sets the first epoch's rate; as published, none follows

    def towers(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit text features [C, E] and unnormalized image features [B, E] of an embedded batch."""
        return self.text_features(), self.encode_image(embedded, embedded)

    def losses(self, text: Tensor, image: Tensor, embedded: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and regularization of what ``towers`` returns."""
        with torch.no_grad():
            frozen_image = F.normalize(self.clip.vision(embedded).float(), dim=-1)
        image = F.normalize(image, dim=-1)
        general = (self.method_cfg.TEXT_LOSS_WEIGHT * agreement(text, self.frozen_text)
                   + self.method_cfg.IMAGE_LOSS_WEIGHT * agreement(image, frozen_image))
        return self.cross_entropy(self.clip.logit_scale * image @ text.T, labels), general

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        embedded = self.clip.vision.embed(images)
        task, general = self.losses(*self.towers(embedded), embedded, labels)
        return (task, general), {"loss": task + general}

    def compute_gradients(self, loss: Any, gradients: Callable[..., Gradients]) -> Gradients:
        """Return the gradient of the cross-entropy plus the modulated one of the regularization."""
        task, general = gradients(loss[0], retain_graph=True), gradients(loss[1])
        with torch.no_grad():
            return self.vnet(task, general)

    def second_step(self, images: Tensor, labels: Tensor, classes: Sequence[int],
                    gradients: Callable[..., Gradients]) -> tuple[Gradients, dict[str, Tensor]] | None:
        """Return the gradients of the loss on one class, drawn, after an inner step on the batch's others."""
        order = torch.randperm(len(set(classes)))
        if len(order) < 2:
            return None
        drawn = sorted(set(classes))[int(order[0])]
        query, support = ([i for i, c in enumerate(classes) if (c == drawn) == wanted] for wanted in (True, False))
        lam = torch.distributions.Beta(0.5, 0.5).sample((len(query),)).tolist()
        mixed = list(zip(query, [support[j] for j in torch.randint(len(support), (len(query),))], lam, strict=True))
        embedded = self.clip.vision.embed(images)
        with twice_differentiable():
            text, f = functional_call(Towers(self), self.adapted(rows(embedded, support), rows(labels, support)),
                                      (embedded,))
            image = F.normalize(torch.stack([w * f[i] + (1 - w) * f[j] for i, j, w in mixed]), dim=-1)
            logits = self.clip.logit_scale * image @ text.T
            each = [F.cross_entropy(z, labels[i]) * w + F.cross_entropy(z, labels[j]) * (1 - w)
                    for z, (i, j, w) in zip(logits, mixed, strict=True)]
            loss = self.method_cfg.LR_RATIO * torch.stack(each).mean()
            self.forget_text_features()  # a wrapper may hold on to the graph by them
            return gradients(loss), {"loss": loss}

    def adapted(self, embedded: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the prompts {name: tensor} after a step with the modulated gradient, which can be differentiated."""
        prompts = list(self.prompts.parameters())
        losses = self.losses(*self.towers(embedded), embedded, labels)
        step = self.vnet(*(torch.autograd.grad(loss, prompts, create_graph=True, allow_unused=True) for loss in losses))
        return {f"method.prompts.{name}": value - self.method_cfg.ADAPT_LR * g
                for (name, value), g in zip(self.prompts.named_parameters(), step, strict=True) if g is not None}

    def extra_state(self) -> dict[str, Tensor]:
        """Return VNet and its optimizer's state."""
        return with_optimizer(self.vnet, self.second_optimizer)

    def load_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take back VNet and its optimizer's state."""
        take_back(self.vnet, self.second_optimizer, state)


def rows(x: Tensor, places: Sequence[int]) -> Tensor:
    """Return rows of ``x``, without an index that had to be sent to the device."""
    return torch.stack([x[i] for i in places])
