"""The bi-level loop: adapt prompts on a task's support, and differentiate what comes out by start and regulator."""
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..regulate.regulator import Regulator

Tensors = Mapping[str, Tensor]
Loss = Callable[[Tensors], Tensor]


def adapt(loss: Loss, start: Tensors, rates: Mapping[str, float | Tensor], regulator: Regulator | None, steps: int,
          order: int = 2) -> dict[str, Tensor]:
    """Return the prompts after ``steps`` steps of theta <- theta - alpha R(grad loss(theta)) from theta = ``start``.

    Args:
        loss: function of {name: tensor}, a scalar: the support's.
        start: {name: tensor}.
        rates: {name: alpha}, numbers or scalar tensors.
        regulator: ``Regulator`` or None for plain gradients.
        steps: how many.
        order: 2 keeps what the result owes to ``start`` through the loss's gradient (its Hessian); 1 takes the
            gradients as given, yet keeps what the result owes to the regulator; 0 keeps nothing, for evaluation.

    Returns:
        {name: tensor}.
    """
    theta = dict(start)
    for _ in range(steps):
        at = theta if order == 2 else {name: value.detach().requires_grad_() for name, value in theta.items()}
        found = torch.autograd.grad(loss(at), list(at.values()), create_graph=order == 2, allow_unused=True)
        gradients = dict(zip(at, found, strict=True))
        with torch.set_grad_enabled(order > 0):
            directions = regulator(theta, gradients) if regulator is not None else gradients
            theta = {name: value if directions[name] is None else value - rates[name] * directions[name]
                     for name, value in theta.items()}
    return theta


def meta_gradients(support_loss: Loss, query_losses: Sequence[tuple[float, Loss]], start: Tensors,
                   rates: Mapping[str, float | Tensor], regulator: Regulator | None, steps: int, order: int,
                   learned: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the gradients of the outer loss, sum of weight * query loss at the adapted prompts, and its parts.

    Args:
        support_loss: function of {name: tensor}.
        query_losses: [(weight, function of {name: tensor})].
        learned: the tensors to differentiate by: of the start, the regulator, the rates.

    Returns:
        ([gradient of each learned tensor], [value of each query loss]).
    """
    theta = adapt(support_loss, start, rates, regulator, steps, order)
    values = [loss(theta) for _, loss in query_losses]
    total = sum(weight * value for (weight, _), value in zip(query_losses, values, strict=True))
    found = torch.autograd.grad(total, learned, allow_unused=True)
    found = [torch.zeros_like(t) if g is None else g for t, g in zip(learned, found, strict=True)]
    return found, [value.detach() for value in values]
