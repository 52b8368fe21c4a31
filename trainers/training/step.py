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

    def __init__(self, parameters: Sequence[Tensor], optimizer: "torch.optim.Optimizer | Together",
                 scale: LossScale | None = None, images: int = 1) -> None:
        self.parameters, self.optimizer, self.scale, self.images = parameters, optimizer, scale, images
        self.finite: bool | Tensor = True
        self.checked: set[int] = set()  # ids of the gradients that have been looked at

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
        found = torch.autograd.grad(loss * self.scale.factor if self.scale else loss, self.parameters,
                                    retain_graph=retain_graph, allow_unused=True)
        averaged = distributed.mean(self.unscaled(found), self.images)
        self.check(averaged)
        return averaged

    def unscaled(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return gradients of the scaled loss, divided by the scale."""
        there = [g for g in gradients if g is not None]
        if not self.scale or not there:
            return list(gradients)
        parts = iter(torch._foreach_div(there, self.scale.factor))
        return [None if g is None else next(parts) for g in gradients]

    def check(self, gradients: Sequence[Tensor | None]) -> None:
        """Take into ``finite`` whether all gradients are, those alone that have not been looked at."""
        new = [g for g in gradients if g is not None and id(g) not in self.checked]
        if new:
            self.checked |= {id(g) for g in new}
            self.finite = self.finite & all_finite(new)

    def use(self, gradients: Sequence[Tensor | None]) -> None:
        """Let the optimizer use ``gradients``, one per parameter; under amp a step that overflowed is left out."""
        check_gradients(gradients, self.parameters)
        self.check(gradients)
        before = None
        if self.scale:
            exhausted = self.scale.exhausted
            finite = self.scale.accept(self.finite)
            self.finite = finite | ~exhausted
            if self.parameters[0].device.type == "cpu" or not self.optimizer.state:  # no state yet that could be kept
                if not finite:
                    return
            else:
                before = Kept(self.parameters, self.optimizer)
                gradients = zeroed(gradients, ~finite)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        if before is not None:
            before.put_back(~finite)


class Together:
    """Several optimizers as one."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """All groups."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """All parameters' states."""
        return {parameter: state for optimizer in self.optimizers for parameter, state in optimizer.state.items()}

    def step(self) -> None:
        """Let each make its step."""
        for optimizer in self.optimizers:
            optimizer.step()


def second_step(trainer: Any, images: Tensor, labels: Tensor, classes: Sequence[int]) -> dict[str, Tensor] | None:
    """Make the second step on a batch, of methods that have one.

    Args:
        trainer: a ``PromptTrainer`` that has made the first; ``finite`` there is then of both.
        images, labels: the batch, on the device.
        classes: the labels on the host.

    Returns:
        The figures to report; None where there was no such step.
    """
    if trainer.device.type == "cpu" and not trainer.finite:  # what would follow has no numbers; elsewhere it may
        return None
    method, optimizers = trainer.model, [trainer.optim]
    if method.second_optimizer is not None:
        optimizers.append(method.second_optimizer)
    both = Together(*optimizers)
    parameters = [*trainer.trainable, *(p for optimizer in optimizers[1:] for group in optimizer.param_groups
                                        for p in group["params"])]
    step = Step(parameters, both, trainer.state.loss_scale, trainer.images)
    found = method.second_step(images, labels, classes, step.gradients)
    if found is None:
        return None
    step.use(found[0])
    trainer.finite = trainer.finite & step.finite
    return {name: figure.detach() for name, figure in found[1].items()}


def zeroed(gradients: Sequence[Tensor | None], where: Tensor) -> list[Tensor | None]:
    """Return zeros in place of all gradients where the boolean scalar ``where`` is true."""
    there = [g for g in gradients if g is not None]
    flat = torch.cat([g.flatten() for g in there]).masked_fill_(where, 0)
    parts = iter(flat.split([g.numel() for g in there]))
    return [None if g is None else next(parts).view_as(g) for g in gradients]


class Kept:
    """Copies of the prompts and of the optimizer's state, all on the device, put back where a step overflowed.

    The host need not know whether it did: it would have to wait for the device at each step.
    """

    def __init__(self, parameters: Sequence[Tensor], optimizer: "torch.optim.Optimizer | Together") -> None:
        for group in optimizer.param_groups:
            if "capturable" in group:  # Adam's: the count of steps is on the device, then, and put back as well
                group["capturable"] = True
        self.tensors = [p.detach() for p in parameters]
        for parameter, state in optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    state[name] = value.to(parameter.device)  # a count that an earlier step or a checkpoint left here
                    self.tensors.append(state[name])
        self.copies = torch._foreach_mul(self.tensors, 1)

    @torch.no_grad()
    def put_back(self, where: Tensor) -> None:
        """Take back the copies where the boolean scalar ``where`` is true."""
        torch._foreach_mul_(self.tensors, (~where).float())
        torch._foreach_mul_(self.copies, where.float())
        torch._foreach_add_(self.tensors, self.copies)
