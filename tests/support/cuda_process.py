"""One process of a run in several, on the pretended CUDA device: python -m support.cuda_process TRAINER PRECISION …

Prints "ok" where the process has taken its steps without waiting for the device more than printing needs.
"""
import sys
from pathlib import Path

import torch

from support.counted import Watched
from support.every_trainer import made
from support.pretend_cuda import PretendCuda
from trainers.compat.registry import TRAINERS
from trainers.training import distributed


def main(name, precision, weights, output):
    with PretendCuda() as gpu:
        gpu.gpus = 2
        distributed.start("cuda")  # first, as in a run: it decides whether the step is captured
        trainer = made(TRAINERS.entries[name], precision, Path(weights), output, device="cuda", batches=2)
        share = distributed.rank()
        trainer.train_loader_x = [{"img": batch["img"][share:share + 1].pin_memory(), "impath": ["a.jpg"],
                                   "label": batch["label"][share:share + 1].pin_memory()}
                                  for batch in trainer.train_loader_x]
        watched = Watched(trainer, gpu)
        trainer.train()
        watched.check(2)
        torch.distributed.destroy_process_group()
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
