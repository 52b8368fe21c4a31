"""The outer loop of meta-training: batches of episodes, steps of Adam, a state on disk that is resumed to the bit.

An episode's inner run is the base method's whole tuning (``tasks``), or a few differentiable steps (``bilevel``).
"""
import concurrent.futures
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm
from yacs.config import CfgNode

from ..clip.fused import twice_differentiable
from ..config.yaml_text import difference
from ..errors import InputError
from ..regulate.regulator import Regulator
from ..training import checkpoint, distributed, signals
from .bilevel import meta_gradients
from .checkpoint import read_meta, write_meta
from .episodes import Episode, Episodes, Inputs, Part
from .learner import Learner
from .tasks import Parts, Tasks

FILE, STATE = "meta.safetensors", "state.pth"


class BilevelLoop:
    """Learns start, regulator and (as an option) step sizes.

    Args:
        options: the config section GRAM.
        learner: ``Learner``.
        inputs: ``Inputs``.
        folder: of the file and the state.
        seed: of the regulator's draw.
        device: where to compute.

    Attributes:
        plain: {name: prompt}, the method's own start.
        start: {name: prompt}, the one that is learned.
        regulator: ``Regulator``.
        log_rates: {name: logarithm of the inner step size}.
    """

    def __init__(self, options: CfgNode, learner: Learner, inputs: Inputs, folder: str | Path, seed: int,
                 device: torch.device) -> None:
        self.options, self.learner, self.inputs, self.device = options, learner, inputs, device
        self.path, self.state_path = Path(folder) / FILE, Path(folder) / STATE
        self.plain = {name: value.to(device) for name, value in learner.start().items()}
        distributed.broadcast(list(self.plain.values()))
        self.start = {name: value.clone().requires_grad_() for name, value in self.plain.items()}
        shapes = {name: value.shape for name, value in self.start.items()}
        self.regulator = Regulator(shapes, options.RANK, seed, options.GATE, options.FORM).to(device)
        self.log_rates = {name: torch.full((), options.INNER_LR, device=device).log().requires_grad_(options.LEARN_LR)
                          for name in self.start}
        first = [*self.start.values(), *(self.log_rates.values() if options.LEARN_LR else ())]
        groups: dict[str, list[Tensor]] = {"META_LR": first, "REGULATOR_LR": [], "STRETCH_LR": [], "COMMON_LR": []}
        for name, parameter in self.regulator.named_parameters() if options.REGULATE else ():
            groups[_key(name)].append(parameter)
        self.optimizer = torch.optim.Adam([{"params": group, "key": key} for key, group in groups.items()])
        self.learned = [parameter for group in groups.values() for parameter in group]
        self.function = self.learned[len(first):]

    def run(self, tasks: Episodes, about: dict[str, Any]) -> None:
        """Do all outer steps, or those that are left, and leave the file, which says ``about`` of itself."""
        options, about = self.options, json.loads(json.dumps(about))
        done = self.resume(about)
        bar = tqdm(range(done, options.STEPS), "meta-training", options.STEPS, initial=done, unit="step", mininterval=2,
                   disable=distributed.rank() > 0)
        mean = None
        with concurrent.futures.ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(self.load, tasks, done)
            for step in bar:
                episodes, waiting = waiting.result(), ahead.submit(self.load, tasks, step + 1)
                self.set_rates(step)
                losses = self.outer_step(episodes)
                mean = losses if mean is None else 0.98 * mean + 0.02 * losses
                bar.set_postfix(query=f"{mean[0]:.3f}", other=f"{mean[1]:.3f}", refresh=False)
                asked = distributed.rank() == 0 and signals.signal_pending()
                if (step + 1) % options.SAVE_EVERY == 0 or step + 1 == options.STEPS or asked:
                    self.save(step + 1, about)
                    signals.allow_signals(f"saved after outer step {step + 1} of {options.STEPS}")
                signals.defer_signals()
            waiting.cancel()
        signals.allow_signals("all outer steps are saved")
        if distributed.rank() == 0:
            rates = {name: float(value.detach()) for name, value in self.rates().items()}
            write_meta(self.path, self.start, self.regulator, {**about, "rates": rates})
        distributed.barrier()

    @torch.no_grad()
    def take(self, path: str | Path) -> None:
        """Take start and function of a meta-trained file.

        Raises:
            InputError: there is none, or it was made for other prompts.
        """
        start, self.regulator, _ = read_meta(path)
        self.regulator.to(self.device)
        if {n: v.shape for n, v in start.items()} != {n: v.shape for n, v in self.start.items()}:
            raise InputError(f"{path} was made for other prompts than TRAINER.GRAM.PROMPTS {self.options.PROMPTS} has "
                             "under this config: give its own")
        for name, value in self.start.items():
            value.copy_(start[name])

    def set_rates(self, step: int) -> None:
        """Set the optimizer's rates for an outer step."""
        share = 1 - step / self.options.STEPS if self.options.SCHEDULE == "linear" else 1  # few episodes are noisy
        for group in self.optimizer.param_groups:
            group["lr"] = self.options[group["key"]] * share

    def load(self, tasks: Episodes, step: int) -> list[Parts]:
        """Return this process's episodes of an outer step, with what the learner sees of them."""
        count, world = self.options.EPISODES, distributed.world_size()
        return [self.parts(tasks.draw(step * count + e)) for e in range(distributed.rank(), count, world)]

    def parts(self, episode: Episode) -> Parts:
        """Return support, queries and further queries of an episode, with what the learner sees of them."""
        support, query, other = episode.support, episode.query, episode.other
        return ((support, self.inputs(support.rows)), (query, self.inputs(query.rows)),
                None if other is None else (other, self.inputs(other.rows)))

    def loss(self, part: Part, inputs: Tensor) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """Return the function {name: prompt} -> cross-entropy on a part of an episode."""
        logits, inputs, labels = self.learner.on(part.names), inputs.to(self.device), part.labels.to(self.device)
        return lambda prompts: F.cross_entropy(logits(prompts, inputs), labels)

    def short(self, episodes: Sequence[Parts]) -> tuple[list[Tensor], Tensor]:
        """Return the outer gradients of a few differentiable steps, and [query loss, other's], summed over episodes."""
        options, total = self.options, [torch.zeros_like(p) for p in self.learned]
        losses = torch.zeros(2, device=self.device)
        with twice_differentiable():
            for support, query, other in episodes:
                queries = [(1.0, self.loss(*query))] + ([(options.OTHER_WEIGHT, self.loss(*other))] if other else [])
                found, values = meta_gradients(self.loss(*support), queries, self.start, self.rates(),
                                               self.regulator if options.REGULATE else None, options.INNER_STEPS,
                                               1 if options.FIRST_ORDER else 2, self.learned)
                total = [a + b for a, b in zip(total, found, strict=True)]
                losses += torch.stack([values[0], values[-1]])
        return total, losses

    def whole(self, episodes: Sequence[Parts]) -> tuple[list[Tensor], Tensor]:
        """Return the same of whole tunings, side by side."""
        if not episodes:  # more processes than episodes
            return [torch.zeros_like(p) for p in self.learned], torch.zeros(2, device=self.device)
        return Tasks(self.learner, episodes, self.options, self.device).meta_gradients(
            self.start, self.regulator if self.options.REGULATE else None, self.function)

    def outer_step(self, episodes: Sequence[Parts]) -> Tensor:
        """Do one step of Adam on the mean outer loss of all processes' episodes.

        Returns:
            [query loss, other's], means.
        """
        options = self.options
        total, losses = self.whole(episodes) if options.HORIZON else self.short(episodes)
        share = distributed.world_size() / options.EPISODES  # the processes may have different numbers of episodes
        *gradients, losses = distributed.mean([g * share for g in total] + [losses * share])
        norm = torch.stack([g.norm() for g in gradients]).norm()
        if not torch.isfinite(norm):
            raise InputError("the outer gradient is not finite: lower TRAINER.GRAM.TUNE_LR or META_LR "
                             "(of the short loop: INNER_LR or INNER_STEPS)")
        for parameter, gradient in zip(self.learned, gradients, strict=True):
            parameter.grad = gradient * (options.CLIP_NORM / norm.clamp_min(options.CLIP_NORM))
        self.optimizer.step()
        return losses.detach().cpu()

    def rates(self) -> dict[str, Tensor]:
        """Return {name: inner step size}."""
        return {name: value.exp() for name, value in self.log_rates.items()}

    def save(self, step: int, about: Mapping[str, Any]) -> None:
        """Write all that an exact resumption needs."""
        if distributed.rank() == 0:
            checkpoint.write_checkpoint({"step": step, "start": {n: v.detach().cpu() for n, v in self.start.items()},
                                         "plain": {n: v.cpu() for n, v in self.plain.items()},
                                         "regulator": {n: v.cpu() for n, v in self.regulator.state_dict().items()},
                                         "log_rates": {n: v.detach().cpu() for n, v in self.log_rates.items()},
                                         "optimizer": self.optimizer.state_dict(), "about": about}, self.state_path)

    @torch.no_grad()
    def resume(self, about: dict[str, Any]) -> int:
        """Take the state of an earlier run of the same settings; returns its step, 0 where there is none."""
        if not self.state_path.exists():
            return 0
        state = checkpoint.read_checkpoint(self.state_path)
        if state.get("about") != about:
            raise InputError(f"{self.state_path} is of a run with another config "
                             f"({'; '.join(difference(about, state.get('about', {})))}): delete it, or choose another "
                             "--output-dir")
        for name in self.start:
            self.start[name].copy_(state["start"][name])
            self.plain[name].copy_(state["plain"][name])
            self.log_rates[name].copy_(state["log_rates"][name])
        self.regulator.load_state_dict(state["regulator"])
        self.optimizer.load_state_dict(state["optimizer"])
        print(f"Resumed from {self.state_path} (step {state['step']})")
        return state["step"]


def _key(name: str) -> str:
    """Return the config key of the rate at which a parameter of the regulator is learned."""
    return {"common": "COMMON_LR", "stretch": "STRETCH_LR", "log_scale": "STRETCH_LR"}.get(
        name.rpartition(".")[2], "REGULATOR_LR")
