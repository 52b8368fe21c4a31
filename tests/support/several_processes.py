"""Runs of a tiny CLIP in 1, 2 and 4 gloo processes: python -m support.several_processes FOLDER TRAINER …

One process imports everything and forks the others, so that seven processes cost one's start. Each run's prompts are
in FOLDER/TRAINER-SIZE-HOW, and what each process was given in steps.RANK there.
"""
import json
import logging
import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.utils.tensorboard  # once, before the processes are forked
from golden import tiny_clip
from PIL import Image
from torchvision import transforms

import trainers  # noqa: F401  finds Dassl
from dassl.data.datasets import Datum
from support.every_trainer import config, low_weights, meta_file
from trainers.compat.registry import TRAINERS
from trainers.training import distributed, loader

# ProGrad starts at random, as its default is: docs/methods.md says why CTX_INIT True depends on rounding.
JOINT, SIZES = 4, (8, 7, 3)  # an even set, one whose last images are dropped, one that leaves a process without images
KILLED_IN = 8  # the size whose run is killed on two processes, and resumed on one and on four
EPOCHS = 2
UNEVEN_ALONE = ("CoCoOp", "GRAMCoOp")  # which have nothing more to go wrong: a run costs processor time


def sizes_of(name):
    """Return the sizes of the sets that a method is trained on in 1, 2 and 4 processes."""
    return SIZES[1:2] if name in UNEVEN_ALONE else SIZES


def items_in(folder):
    """Write pictures; returns Dassl's items, of all classes in turn."""
    noise = np.random.default_rng(1)
    side = tiny_clip.CONFIG["vit"]["image_size"] + 4
    for i in range(max(SIZES)):
        Image.fromarray(noise.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    count = len(tiny_clip.CLASSNAMES)
    return [Datum(str(folder / f"{i}.png"), i % count, classname=tiny_clip.CLASSNAMES[i % count])
            for i in range(max(SIZES))]


def trainer_on(name, folder, output, items, size, kill):
    """Build a trainer; with ``kill`` it saves within its second epoch and dies by the step after."""
    cls = TRAINERS.entries[name]
    side = tiny_clip.CONFIG["vit"]["image_size"]
    change = transforms.Compose([transforms.RandomCrop(side), transforms.RandomHorizontalFlip(),
                                 transforms.ToTensor()])
    steps = []

    class Small(cls):
        def build_data_loader(self):
            distributed.start(self.device)
            self.cfg.defrost()
            self.cfg.DATALOADER.TRAIN_X.BATCH_SIZE = JOINT // distributed.world_size()
            self.dm = SimpleNamespace(dataset=SimpleNamespace(
                classnames=list(tiny_clip.CLASSNAMES), train_x=items[:size], val=None, test=[]))
            plain = SimpleNamespace(dataset=SimpleNamespace(transform=change))
            self.train_loader_x = loader.train_loader(self.cfg, self.dm, plain, 2 ** 20)
            self.val_loader = self.test_loader = None
            self.num_classes, self.lab2cname = len(tiny_clip.CLASSNAMES), dict(enumerate(tiny_clip.CLASSNAMES))

        def forward_backward(self, batch):
            if kill and self.epoch == 1 and self.batch_idx == kill:
                os.kill(os.getpid(), signal.SIGKILL)
            shown = [] if "padding" in batch else [[int(i), round(float(image.double().sum()), 6)]
                                                   for i, image in zip(batch["index"], batch["img"], strict=True)]
            steps.append([self.epoch, self.batch_idx, shown])
            return super().forward_backward(batch)

        def interim_due(self):
            return bool(kill) and self.epoch == 1 and self.batch_idx == kill - 1

    cfg = config(cls, "fp32", folder / "tiny_vit.safetensors", output, folder / "meta" / name / "meta.safetensors")
    cfg.merge_from_list(["OPTIM.MAX_EPOCH", EPOCHS, "OPTIM.LR", 0.01, "OPTIM.WARMUP_EPOCH", -1, "SEED", 1,
                         "DATALOADER.TRAIN_X.SAMPLER", "RandomSampler", "TEST.NO_TEST", True])
    torch.manual_seed(1)
    return Small(cfg), steps


def one_process(rank, world, port, name, folder, output, items, size, kill):
    """Be one process of a run."""
    if world > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1",
                          MASTER_PORT=str(port))
    output.mkdir(parents=True, exist_ok=True)
    trainer, steps = trainer_on(name, folder, output, items, size, kill)
    trainer.train()
    (output / f"steps.{rank}").write_text(json.dumps(steps))


def run(world, *what):
    """Run in ``world`` forked processes; returns how each has ended."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    children = []
    for rank in range(world):
        children.append(os.fork())
        if not children[-1]:
            code = 1
            try:
                one_process(rank, world, port, *what)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def main(folder, *names):
    torch.set_num_threads(1)
    folder = Path(folder)
    items, weights = items_in(folder), low_weights(folder, layers=2)
    sys.stdout = open(os.devnull, "w")
    logging.getLogger("promptreg").setLevel(logging.ERROR)
    for name in names:
        if name.startswith(("GRAM", "UNIGRAM")):
            (folder / "meta" / name).mkdir(parents=True)
            meta_file(TRAINERS.entries[name], weights, folder / "meta" / name)
    for name in names:
        one_method(name, folder, items)


def one_method(name, folder, items):
    """Run a method on every set in 1, 2 and 4 processes, and the even one killed on two, resumed on one and on four."""
    def of(size, how):
        return name, folder, folder / f"{name}-{size}-{how}", items, size

    for size in SIZES:
        for world in (1, 2, 4) if size in sizes_of(name) else (1,) * (size == KILLED_IN):
            assert not any(run(world, *of(size, world), 0)), (name, size, world)
    assert run(2, *of(KILLED_IN, "killed"), 1) == [-signal.SIGKILL] * 2, name
    for world in (1, 4):
        shutil.copytree(of(KILLED_IN, "killed")[2], of(KILLED_IN, f"resumed-{world}")[2])
        assert not any(run(world, *of(KILLED_IN, f"resumed-{world}"), 0)), name


if __name__ == "__main__":
    main(*sys.argv[1:])
