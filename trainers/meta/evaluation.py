"""The fair report: tasks of held-out domains, tuned as the base method is, with the controls that a gain must pass.

Most of what a function seems to give can be a shorter or longer step, and most of what a start seems to give can be its
words. So the base method is also tuned at four times, a quarter and a tenth of its rate, and CoOp from the words as
well as from random vectors. All arms see the same tasks, and are compared task by task.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import InputError
from ..regulate.regulator import Regulator
from ..training import distributed
from .episodes import Episodes
from .tasks import Tasks

Arm = tuple[dict[str, Tensor], float, Regulator | None]  # start, factor of the rate, regulator
RATES = {"base method": 1.0, "base method, LR x4": 4.0, "base method, LR/4": 0.25, "base method, LR/10": 0.1}
FIGURES = ("base", "new", "H")


def arms(kind: str, plain: dict[str, Tensor], start: dict[str, Tensor], regulator: Regulator | None) -> dict[str, Arm]:
    """Return the arms by name.

    Args:
        kind: whose prompts.
        plain: the method's own start, {name: tensor}: from words, where the config names some.
        start: the meta-learned one.
        regulator: or None, where there is none to show.
    """
    found: dict[str, Arm] = {name: (plain, factor, None) for name, factor in RATES.items()}
    if kind == "coop":  # whose published runs start at random
        noise = torch.Generator().manual_seed(0)
        drawn = {n: 0.02 * torch.randn(v.shape, generator=noise).to(v.device) for n, v in plain.items()}
        found["base method, random start"] = (drawn, 1.0, None)
    found["start alone"] = (start, 1.0, None)
    if regulator is not None:
        found["regulator alone"], found["both"] = (plain, 1.0, regulator), (start, 1.0, regulator)
    return found


def compare(loop: Any, tasks: Episodes, ways: Mapping[str, Arm], count: int) -> dict[str, Any]:
    """Tune on ``count`` tasks in each of several arms.

    Args:
        loop: a ``BilevelLoop``, for its learner and inputs.
        tasks: ``Episodes`` of base and new classes.
        ways: {name: arm}.
        count: of tasks.

    Returns:
        ``summarize``'s report.
    """
    found, size, world = torch.zeros(count, len(ways), 2), loop.options.EPISODES, distributed.world_size()
    domains = [tasks.draw(i).domain for i in range(count)]
    blocks = [range(i, min(i + size, count)) for i in range(0, count, size)]
    for block in tqdm(blocks[distributed.rank()::world], "held-out tasks", unit="block", mininterval=2,
                      disable=distributed.rank() > 0):
        together = Tasks(loop.learner, [loop.parts(tasks.draw(i)) for i in block], loop.options, loop.device)
        for a, (start, factor, regulator) in enumerate(ways.values()):
            theta = together.tune(start, regulator, factor).theta
            with torch.no_grad():
                for e, part, logits, labels in together.judge(theta):
                    if not torch.isfinite(logits).all():
                        raise InputError(f"the logits on held-out tasks are not finite under PREC {loop.options.PREC}: "
                                         "take fp32, or lower TRAINER.GRAM.TUNE_LR")
                    found[block[e], a, part] = 100 * (logits.argmax(1) == labels).float().mean()
    found, = distributed.mean([found.to(loop.device) * world])
    return summarize(list(ways), found.cpu().double().numpy(), domains)


def summarize(names: Sequence[str], found: np.ndarray, domains: Sequence[int]) -> dict[str, Any]:
    """Return the report on accuracies [tasks, arms, (base, new)] of tasks of ``domains``.

    Returns:
        {"tasks", "task_domains", "arms": {name: {"base", "new", "H": means}}, "paired": {name: {figure: [difference
        from the base method, its standard error over tasks, over domains]}}, "best": the base method's best rate by H,
        "against_best": as "paired", of H alone, "each": the accuracies}.
    """
    harmonic = 2 * found[..., 0] * found[..., 1] / np.maximum(found.sum(-1), 1e-9)
    figures = {"base": found[..., 0], "new": found[..., 1], "H": harmonic}
    means = {name: {f: float(values[:, a].mean()) for f, values in figures.items()} for a, name in enumerate(names)}
    best = max((name for name in names if name in RATES), key=lambda name: means[name]["H"])
    paired = {name: {f: _difference(values[:, a] - values[:, 0], domains) for f, values in figures.items()}
              for a, name in enumerate(names)}
    against = {name: _difference(harmonic[:, a] - harmonic[:, names.index(best)], domains)
               for a, name in enumerate(names)}
    return {"tasks": len(found), "task_domains": list(domains), "arms": means, "paired": paired, "best": best,
            "against_best": against, "each": {name: found[:, a].tolist() for a, name in enumerate(names)}}


def _difference(values: np.ndarray, domains: Sequence[int]) -> list[float]:
    """Return [mean, standard error over tasks, standard error over the domains' means]."""
    by_domain = np.array([values[np.array(domains) == d].mean() for d in sorted(set(domains))])
    errors = [float(v.std(ddof=1) / len(v) ** 0.5) if len(v) > 1 else 0.0 for v in (values, by_domain)]
    return [float(values.mean()), *errors]


def describe(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the arms on held-out domains in the reports of one or several seeds."""
    first = reports[0]
    if any("arms" not in report for report in reports):
        raise InputError("a meta-training from before the fair report is among these: run it again")
    lines = [f"Held-out domains, {first['tasks']} tasks of {len(set(first['task_domains']))} domains, "
             f"{len(reports)} meta-seed{'s' * (len(reports) > 1)}; paired differences from the base method "
             "(± standard error over tasks; over domains):",
             f"  {'':26} {'base':>6} {'new':>6} {'H':>6}   {'difference of H':>24}   against its best rate"]
    names = [name for name in first["arms"] if all(name in report["arms"] for report in reports)]
    for name in names:
        cells = [f"{np.mean([report['arms'][name][f] for report in reports]):6.2f}" for f in FIGURES]
        pairs = [np.mean([report["paired"][name]["H"] for report in reports], 0),
                 np.mean([report["against_best"][name] for report in reports], 0)]
        told = [f"{mean:+.2f} ± {tasks:.2f}; {domains:.2f}" for mean, tasks, domains in pairs]
        lines.append(f"  {name:26} {' '.join(cells)}   {told[0]:>24}   {told[1]}")
    return "\n".join(lines)
