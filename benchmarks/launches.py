"""What a training step asks of a GPU, counted without one: kernel launches, views, synchronizations, predicted time.

    python benchmarks/launches.py [--before REVISION] [--method NAME …]

Each method takes two steps at full size on the pretended device of tests/support/pretend_cuda.py (shapes, no numbers), the
second is counted. ``--before`` counts the same on another commit of this repository. No figure here was measured on a GPU:
launches follow from what operators are known to start, times from the constants below.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

HERE = Path(__file__).resolve().parent
TREE = Path(os.environ.get("PROMPTREG_TREE", HERE.parent))  # whose library is counted
sys.path[:0] = [str(TREE), str(HERE.parent / "tests")]

import torch  # noqa: E402

METHODS = ("CoOp", "CoCoOp", "ProGrad", "KgCoOp", "VPT", "IVLP", "MaPLe", "PromptSRC", "UNIGRAM", "GRAMCoOp")
PRECISIONS = ("fp16", "bf16", "amp", "fp32")
HOST_US = {"launch": (3.5, 8.0), "view": (0.7, 2.0)}  # what PyTorch's host side takes, a fast and a slow machine
REPLAY_US = 1.5  # of a kernel in a CUDA graph, at least
FLOPS = {"fp32": 50e12, "fp16": 400e12, "bf16": 400e12, "amp": 400e12}  # a second, of an H100 in products of this size
BYTES = 2.3e12  # a second: 70% of an H100's
IMAGES = {"CoOp": 32, "CoCoOp": 1, "ProGrad": 32, "KgCoOp": 128, "GRAMCoOp": 32}  # a step, as published; else 4


def build(method, precision, classes, backbone, settings=()):
    """Return a trainer of a method at full size, on the pretended device, without numbers."""
    from common import SHAPES
    from open_clip.model import CLIP, CLIPTextCfg

    import trainers.base
    from dassl.config import get_cfg_default
    from dassl.engine import TRAINER_REGISTRY
    from trainers.clip.load import FrozenCLIP
    embed, vision, width = SHAPES[backbone]
    names = class_names(classes)

    def load(name, precision, device):
        with torch.device("meta"):
            model = CLIP(embed, vision, CLIPTextCfg(width=width, heads=width // 64, layers=12), quick_gelu=True)
        return FrozenCLIP(model.to(device), precision)
    cls = TRAINER_REGISTRY.get(method)
    cfg = get_cfg_default()
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", backbone, "USE_CUDA", True, "TRAINER.NAME", method, "OPTIM.NAME", "sgd",
                         "OPTIM.MAX_EPOCH", 20, "TRAINER.PROMPTREG.CACHE", False, "TRAINER.GRAM.META", "demo", *settings])
    cfg.TRAINER[cls.METHOD.SECTION].PREC = precision

    class Method(cls.METHOD):
        def prepare_training(self):
            PROMPTS.append(self.prompts)
            super().prepare_training()
    Method.__name__ = method

    class Counted(cls):
        METHOD = Method

        def build_data_loader(self):
            self.train_loader_x = self.val_loader = self.test_loader = None
            self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=names, published=True))
            self.lab2cname, self.num_classes = dict(enumerate(names)), len(names)
    with mock.patch("trainers.training.trainer.load_clip", load), \
            mock.patch.object(trainers.base.PromptMethod, "template_features", stand_in), \
            mock.patch("trainers.gram.file.read", meta_trained), \
            mock.patch("trainers.clip.load.computes_in_half", lambda device: True):
        return Counted(cfg)


PROMPTS = []  # of the trainer that is being built


def meta_trained(path, command):
    """Return what a meta-trained file would hold for the prompts that are being built."""
    from trainers.regulate.regulator import Regulator
    start = {name: p.detach() for name, p in PROMPTS[-1].named_parameters()}
    return start, Regulator({name: p.shape for name, p in start.items()}), {}


def stand_in(self, *_, **__):
    return torch.empty(len(self.classnames), self.clip.embed_dim, device=self.device)


def class_names(count):
    """Return names of ImageNet's classes, whose lengths are those of the real thing."""
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    return list(IMAGENET_CLASSNAMES)[:count]


def batch_of(method, precision, classes):
    """Return one batch of images as a loader hands it over."""
    size = IMAGES.get(method, 4)
    return {"img": torch.randn(size, 3, 224, 224).pin_memory(),
            "label": torch.randint(classes, (size,)).pin_memory()}


def count(method, precision, classes, backbone):
    """Return {what: figure} of one step."""
    from support.pretend_cuda import PretendCuda
    with PretendCuda(compute=False) as gpu:
        trainer = build(method, precision, classes, backbone)
        trainer.set_model_mode("train")
        for _ in range(2):
            gpu.events.clear()
            trainer.forward_backward(batch_of(method, precision, classes))
    return {"launches": gpu.count("launch"), "views": gpu.count("view"), "synchronizations": gpu.count("sync"),
            "float64": gpu.count("double"), **predicted(gpu, precision)}, gpu


def predicted(gpu, precision):
    """Return {what: milliseconds} by the constants above: the host's side, the device's, a step, a step in a graph."""
    launches = [e for e in gpu.events if e.kind == "launch"]
    busy = [max(e.flops / FLOPS[precision], e.size / BYTES) * 1e3 for e in launches]
    host = [sum(gpu.count(kind) * us[i] for kind, us in HOST_US.items()) / 1e3 for i in (0, 1)]
    least = sum(max(b, e.launches * REPLAY_US / 1e3) for b, e in zip(busy, launches, strict=True))
    return {"host_ms": [round(ms, 1) for ms in host], "device_ms": round(sum(busy), 1),
            "step_ms": [round(max(ms, least), 1) for ms in host], "step_in_graph_ms": round(least, 1)}


def counted(method, precision, classes, backbone, tree=None):
    """Count in a process of its own, with the library of another tree if one is given."""
    command = [sys.executable, __file__, "--one", method, precision, str(classes), backbone]
    done = subprocess.run(command, capture_output=True, text=True, env={
        **os.environ, **({"PROMPTREG_TREE": str(tree)} if tree else {})})
    if done.returncode:
        raise SystemExit(f"{' '.join(command[2:])} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
