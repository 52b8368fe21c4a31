"""Meta-gradients of a whole tuning: the base method's own run to its end, and what its end owes to start and function.

Of E tasks side by side: every tensor has them as its first axis. With momentum m, rates lr_t and prompts theta_T at the
end, v the gradient of the outer loss there, the first-order gradients are (ours; Hessians and weight decay left out):

    start:     v
    function:  that of  - sum over t of c_t <v, R(g_t)>,  c_t = sum over s >= t of lr_s m^(s - t)

No graph is kept while tuning, so that its length has no limit.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from yacs.config import CfgNode

from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer

from ..regulate.regulator import Regulator, regulates

Tensors = Mapping[str, Tensor]


@dataclass
class Tuned:
    """A tuning's end and what led there.

    Attributes:
        theta: {name: tensor [E, …]}, the tuned prompts.
        rates: lr_t of each step.
        points, gradients: of each step, {name: tensor [E, …]} of what is regulated; empty where not asked for.
    """

    theta: dict[str, Tensor]
    rates: list[float] = field(default_factory=list)
    points: list[dict[str, Tensor]] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)


def optimization(rate: float, epochs: int) -> CfgNode:
    """Return the OPTIM node of the methods' published few-shot runs: SGD with momentum, cosine, a first slow epoch."""
    cfg = get_cfg_default().OPTIM
    cfg.NAME, cfg.LR, cfg.MAX_EPOCH = "sgd", rate, epochs
    cfg.LR_SCHEDULER, cfg.WARMUP_EPOCH, cfg.WARMUP_TYPE, cfg.WARMUP_CONS_LR = "cosine", 1, "constant", 1e-5
    return cfg


def regulate(regulator: Regulator, prompts: Tensors, gradients: Tensors) -> dict[str, Tensor]:
    """Return the directions {name: [E, n, d]} of E tasks."""
    count = len(next(iter(gradients.values())))
    if regulator.linear:  # tokens are tokens, whatever task they are of
        flat = regulator({}, {name: value.flatten(0, 1) for name, value in gradients.items()})
        return {name: value.unflatten(0, (count, -1)) for name, value in flat.items() if value is not None}
    each = [regulator({n: v[e] for n, v in prompts.items()}, {n: v[e] for n, v in gradients.items()})
            for e in range(count)]
    return {name: torch.stack([one[name] for one in each]) for name in gradients}


def tune(loss: Callable[[Tensors, int], Tensor], start: Tensors, optim: CfgNode, steps: int, per_epoch: int,
         regulator: Regulator | None = None, keep: bool = False) -> Tuned:
    """Tune as the few-shot trainers do: the method's gradient, regulated, to the optimizer; its rate falls by epochs.

    Args:
        loss: function ({name: [E, …]}, step) -> the sum of the E tasks' losses, which have no part in each other's.
        start: {name: [E, …]}.
        optim: an OPTIM node.
        steps: how many.
        per_epoch: steps of an epoch, after which the schedule goes on.
        regulator: frozen while tuning; None for plain gradients.
        keep: points and gradients of each step.
    """
    theta = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    optimizer = build_optimizer(list(theta.values()), optim)
    schedule = build_lr_scheduler(optimizer, optim)
    regulated, done = [name for name in theta if regulates(name)], Tuned(theta)
    for step in range(steps):
        found = torch.autograd.grad(loss(theta, step), list(theta.values()))
        gradients = dict(zip(theta, found, strict=True))
        own = {name: gradients[name] for name in regulated}
        if keep:
            done.points.append({name: theta[name].detach().clone() for name in regulated})
            done.gradients.append(own)
        done.rates.append(optimizer.param_groups[0]["lr"])
        if regulator is not None:
            with torch.no_grad():
                gradients.update(regulate(regulator, theta, own))
        for name, value in theta.items():
            value.grad = gradients[name]
        optimizer.step()
        if (step + 1) % per_epoch == 0 and step + 1 < steps:
            schedule.step()
    done.theta = {name: value.detach() for name, value in theta.items()}
    return done


def weights(rates: Sequence[float], momentum: float) -> list[float]:
    """Return c_t: how far the prompts at the end move for each step's direction."""
    found, later = [], 0.0
    for rate in reversed(rates):
        later = rate + momentum * later
        found.append(later)
    return found[::-1]


def first_order(tuned: Tuned, slope: Tensors, momentum: float, regulator: Regulator,
                learned: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of the outer loss by the regulator's parameters ``learned``, summed over the tasks.

    Args:
        tuned: of ``tune``, with points and gradients.
        slope: v, {name: [E, n, d]}.
        momentum: m.
    """
    c = weights(tuned.rates, momentum)
    points, gradients = tuned.points, tuned.gradients
    if regulator.linear:  # the sum goes through R as one
        gradients = [{name: sum(w * g[name] for w, g in zip(c, gradients, strict=True)) for name in gradients[0]}]
        points, c = points[-1:], [1.0]
    total = torch.zeros((), device=next(iter(slope.values())).device)
    for weight, point, gradient in zip(c, points, gradients, strict=True):
        turned = regulate(regulator, point, gradient)
        total = total - weight * sum((slope[name] * direction).sum() for name, direction in turned.items())
    found = torch.autograd.grad(total, list(learned), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(learned, found, strict=True)]
