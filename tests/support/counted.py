"""Training steps at full size on the pretended CUDA device, shapes without numbers: what is a GPU asked for?"""
from types import SimpleNamespace
from unittest import mock

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

import trainers.base
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from support.pretend_cuda import PretendCuda
from trainers.clip.load import FrozenCLIP
from trainers.regulate.regulator import Regulator

IMAGES = {"CoOp": 32, "CoCoOp": 1, "ProGrad": 32, "KgCoOp": 128, "GRAMCoOp": 32, "GRAMCoCoOp": 1,
          "GRAMProGrad": 32}  # a step, as published; else 4
SHAPES = {  # of OpenAI's published models: width of features, vision tower, width of the text tower
    "ViT-B/16": (512, CLIPVisionCfg(layers=12, width=768, patch_size=16, image_size=224), 512),
    "ViT-L/14": (768, CLIPVisionCfg(layers=24, width=1024, patch_size=14, image_size=224), 768),
    "RN50": (1024, CLIPVisionCfg(layers=(3, 4, 6, 3), width=64, patch_size=None, image_size=224), 512)}


def class_names(count):
    """Return ``count`` names, of ImageNet's classes as far as there are: their lengths are those of the real thing."""
    return [f"{name} {i // 1000}" if i >= 1000 else name
            for i in range(count) for name in [IMAGENET_CLASSNAMES[i % 1000]]]


def build(method, precision, classes, backbone="ViT-B/16", settings=()):
    """Return a trainer of a registered method on a published shape; below ``PretendCuda(compute=False)``."""
    embed, vision, width = SHAPES[backbone]
    names, prompts = class_names(classes), []

    def load(name, precision, device):
        with torch.device("meta"):
            model = CLIP(embed, vision, CLIPTextCfg(width=width, heads=width // 64, layers=12), quick_gelu=True)
        clip = FrozenCLIP(model.to(device), precision)
        clip.fingerprint = "none"
        clip.exact = lambda: clip if precision == "fp32" else load(name, "fp32", device)
        return clip

    def meta_trained(path, command):
        start = {name: p.detach() for name, p in prompts[-1].named_parameters()}
        return start, Regulator({name: p.shape for name, p in start.items()}), {}

    def stand_in(self, *_, **__):
        return torch.zeros(len(self.classnames), self.clip.embed_dim, device=self.device)

    registered = TRAINER_REGISTRY.get(method)

    class Method(registered.METHOD):
        def prepare_training(self):
            prompts.append(self.prompts)
            super().prepare_training()

    class Counted(registered):
        METHOD = Method

        def build_data_loader(self):
            self.train_loader_x = self.val_loader = self.test_loader = None
            self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=names, published=True))
            self.lab2cname, self.num_classes = dict(enumerate(names)), len(names)

    Method.__name__ = method
    cfg = get_cfg_default()
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", backbone, "USE_CUDA", True, "TRAINER.NAME", method, "OPTIM.NAME", "sgd",
                         "OPTIM.MAX_EPOCH", 20, "TRAINER.PROMPTREG.CACHE", False, "TRAINER.GRAM.META", "demo"])
    if "GRAPH" in cfg.TRAIN:  # earlier versions are counted by benchmarks/launches.py, too
        cfg.TRAIN.GRAPH = False
    cfg.TRAINER[Method.SECTION].PREC = precision
    cfg.merge_from_list(list(settings))
    reader = "checkpoint.read_meta" if hasattr(trainers.gram, "checkpoint") else "file.read"
    with mock.patch("trainers.training.trainer.load_clip", load), \
            mock.patch(f"trainers.gram.{reader}", meta_trained), \
            mock.patch.object(trainers.base.PromptMethod, "template_features", stand_in), \
            mock.patch("trainers.clip.load.computes_in_half", lambda device: True):
        return Counted(cfg)


def batch_of(method, classes):
    """Return a batch of images as a loader hands it over."""
    size = IMAGES.get(method, 4)
    return {"img": torch.zeros(size, 3, 224, 224).pin_memory(),
            "label": torch.zeros(size, dtype=torch.int64).pin_memory()}


def second_step(method, precision, classes, backbone="ViT-B/16", settings=()):
    """Return the device, with the record of a trainer's second step."""
    with PretendCuda(compute=False) as gpu:
        trainer = build(method, precision, classes, backbone, settings)
        trainer.set_model_mode("train")
        for _ in range(2):
            batch = batch_of(method, classes)
            gpu.events.clear()
            trainer.forward_backward(batch)
    return gpu


class Watched:
    """Takes a trainer's steps and keeps what each of them made the device record.

    Attributes:
        steps: of each step, its events.
    """

    def __init__(self, trainer, gpu):
        self.steps, self.gpu, self.step = [], gpu, trainer.forward_backward
        trainer.forward_backward = self

    def __call__(self, batch):
        first = len(self.gpu.events)
        summary = self.step(batch)
        self.steps.append(self.gpu.events[first:])
        return summary

    def check(self, first=0):
        """Raise AssertionError where a step from number ``first`` on waits for the device or computes in float64."""
        assert self.steps[first:]
        for number, events in enumerate(self.steps[first:], first):
            bad = [f"{e.kind}: {e.what} at {e.line}" for e in events if e.kind in ("sync", "double")
                   and "training/graph.py" not in e.line]  # which tries a new graph, once, and waits for the outcome
            assert not bad, f"step {number}: {'; '.join(bad[:5])}"
