"""Training batches: decoded once, drawn by seed, the same with any number of workers.

Few-shot sets are small and read again every epoch, so decoded images stay in memory under a budget. Every epoch draws
one number from torch's generator; the order and each image's random crop follow from it alone, so that a resumed run,
another number of workers or no kept images at all gives the same pixels.
"""
import atexit
import concurrent.futures
import os
import random
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from dassl.utils import read_image

from ..errors import InputError
from . import distributed, signals

PADDING = -1  # seed of an image that stands for an empty share: it is trained on with weight 0

class CachedImages(Dataset):
    """Images of ``items`` (Dassl's Datum) with their transform; the first to fit the budget stay decoded.

    Indices are (item, seed) pairs: the transform draws from generators seeded with the pair's seed.
    """

    def __init__(self, items: Sequence[Any], transform: Callable[[Any], torch.Tensor], budget: float) -> None:
        self.items, self.transform, self.budget = items, transform, budget
        self.kept = {}
        self.filled = False

    def __len__(self) -> int:
        return len(self.items)

    def fill(self) -> None:
        """Decode once, in threads, before the workers start; they share the memory."""
        if self.filled:
            return
        self.filled, size = True, 0
        step = 64
        with concurrent.futures.ThreadPoolExecutor(num_cpus()) as pool:
            for start in range(0, len(self.items), step):
                if size >= self.budget:
                    break
                indices = range(start, min(start + step, len(self.items)))
                for i, image in zip(indices, pool.map(self.read, indices), strict=True):
                    size += 3 * image.width * image.height
                    if size < self.budget:
                        self.kept[i] = image

    def read(self, i: int) -> Any:
        return read_image(self.items[i].impath)

    def __getitem__(self, pair: tuple[int, int]) -> dict[str, Any]:
        i, seed = pair
        item = self.items[i]
        image = self.kept.get(i) or self.read(i)
        with seeded(seed):
            image = self.transform(image)
        found = {"img": image, "label": item.label, "domain": item.domain, "impath": item.impath, "index": i}
        return {**found, "padding": True} if seed == PADDING else found


class seeded:
    """Context in which Python's, numpy's and torch's CPU generators start from one seed; restores them after."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(self.seed)
        np.random.seed(self.seed % 2 ** 32)
        torch.default_generator.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        python, numpy, torch_state = self.states
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_state)


class SeededBatchSampler:
    """Batches of (item, seed) pairs of this process, reshuffled at each iteration by one draw from torch's generator.

    Under several processes the joint batch is the one that a single process with ``world`` times the batch would draw.
    Where that is the whole set, it may not fill all shares: the last ones are smaller, and an empty one is PADDING.
    """

    def __init__(self, size: int, batch_size: int, drop_last: bool, rank: int = 0, world: int = 1) -> None:
        self.size, self.batch_size, self.rank, self.world = size, batch_size, rank, world
        joint = batch_size * world
        self.batches = size // joint if drop_last else -(-size // joint)
        # of the next iteration: the number that was drawn for it, and the batch to start with
        self.resumed: tuple[int, int] | None = None

    def __len__(self) -> int:
        return self.batches

    def draw(self) -> int:
        """Return the number that an epoch's order and crops follow from: the first process's.

        A loss that draws random numbers for each of its images draws as many as its process has of them.
        """
        return distributed.first_integer(int(torch.empty((), dtype=torch.int64).random_()))

    def __iter__(self) -> Iterator[Any]:
        resumed, self.resumed = self.resumed, None
        number, first = resumed or (self.draw(), 0)
        generator = torch.Generator().manual_seed(number)
        order = torch.randperm(self.size, generator=generator).tolist()
        seeds = torch.randint(2 ** 62, (self.size,), generator=generator).tolist()
        joint = self.batch_size * self.world
        for b in range(first, self.batches):
            start = b * joint + self.rank * self.batch_size
            share = [(order[i], seeds[i]) for i in range(start, min(start + self.batch_size, self.size))]
            yield share or [(order[0], PADDING)]  # nobody waits in vain for a process without images


class EpochLoader:
    """Iterates over training batches as Dassl's loaders do: dicts of img, label, domain, impath and index."""

    def __init__(self, dataset: Any, batches: SeededBatchSampler, workers: int, pin: bool) -> None:
        self.dataset, self.sampler = dataset, batches
        # A generator of its own: the number that DataLoader draws for its workers must not touch the run's.
        self.loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers, pin_memory=pin,
                                 persistent_workers=workers > 0, generator=torch.Generator(),
                                 worker_init_fn=signals.ignore)
        if workers:
            atexit.register(_end_workers, weakref.ref(self))

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.dataset.fill()
        return iter(self.loader)

    def starting_with(self, first: int) -> Iterator[Any]:
        """Return the iterator over an epoch's batches from number ``first`` on; those before are not even read."""
        self.sampler.resumed = self.sampler.draw(), first
        return iter(self)


def _end_workers(reference: Callable[[], Any]) -> None:
    """At exit, end a loader's workers: multiprocessing would send SIGTERM, which they ignore, and wait for them."""
    loader = reference()
    iterator = getattr(loader and loader.loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()


def batches_from(loader: Any, first: int) -> Iterator[Any]:
    """Return the iterator over the batches of any ``loader`` from number ``first`` on, its order already drawn."""
    if isinstance(loader, EpochLoader):
        return loader.starting_with(first)
    batches = iter(loader)
    for _ in range(first):
        next(batches)
    return batches


def num_cpus() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_loader(cfg: CfgNode, manager: Any, plain: Any, budget: float) -> Any:
    """Return the training loader, with Dassl's settings; Dassl's own where another sampler is asked for.

    Args:
        cfg: the config; DATALOADER.TRAIN_X.BATCH_SIZE is per process, NUM_WORKERS is capped by the cores.
        manager: Dassl's DataManager.
        plain: the loader that it has made.
        budget: bytes of decoded images to keep.

    Raises:
        InputError: Dassl's own under several processes, which would all train on the same images.
    """
    options = cfg.DATALOADER.TRAIN_X
    transform = getattr(plain.dataset, "transform", None)
    if (options.SAMPLER != "RandomSampler" or not callable(transform) or cfg.DATALOADER.K_TRANSFORMS > 1
            or cfg.DATALOADER.RETURN_IMG0):
        if distributed.world_size() > 1:
            raise InputError(f"DATALOADER.TRAIN_X.SAMPLER {options.SAMPLER}, K_TRANSFORMS "
                             f"{cfg.DATALOADER.K_TRANSFORMS}, RETURN_IMG0 {cfg.DATALOADER.RETURN_IMG0}: under torchrun "
                             "the images are shared out with RandomSampler, 1 and False alone: set these, or start one "
                             "process")
        return plain
    items = manager.dataset.train_x
    world = distributed.world_size()
    batches = SeededBatchSampler(len(items), options.BATCH_SIZE, len(items) >= options.BATCH_SIZE * world,
                                 distributed.rank(), world)
    on_cuda = cfg.USE_CUDA and torch.cuda.is_available()
    # Few images are transformed sooner than workers are started; on two cores the workers would also fight the model.
    workers = min(cfg.DATALOADER.NUM_WORKERS, num_cpus() - 1 if num_cpus() > 2 or on_cuda else 0)
    if sys.platform != "linux":
        workers = min(workers, 0)
    return EpochLoader(CachedImages(items, transform, budget), batches, workers, on_cuda)
