"""One training step: gradients of a batch's losses, averaged, unscaled and checked, and the optimizer's use of them."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import distributed
from .loss_scale import LossScale, all_finite


def loss_and_figures(returned: Any, method: str) -> tuple[Any, Mapping[str, Tensor]]:
    """Return what a method's ``loss`` has returned. Raises TypeError unless it is (loss, {name: tensor})."""
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)
            and all(isinstance(figure, Tensor) for figure in returned[1].values())):
        raise TypeError(f"{method}.loss must return (loss, {{name: tensor to report}})")
    return returned


class Step:
    """One step of a run on one batch.

    Args:
        parameters: the prompts.
        optimizer: theirs.
        scale: of the loss, under PREC amp.
        images: this process's share of the joint batch: its weight among the processes.

    Attributes:
        finite: whether all gradients are finite; of those under amp that are not, and whose step is left out, whether
            a lower scale may still help.
    """

    def __init__(self, parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer, scale: LossScale | None = None,
                 images: int = 1) -> None:
        self.parameters, self.optimizer, self.scale, self.images = parameters, optimizer, scale, images
        self.finite: bool | Tensor = True

    def gradients(self, loss: Tensor, retain_graph: bool = False) -> list[Tensor | None]:
        """Return the gradients of a scalar loss, averaged over the joint batch's images, unscaled under amp.

        Every gradient that a method combines with others comes from here, so all are checked here.

        Raises:
            TypeError: several losses, which autograd would add up.
        """
        if not isinstance(loss, Tensor):
            raise TypeError(f"gradients takes one scalar tensor, got {type(loss).__name__}: where loss returns several "
                            "losses, override compute_gradients and ask for the gradients of each")
        factor = self.scale.scale if self.scale else 1.0
        found = torch.autograd.grad(loss * factor if self.scale else loss, self.parameters, retain_graph=retain_graph,
                                    allow_unused=True)
        unscaled = [g if g is None else g / factor for g in found] if self.scale else list(found)
        averaged = distributed.mean(unscaled, self.images)
        self.finite = self.finite & all_finite(averaged)
        return averaged

    def use(self, gradients: Sequence[Tensor | None]) -> None:
        """Let the optimizer use ``gradients``, one per parameter; under amp a step that overflowed is left out."""
        if len(gradients) != len(self.parameters):
            raise ValueError(f"compute_gradients returned {len(gradients)} gradients for {len(self.parameters)} "
                             "parameters: return one for each, or None")
        self.finite = self.finite & all_finite(gradients)
        if self.scale:
            exhausted = self.scale.exhausted
            if not self.scale.accept(bool(self.finite)):
                self.finite = not exhausted
                return
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
