"""A step's forward, backward and gradient rule as one CUDA graph, captured once, replayed for each batch (TRAIN.GRAPH).

A replay starts all kernels by one call, where PyTorch's host side takes longer for each than a GPU for most of them.
The optimizer's step stays outside: it is a few kernels, PyTorch's SGD reads even a learning rate in a tensor on the
host, and any optimizer and schedule, a host repository's too, work as they are. The same kernels run on the same
numbers, so the bits are those of a step that is not captured. This has been run on the tests' pretended device, not yet
on a GPU; so each run replays a new graph on another batch first, and goes on without it where the gradients are not
those of the plain step.
"""
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import distributed

log = logging.getLogger("promptreg")
WARM_UP = 3  # computations before the capture, on a stream of their own, as PyTorch asks for: they choose kernels
MOST_OFF = 1e-2  # of a gradient's largest entry; kernels that add up in another order each time stay far below
SEAMS = ("loss", "compute_gradients", "logits", "logits_of", "text_features", "image_features", "current_text_features",
         "encode_text", "encode_image", "cross_entropy")


class Computed(NamedTuple):
    """What a batch gives before the optimizer comes."""
    gradients: Sequence[Tensor | None]
    figures: dict[str, Tensor]
    finite: Tensor | bool


def why_not(trainer: Any) -> str:
    """Return why a trainer's step cannot be captured, or "" where it can."""
    cfg, method = trainer.cfg, trainer.model
    if not cfg.TRAIN.get("GRAPH", True):
        return "TRAIN.GRAPH is False"
    if trainer.device.type != "cuda":
        return f"it runs on the {trainer.device.type}"
    if cfg.TRAIN.get("COMPILE"):
        return "TRAIN.COMPILE is True"
    if distributed.world_size() > 1:
        return "its gradients are averaged over several processes"
    return next((f"{cls.__name__} does not declare CAPTURABLE = True beside its {seam}"
                 for cls in type(method).__mro__ for seam in SEAMS
                 if seam in vars(cls) and not vars(cls).get("CAPTURABLE")), "")


class StepGraph:
    """``compute(images, labels)``, captured for batches like the given one."""

    def __init__(self, compute: Callable[[Tensor, Tensor], Computed], images: Tensor, labels: Tensor) -> None:
        self.inputs = images.clone(), labels.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                compute(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.found = compute(*self.inputs)

    def fits(self, *batch: Tensor) -> bool:
        """Return whether a batch has the shapes and dtypes of the captured one."""
        return all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(batch, self.inputs, strict=True))

    def __call__(self, *batch: Tensor) -> Computed:
        """Return what ``compute`` would. The gradients are overwritten by the next call; figures are copies."""
        for static, value in zip(self.inputs, batch, strict=True):
            static.copy_(value, non_blocking=True)
        self.graph.replay()
        finite = self.found.finite
        return Computed(self.found.gradients, {name: figure.clone() for name, figure in self.found.figures.items()},
                        finite.clone() if isinstance(finite, Tensor) else finite)


class Computation:
    """Computes batches: by a graph, once there is one, and where a batch fits it; else as it is.

    Args:
        compute: (images, labels) -> ``Computed``.
        reason: why not by a graph; "" where it may be.
    """

    def __init__(self, compute: Callable[[Tensor, Tensor], Computed], reason: str) -> None:
        self.compute, self.reason = compute, reason
        self.graph: StepGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Computed:
        if self.graph is None and not self.reason:
            self.capture(images, labels)
        if self.graph is not None and self.graph.fits(images, labels):
            return self.graph(images, labels)
        return self.compute(images, labels)

    def capture(self, images: Tensor, labels: Tensor) -> None:
        """Capture and try; where that fails, as for a loss that reads a number off the device, go on without.

        The log says why. What is tried is no batch of the set, so that a graph that holds on to the first is found out.
        """
        try:
            graph = StepGraph(self.compute, images, labels)
            off = difference(graph, self.compute, images / 2, labels.roll(1))
            self.reason = "" if off <= MOST_OFF else f"a replay's gradients are off by {off:.1e} of their largest entry"
        except RuntimeError as error:
            self.reason = str(error).partition("\n")[0]
        if self.reason:
            log.warning("TRAIN.GRAPH: the step cannot be captured and runs without (%s)", self.reason)
        else:
            self.graph = graph


def difference(graph: StepGraph, compute: Callable[[Tensor, Tensor], Computed], *batch: Tensor) -> float:
    """Return by how much a replay's gradients differ from computed ones, as a share of each one's largest entry."""
    pairs = zip(graph(*batch).gradients, compute(*batch).gradients, strict=True)
    found = [(replayed.nan_to_num(), plain.nan_to_num()) for replayed, plain in pairs
             if replayed is not None and plain is not None]
    off = [(a - b).abs().max() / b.abs().max().clamp_min(1e-30) for a, b in found]
    return float(torch.stack(off).max()) if off else 0.0  # the host waits once
