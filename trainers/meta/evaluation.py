"""Adaptation to tasks of held-out domains: how the meta-learned start and regulator compare with plain ones."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..errors import InputError
from ..regulate.regulator import Regulator
from ..training import distributed
from ..training.loss_scale import all_finite
from .bilevel import adapt
from .episodes import Episodes


def compare(loop: Any, tasks: Episodes, ways: Mapping[str, tuple[dict[str, Tensor], Regulator | None]],
            rates: Mapping[str, Tensor], count: int) -> dict[str, dict[str, float]]:
    """Adapt to ``count`` episodes in each of several ways.

    Args:
        loop: a ``BilevelLoop``, for its inputs, losses and inner steps.
        tasks: ``Episodes``.
        ways: {name: (start, regulator or None)}.
        rates: {parameter name: step size}.

    Returns:
        {name: {"loss": mean query loss, "accuracy": percent of the queries, "before": mean query loss unadapted}}.
    """
    sums = {way: torch.zeros(3) for way in ways}
    for i in tqdm(range(distributed.rank(), count, distributed.world_size()), "held-out episodes", unit="episode",
                  mininterval=2, disable=distributed.rank() > 0):
        episode = tasks.draw(i)
        support = loop.loss(episode.support, loop.inputs(episode.support.rows))
        logits, labels = loop.learner.on(episode.query.names), episode.query.labels.to(loop.device)
        inputs = loop.inputs(episode.query.rows).to(loop.device)
        for way, (start, regulator) in ways.items():
            theta = adapt(support, start, rates, regulator, loop.options.INNER_STEPS, order=0)
            with torch.no_grad():
                before, after = logits(start, inputs), logits(theta, inputs)
                sums[way] += torch.stack([F.cross_entropy(after, labels),
                                          100 * (after.argmax(1) == labels).float().mean(),
                                          F.cross_entropy(before, labels)]).cpu()
    share = distributed.world_size() / count
    means = distributed.mean([total.to(loop.device) * share for total in sums.values()])
    if not all_finite(means):
        raise InputError(f"the losses on held-out episodes are not finite under PREC {loop.options.PREC}: take fp32, "
                         "or lower TRAINER.GRAM.INNER_LR")
    return {way: dict(zip(("loss", "accuracy", "before"), map(float, mean), strict=True))
            for way, mean in zip(ways, means, strict=True)}


def describe(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the query losses on held-out domains in the reports of one or several seeds."""
    title = f"{len(reports)} seed{'s' * (len(reports) > 1)}, {reports[0]['episodes']} episodes each"
    lines = [f"Held-out domains, after adaptation ({title}):",
             f"  {'':24} {'query loss':>17} {'accuracy':>15} {'loss before':>17}"]
    for way in [w for w in reports[0] if isinstance(reports[0][w], dict) and "loss" in reports[0][w]]:
        cells = []
        for key, digits in (("loss", 4), ("accuracy", 2), ("before", 4)):
            values = torch.tensor([report[way][key] for report in reports], dtype=torch.float64)
            cells.append(f"{values.mean():.{digits}f}" + (f" ± {values.std():.{digits}f}" if len(values) > 1 else ""))
        lines.append(f"  {way:24} {cells[0]:>17} {cells[1]:>15} {cells[2]:>17}")
    return "\n".join(lines)
