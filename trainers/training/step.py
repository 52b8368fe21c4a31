"""One training step: gradients of a batch's losses, averaged, unscaled and checked, and the optimizer's use of them."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import distributed
from .loss_scale import LossScale, all_finite


def loss_and_figures(returned: Any, method: str) -> tuple[Any, Mapping[str, Tensor]]:
    """Return what a method's ``loss`` has returned. Raises TypeError unless it is (loss, {name: scalar tensor})."""
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping)
            and all(isinstance(figure, Tensor) and figure.numel() == 1 for figure in returned[1].values())):
        raise TypeError(f"{method}.loss must return (loss, {{name: tensor to report}}), each tensor a scalar")
    return returned


def check_gradients(returned: Any, parameters: Sequence[Tensor]) -> None:
    """Look at what a method's ``compute_gradients`` has returned, before the optimizer does.

    Raises:
        TypeError: it is no list or tuple of tensors and None.
        ValueError: it is not one for each parameter, in its shape and dtype.
    """
    if not isinstance(returned, list | tuple) or not all(g is None or isinstance(g, Tensor) for g in returned):
        wrong = [type(g).__name__ for g in returned if g is not None] if isinstance(returned, list | tuple) else []
        raise TypeError("compute_gradients must return a list with one tensor, or None, a parameter, got "
                        f"{type(returned).__name__}{f' of {wrong[0]}' if wrong else ''}")
    if len(returned) != len(parameters):
        raise ValueError(f"compute_gradients returned {len(returned)} gradients for {len(parameters)} "
                         "parameters: return one for each, or None")
    for i, (gradient, parameter) in enumerate(zip(returned, parameters, strict=True)):
        if gradient is not None and (gradient.shape, gradient.dtype) != (parameter.shape, parameter.dtype):
            raise ValueError(f"compute_gradients: gradient {i} must be {list(parameter.shape)} in {parameter.dtype}, "
                             f"as its parameter is, got {list(gradient.shape)} in {gradient.dtype}")


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
            ValueError: a loss for each image, or one that nothing could be learned from.
        """
        if isinstance(loss, Tensor) and (loss.numel() != 1 or not loss.requires_grad):
            raise ValueError(f"gradients takes one scalar tensor, got one of shape {list(loss.shape)}: take its mean"
                             if loss.numel() != 1 else "this loss depends on no prompt: it is detached, or computed "
                             "under torch.no_grad")
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
        check_gradients(gradients, self.parameters)
        self.finite = self.finite & all_finite(gradients)
        if self.scale:
            exhausted = self.scale.exhausted
            if not self.scale.accept(bool(self.finite)):
                self.finite = not exhausted
                return
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
