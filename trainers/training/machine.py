"""Sizes that follow from the machine where the config leaves them to it: memory for classes and images."""
import os
from pathlib import Path

import torch

GIB = 2 ** 30
ON_CPU = 1.0  # GiB for the classes' activations: caches are small, and more would gain nothing
CGROUPS = (("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
           ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"))


def text_memory(asked: float, device: torch.device) -> float:
    """Return the GiB that classes' activations may take: what is asked for, or, if negative, half of a GPU's rest."""
    if asked >= 0:
        return asked
    if device.type != "cuda":
        return ON_CPU
    free, _ = torch.cuda.mem_get_info(device)
    return round(free / 2 / GIB, 2)


def image_memory(asked: float) -> float:
    """Return the GiB of decoded images to keep: what is asked for, or, if negative, a quarter of the free memory."""
    if asked >= 0:
        return asked
    here = os.environ.get("LOCAL_WORLD_SIZE", "")
    processes = int(here) if here.isdecimal() and int(here) else 1
    return round(free_memory() / 4 / processes / GIB, 2)


def free_memory() -> int:
    """Return the bytes of memory that this process could take, its container's limit included; 4 GiB if unknown."""
    free = []
    try:
        words = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free.append(1024 * int(words["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        pass
    for limit, used in CGROUPS:
        try:
            free.append(max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(free, default=4 * GIB)
