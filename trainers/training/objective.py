"""Objective: what the trainer asks of a method beside its features: loss, gradients, optimizer, what a step leaves."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yacs.config import CfgNode

from dassl.metrics import compute_accuracy

Gradients = Sequence[Tensor | None]


class Objective(nn.Module):
    """A method's training, of which each part may be another than this: plain cross-entropy and its gradients.

    Attributes:
        prompts: what is learned.
        second_optimizer: of what ``second_step`` learns besides the prompts.
        CAPTURABLE: whether all steps of a run do the same operations, whatever Python's numbers are: then a CUDA graph
            may hold them. To be declared by each class that has a loss, features or gradient rule of its own.
    """

    prompts: nn.Module
    second_optimizer: torch.optim.Optimizer | None = None
    CAPTURABLE = True
    WRAPPER = ""  # of a mix-in that ``composition.wrapper`` enters: its name

    def logits(self, images: Tensor) -> Tensor:
        """Return logits [B, C] of ``images`` [B, 3, S, S]: ``PromptMethod`` has them."""
        raise NotImplementedError(f"{type(self).__name__} is no method: derive it from base.PromptMethod")

    def prepare_training(self) -> None:
        """Compute what training alone needs: the frozen features that the loss compares with, another start."""

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """Return (loss, {name: figure to report}) of one batch; cross-entropy unless a method says otherwise."""
        logits = self.logits(images)
        loss = self.cross_entropy(logits, labels)
        return loss, {"loss": loss, "acc": accuracy(logits, labels)}

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of logits [B, C], for ``loss``: a wrapper may add a classifier of its own."""
        return F.cross_entropy(logits, labels)

    def compute_gradients(self, loss: Any, gradients: Callable[..., Gradients]) -> Gradients:
        """Return the gradients for the optimizer, one per parameter of ``self.prompts`` (None where it has no part).

        Args:
            loss: what ``loss`` has returned: a scalar, or several.
            gradients: ``gradients(scalar, retain_graph=False)`` returns a scalar's plain gradients, averaged over
                processes and unscaled under amp.
        """
        return gradients(loss)

    def optimizer_groups(self, optim: CfgNode) -> Any:
        """Return what Dassl's ``build_optimizer`` takes: a module, or parameter groups, given the config's OPTIM."""
        return self.prompts

    def second_step(self, images: Tensor, labels: Tensor, classes: Sequence[int], gradients: Callable[..., Gradients],
                    ) -> tuple[Gradients, dict[str, Tensor]] | None:
        """Return (gradients, figures) for another step on the same batch, behind the first; None for a batch without.

        Args:
            images: as of ``loss``.
            labels: as of ``loss``.
            classes: the labels on the host.
            gradients: as of ``compute_gradients``; of the prompts and then of what ``second_optimizer`` holds.
        """
        return None

    def end_epoch(self, epoch: int, epochs: int) -> None:
        """Do something with the prompts after ``epoch`` (from 0) of ``epochs``, before they are saved."""

    def extra_state(self) -> dict[str, Tensor]:
        """Return what a resumed run needs besides the prompts, {name: tensor}: an aggregate, say."""
        return {}

    def load_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take back what ``extra_state`` gave."""

    @classmethod
    def method_identity(cls, cfg: CfgNode) -> Mapping[str, str | None]:
        """Return what the method adds to its runs' identity: {part of ``identity.PARTS``: hash}."""
        return {}

    @classmethod
    def check_composition(cls) -> None:
        """Raise InputError where a wrapper in ``cls`` does not fit the method below; a wrapper calls ``super()``."""


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the percentage of right answers, a scalar tensor."""
    return compute_accuracy(logits, labels)[0].squeeze()
