"""Several processes under torchrun, one GPU (or CPU) each: the same gradients as one process with the joint batch.

The gradients are a few kilobytes and some methods combine several of them non-linearly (ProGrad's projection), so they
are averaged right where they are computed rather than by DistributedDataParallel's hooks in the backward. What is
averaged is weighted by images: the joint batch's mean, also where the processes' shares differ or are empty.
"""
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from yacs.config import CfgNode

from ..errors import InputError, SetupError
from ..utils.untrusted import first_line

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


def launched() -> tuple[int, int]:
    """Return (this process's number, number of processes) as torchrun has set them; (0, 1) without it.

    Raises:
        SetupError: they are set, by something else.
    """
    given = {name: os.environ[name] for name in NAMES if name in os.environ}
    if "WORLD_SIZE" not in given or given["WORLD_SIZE"] == "1" and given.get("RANK", "0") == "0":
        return 0, 1
    try:
        rank, local, size, port = (int(given[name]) for name in NAMES if name != "MASTER_ADDR")
        if 0 <= rank < size and 0 <= local < size and 0 <= port < 65536 and given["MASTER_ADDR"]:
            return rank, size
    except (KeyError, ValueError):
        pass
    told = ", ".join(f"{name} is {given[name]!r}" if name in given else f"{name} is not set" for name in NAMES)
    raise SetupError(f"{told}, but not by torchrun: start with torchrun, or unset them")


def start(device: torch.device | str) -> None:
    """Join the process group that torchrun has prepared, if any; safe to call again.

    Raises:
        SetupError: there are fewer GPUs than processes, or the processes do not reach each other.
    """
    if launched()[1] == 1 or dist.is_initialized():
        return
    on_cuda = torch.device(device).type == "cuda"
    if on_cuda:
        torch.cuda.set_device(_own_gpu())
    try:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        raise SetupError(f"the processes do not reach each other at {os.environ['MASTER_ADDR']}:"
                         f"{os.environ['MASTER_PORT']} ({first_line(error)[:150]}): start all of them with "
                         "torchrun") from error


def _own_gpu() -> int:
    """Return the number of this process's GPU. Raises SetupError in every process where they are too few."""
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    here = os.environ.get("LOCAL_WORLD_SIZE", "")
    wanted = max(local + 1, int(here) if here.isdecimal() else 0)
    if wanted > gpus:
        raise SetupError(f"{wanted} processes were started and this machine shows {gpus} GPU{'s' * (gpus != 1)}: "
                         f"start at most {gpus} (torchrun --nproc-per-node {gpus}), or set USE_CUDA False")
    return local


def rank() -> int:
    """Return this process's number, from 0; process 0 alone writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def joint_batch(cfg: CfgNode) -> int:
    """Return the images of one training step, of all processes together."""
    return cfg.DATALOADER.TRAIN_X.BATCH_SIZE * world_size()


def compare_joint_batch(cfg: CfgNode, there: int | None, path: str | Path) -> None:
    """Raise InputError where the run that wrote ``path`` had another joint batch (None: it does not tell).

    The processes may be others, in number, than that run's; also before the group is joined.
    """
    processes, batch = max(world_size(), launched()[1]), cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    if there is None or there == processes * batch:
        return
    remedy = (f"set DATALOADER.TRAIN_X.BATCH_SIZE {there // processes}" if there % processes == 0 else
              f"start a number of processes that divides {there}")
    raise InputError(f"{path} is of a run with {there} images a step, and {processes} process{'es' * (processes > 1)} "
                     f"with DATALOADER.TRAIN_X.BATCH_SIZE {batch} {'have' if processes > 1 else 'has'} "
                     f"{processes * batch}: {remedy}")


def barrier() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def share_seed() -> None:
    """Let all processes' generators start from one number, which the first has drawn: those of an unseeded run."""
    if world_size() == 1:
        return
    number = torch.tensor(random.getrandbits(31), device=_device())
    dist.broadcast(number, 0)
    seed = int(number)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@torch.no_grad()
def mean(tensors: Iterable[Any], count: int = 1) -> list[Any]:
    """Average a list of tensors (None entries stay) over the processes, in one message.

    Args:
        count: this process's weight: the images that its tensors are means of. What a process with 0 gives is not used.
    """
    there = [t for t in tensors if t is not None]
    if world_size() == 1 or not there:
        return list(tensors)
    flat = torch.cat([t.flatten() for t in there] + [there[0].new_ones(1)])
    flat = flat * count if count else torch.zeros_like(flat)
    dist.all_reduce(flat)
    parts = iter((flat[:-1] / flat[-1]).split([t.numel() for t in there]))
    return [None if t is None else next(parts).view_as(t) for t in tensors]


@torch.no_grad()
def broadcast(tensors: Iterable[torch.Tensor]) -> None:
    """Give all processes the first one's values."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def first_integer(number: int) -> int:
    """Return the first process's ``number``."""
    return int(_first(number, torch.int64))


def first(number: float) -> float:
    """Return the first process's ``number``, to the bit."""
    return float(_first(number, torch.float64))


def _first(number: float, dtype: torch.dtype) -> float | torch.Tensor:
    if world_size() == 1:
        return number
    told = torch.tensor(number, dtype=dtype, device=_device())
    dist.broadcast(told, 0)
    return told


@torch.no_grad()
def total(count: int | torch.Tensor) -> int:
    """Return the sum of the processes' counts, numbers or tensors."""
    if world_size() == 1:
        return int(count)
    told = torch.tensor(int(count), device=_device())
    dist.all_reduce(told)
    return int(told)


@torch.no_grad()
def gather(rows: torch.Tensor) -> list[torch.Tensor]:
    """Return the matrices [n, C] of all processes, in their order; n may differ, and C where n is 0."""
    sizes = [torch.zeros(2, dtype=torch.int64, device=rows.device) for _ in range(world_size())]
    dist.all_gather(sizes, torch.tensor(rows.shape, device=rows.device))
    heights, widths = torch.stack(sizes).T.tolist()
    padded = rows.new_zeros(max(heights), max(widths))
    padded[:len(rows), :rows.shape[1]] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return [part[:n] for part, n in zip(parts, heights, strict=True)]
