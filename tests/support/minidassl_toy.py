"""A toy dataset and trainer for the tests of minidassl: images of three colours, a linear classifier."""
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from minidassl.config import get_cfg_default
from minidassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from minidassl.engine import TRAINER_REGISTRY, TrainerX
from minidassl.metrics import compute_accuracy
from minidassl.optim import build_lr_scheduler, build_optimizer

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


@DATASET_REGISTRY.register()
class ToyColours(DatasetBase):
    """Nine training, three validation and six test images of noisy single colours, in two domains."""

    dataset_dir = "toy"
    domains = ["bright", "dark"]

    def __init__(self, cfg):
        self.check_input_domains(cfg.DATASET.SOURCE_DOMAINS, cfg.DATASET.TARGET_DOMAINS)
        folder = Path(cfg.DATASET.ROOT) / self.dataset_dir
        if not folder.exists():
            folder.mkdir(parents=True)
            draws = np.random.RandomState(0)
            for name, colour in COLOURS.items():
                for i in range(6):
                    pixels = np.clip(np.array(colour) + draws.randint(-20, 20, (12, 10, 3)), 0, 255)
                    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}{i}.png")

        def items(numbers):
            return [Datum(str(folder / f"{name}{i}.png"), label=label, domain=i % 2, classname=name)
                    for label, name in enumerate(COLOURS) for i in numbers]

        super().__init__(train_x=items([0, 1, 2]), train_u=items([3]) if cfg.DATASET.NUM_LABELED > 0 else None,
                         val=items([3]), test=items([4, 5]))


@TRAINER_REGISTRY.register()
class ToyTrainer(TrainerX):
    """A linear classifier, stepped as CoOp's trainers do it."""

    def build_model(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, self.num_classes)).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("linear", self.model, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label, _ = self.parse_batch_train(batch)
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}


def toy_cfg(folder):
    """Return a config of four epochs of the toy trainer, with its data and output below ``folder``."""
    cfg = get_cfg_default()
    cfg.VERBOSE = False
    cfg.USE_CUDA = False
    cfg.OUTPUT_DIR = str(folder / "out")
    cfg.DATASET.ROOT = str(folder / "data")
    cfg.DATASET.NAME = "ToyColours"
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 4
    cfg.INPUT.SIZE = (8, 8)
    cfg.INPUT.TRANSFORMS = ["normalize"]
    cfg.OPTIM.NAME = "sgd"
    cfg.OPTIM.LR = 0.02
    cfg.OPTIM.MAX_EPOCH = 4
    cfg.OPTIM.LR_SCHEDULER = "cosine"
    cfg.OPTIM.WARMUP_EPOCH = 1
    cfg.OPTIM.WARMUP_TYPE = "constant"
    cfg.TRAINER.NAME = "ToyTrainer"
    return cfg
