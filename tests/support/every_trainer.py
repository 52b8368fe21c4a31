"""Any registered trainer on the golden files' tiny CLIP with few layers and a batch of two images."""
from types import SimpleNamespace

import torch
from golden import tiny_clip

import trainers  # noqa: F401  finds Dassl
from dassl.config import get_cfg_default
from support import reference
from trainers.base import PromptTrainer
from trainers.compat.registry import TRAINERS
from trainers.meta import checkpoint
from trainers.regulate.regulator import Regulator
from trainers.training.composition import WRAPPERS

METHODS = sorted(name for name, cls in TRAINERS.entries.items() if issubclass(cls, PromptTrainer))
BATCH = 2
LOW = {"LAYER": 1, "ADAPTER_START": 1, "ADAPTER_END": 2, "ADAPTER_DIM": 4}  # of keys whose defaults are for more layers


def low_weights(folder, kind="vit", layers=3):
    """Write the tiny CLIP with few layers a transformer; returns its path."""
    return reference.weights_file(kind, folder, layers)


def config(cls, precision, weights, output, meta="", device="cpu", keys=()):
    cfg = get_cfg_default()
    cfg.merge_from_list(["DATASET.NAME", "OxfordPets", "MODEL.BACKBONE.NAME", str(weights), "USE_CUDA", device != "cpu",
                         "OUTPUT_DIR", str(output), "TRAINER.NAME", cls.__name__, "TRAINER.PROMPTREG.CACHE", False,
                         "OPTIM.NAME", "sgd", "OPTIM.LR", 0.01, "OPTIM.MAX_EPOCH", 2, "OPTIM.LR_SCHEDULER", "cosine",
                         "TRAINER.GRAM.META", str(meta)])
    section = cfg.TRAINER[cls.METHOD.SECTION]
    section.PREC = precision
    for key in [key for key in section if key.startswith("PROMPT_DEPTH")]:
        section[key] = 2
    section.update({key: value for key, value in LOW.items() if key in section})
    cfg.merge_from_list(list(keys))
    return cfg


def made(cls, *words, kind="vit", classnames=tiny_clip.CLASSNAMES, batches=1, **more):
    """Build the trainer on ``batches`` batches of classes to learn from and two to evaluate."""
    images, labels = (torch.as_tensor(part) for part in tiny_clip.batches(
        kind, batch_size=(2 + batches) * BATCH, n_classes=len(classnames))[0])
    parts = [{"img": part, "label": label, "impath": ["a.jpg"] * BATCH}
             for part, label in zip(images.split(BATCH), labels.split(BATCH), strict=True)]
    if torch.cuda.is_available():
        parts = [{key: v.pin_memory() if torch.is_tensor(v) else v for key, v in part.items()} for part in parts]

    class Small(cls):
        def build_data_loader(self):
            self.train_loader_x, self.val_loader, self.test_loader = parts[:batches], None, parts[batches:]
            images = {"train_x": [], "val": None, "test": []}
            self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=list(classnames), **images))
            self.num_classes, self.lab2cname = len(classnames), dict(enumerate(classnames))

    torch.manual_seed(1)
    trainer = Small(config(cls, *words, **more))
    if trainer.state.loss_scale:
        trainer.state.loss_scale.scale = 2.0 ** 8  # the first steps count
    return trainer


def meta_file(cls, weights, folder, kind="vit", trained=True):
    """Write a meta-trained file for the prompts of a GRAM trainer's base method; returns its path."""
    base = next(c for c in cls.METHOD.__mro__ if not issubclass(c, tuple(WRAPPERS.values())))
    plain = made(TRAINERS.entries[base.__name__], "fp32", weights, folder, kind=kind)
    own = {n: p.detach().clone() for n, p in plain.model.prompts.named_parameters()}
    regulator = Regulator({n: p.shape for n, p in own.items()}, rank=2, seed=1, form="bend")
    for bend in regulator.bends.values() if trained else ():
        torch.nn.init.normal_(bend.up, std=0.5)
    checkpoint.write_meta(folder / "meta.safetensors", own, regulator, {"prompts": "test"})
    return folder / "meta.safetensors"
