"""Several processes under torchrun, one GPU (or CPU) each: the same gradients as one process with the joint batch.

The gradients are a few kilobytes and some methods combine several of them non-linearly (ProGrad's projection), so they
are averaged right where they are computed rather than by DistributedDataParallel's hooks in the backward.
"""
import os

import torch
import torch.distributed as dist

from .errors import EnvironmentFault


def launched():
    """Return (this process's number, number of processes) as torchrun has set them; (0, 1) without it.

    Raises:
        EnvironmentFault: they are set, by something else.
    """
    if not {"RANK", "WORLD_SIZE"} <= set(os.environ):
        return 0, 1
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if 0 <= rank < size and (size == 1 or {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ)):
            return rank, size
    except ValueError:
        pass
    raise EnvironmentFault(f"RANK is {os.environ['RANK']!r} and WORLD_SIZE {os.environ['WORLD_SIZE']!r}, but not by "
                           "torchrun: start with torchrun, or unset both")


def start(device):
    """Join the process group that torchrun has prepared, if any; safe to call again."""
    if launched()[1] > 1 and not dist.is_initialized():
        on_cuda = torch.device(device).type == "cuda"
        if on_cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if on_cuda else "gloo")


def rank():
    """Return this process's number, from 0; process 0 alone writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier():
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()


@torch.no_grad()
def mean(tensors):
    """Average a list of tensors (None entries stay) over the processes, in one message."""
    if world_size() == 1:
        return list(tensors)
    flat = torch.cat([t.flatten() for t in tensors if t is not None])
    dist.all_reduce(flat)
    parts = iter((flat / world_size()).split([t.numel() for t in tensors if t is not None]))
    return [None if t is None else next(parts).view_as(t) for t in tensors]


@torch.no_grad()
def broadcast(tensors):
    """Give all processes the first one's values."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
