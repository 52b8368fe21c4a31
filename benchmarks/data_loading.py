"""Images per second of a few-shot training set: this house's loader beside torchvision's plain one, on two cores.

    python benchmarks/data_loading.py [--out NAME]                   # drawn images of the size of photographs
    python benchmarks/data_loading.py --dataset Food101 --root DATA  # a real dataset

Both get the same images and the same transforms (CoOp's: random resized crop to 224x224 bicubic, flip, normalize) in
the same batch size. The plain loader is ``torchvision.datasets.ImageFolder`` in a ``DataLoader``; it is measured
without workers and with two. The loaders take turns, so that whatever else the machine does meets them alike, and the
best of the rounds counts. The load average before and after is printed: well above that of one job, the figures are
those of a busy machine. What is kept: benchmarks/results/data_loading.json.
"""
import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

import numpy as np
import torch
import torchvision
from common import keep
from PIL import Image
from torchvision import transforms as T

import datasets
import trainers  # noqa: F401  adds its keys to the default config
from dassl.config import get_cfg_default
from dassl.data import DataManager
from dassl.utils import set_random_seed
from trainers.training import loader

SIZE, BATCH = 224, 4
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def draw_images(root, classes, each, width=500, height=375):
    """Write JPEG images with the spectrum of photographs (power falling with frequency) in ``root/train/CLASS``.

    They take 60 to 100 kB each, like ImageNet's.
    """
    state = np.random.RandomState(0)
    fall = 1 / np.maximum(1, np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width) * width))
    for split, number in (("train", each), ("test", 1)):
        for label in range(classes):
            folder = root / split / f"class_{label:03d}"
            folder.mkdir(parents=True)
            for index in range(number):
                noise = np.fft.fft2(state.randn(3, height, width)) * fall
                waves = np.fft.ifft2(noise).real
                pixels = np.clip(128 + 50 * waves / waves.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0)
                Image.fromarray(pixels).save(folder / f"{index}.jpg", quality=95)


def few_shot(name, root, shots):
    """Return the config and Dassl's DataManager of a few-shot set."""
    cfg = get_cfg_default()
    cfg.merge_from_list([
        "DATASET.NAME", name, "DATASET.ROOT", str(root), "DATASET.NUM_SHOTS", shots, "SEED", 1, "VERBOSE", False,
        "INPUT.SIZE", (SIZE, SIZE), "INPUT.INTERPOLATION", "bicubic", "INPUT.PIXEL_MEAN", MEAN, "INPUT.PIXEL_STD", STD,
        "INPUT.TRANSFORMS", ["random_resized_crop", "random_flip", "normalize"], "DATALOADER.NUM_WORKERS", 8,
        "DATALOADER.TRAIN_X.BATCH_SIZE", BATCH])
    datasets.check(cfg)
    set_random_seed(1)
    return cfg, DataManager(cfg)


def ours(cfg, manager):
    """Return a function that runs one epoch of the house's loader, new at each call of `ours`."""
    made = loader.train_loader(cfg, manager, manager.train_loader_x, 2 ** 30)
    return lambda: sum(len(batch["img"]) for batch in made)


def plain(manager, workers, folder):
    """Return a function that runs one epoch of torchvision's ImageFolder on the same images, linked in ``folder``."""
    if not folder.exists():
        for number, item in enumerate(manager.dataset.train_x):
            link = folder / f"{item.label:04d}" / f"{number}{Path(item.impath).suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(item.impath)
    transform = T.Compose([
        T.RandomResizedCrop((SIZE, SIZE), scale=(0.08, 1.0), interpolation=T.InterpolationMode.BICUBIC),
        T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)])
    images = torchvision.datasets.ImageFolder(str(folder), transform)
    made = torch.utils.data.DataLoader(images, BATCH, shuffle=True, drop_last=True, num_workers=workers,
                                       persistent_workers=workers > 0)
    return lambda: sum(len(batch) for batch, _ in made)


def measure(epoch, epochs):
    """Return images per second of the first epoch and of the later ones together."""
    times = []
    for _ in range(epochs):
        begin = time.perf_counter()
        images = epoch()
        times.append((time.perf_counter() - begin) / images)
    return 1 / times[0], (epochs - 1) / sum(times[1:])


def main():
    """Measure, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", help="a dataset to use instead of drawn images")
    parser.add_argument("--root", default=os.environ.get("DATA", "data"), help="its data folder")
    parser.add_argument("--classes", type=int, default=20, help="of drawn images")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default="data_loading", help="name of the file of results; empty for none")
    arguments = parser.parse_args()
    load = [round(os.getloadavg()[0], 1)]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        name, root = arguments.dataset, arguments.root
        if not name:
            name, root = "ImageFolder", scratch / "drawn"
            draw_images(root, arguments.classes, arguments.shots)
        cfg, manager = few_shot(name, root, arguments.shots)
        loaders = {
            "ours": lambda: ours(cfg, manager),
            "torchvision, 0 workers": lambda: plain(manager, 0, scratch / "links"),
            "torchvision, 2 workers": lambda: plain(manager, 2, scratch / "links"),
        }
        best = {}
        for _ in range(arguments.rounds):
            for title, make in loaders.items():
                rates = measure(make(), arguments.epochs)
                best[title] = [max(pair) for pair in zip(rates, best.get(title, rates), strict=True)]
    load.append(round(os.getloadavg()[0], 1))
    images = len(manager.dataset.train_x)
    print(f"{images} training images of {name}, batches of {BATCH}, {loader.num_cpus()} cores, "
          f"load average {load[0]} before and {load[1]} after, images per second")
    print(f"{'':24}{'first epoch':>12}{'later epochs':>14}")
    for title, (first, later) in best.items():
        print(f"{title:24}{first:12.0f}{later:14.0f}")
    if arguments.out:
        keep(arguments.out, {
            "images": images, "dataset": name, "batch": BATCH, "cores": loader.num_cpus(), "epochs": arguments.epochs,
            "rounds": arguments.rounds, "load_average": load,
            "images_per_second": {title: {"first": round(first, 1), "later": round(later, 1)}
                                  for title, (first, later) in best.items()}})


if __name__ == "__main__":
    main()
