"""Runs a trainer on the golden files' tiny CLIP and batches, through the ordinary Dassl loop."""
import re
from types import SimpleNamespace

import numpy as np
import torch
from golden import tiny_clip
from safetensors.torch import save_file

import trainers  # noqa: F401
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from support import plain
from trainers.compat.registry import TRAINERS

ADAM = ["OPTIM.NAME", "adam", "OPTIM.ADAM_EPS", 1e-3]
# golden file -> trainer, kind of tiny CLIP, config
CASES = {
    "promptsrc": ("PromptSRC", "vit", ["TRAINER.PROMPTSRC.GPA_MEAN", 2, "TRAINER.PROMPTSRC.GPA_STD", 1]),
    "promptsrc_depth3": ("PromptSRC", "vit", ["TRAINER.PROMPTSRC.GPA_MEAN", 2, "TRAINER.PROMPTSRC.GPA_STD", 10,
                                              "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", 3,
                                              "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", 3]),
    "ivlp": ("IVLP", "vit", ["TRAINER.IVLP.N_CTX_TEXT", 4, "TRAINER.IVLP.N_CTX_VISION", 4]),
    "vpt": ("VPT", "vit", ["TRAINER.VPT.N_CTX_VISION", 8, "TRAINER.VPT.PROMPT_DEPTH_VISION", 12]),
    "coop_end": ("CoOp", "vit", []),
    "coop_middle": ("CoOp", "vit", ["TRAINER.COOP.N_CTX", 4, "TRAINER.COOP.CLASS_TOKEN_POSITION", "middle"]),
    "coop_front": ("CoOp", "vit", ["TRAINER.COOP.N_CTX", 4, "TRAINER.COOP.CLASS_TOKEN_POSITION", "front"]),
    "coop_csc": ("CoOp", "vit", ["TRAINER.COOP.N_CTX", 4, "TRAINER.COOP.CSC", True]),
    "coop_rn": ("CoOp", "rn", []),
    "maple": ("MaPLe", "wide", ["TRAINER.MAPLE.PROMPT_DEPTH", 3]),
    "kgcoop": ("KgCoOp", "vit", ["TRAINER.COOP.N_CTX", 4, "TRAINER.COOP.CTX_INIT", True]),
    "cocoop": ("CoCoOp", "vit", ["TRAINER.COCOOP.CTX_INIT", "a photo of a"]),
    "prograd": ("ProGrad", "rn", ["TRAINER.COOP.CTX_INIT", True]),
    "prograd_lambda0": ("ProGrad", "rn", ["TRAINER.COOP.CTX_INIT", True, "LOSS.LAMBDA", 0.0]),
    "prograd_lambda08": ("ProGrad", "vit", ["LOSS.LAMBDA", 0.8]),
    "mma": ("MultiModalAdapter", "vit", ["OPTIM.WARMUP_EPOCH", 0]),
    "mma_scale1": ("MultiModalAdapter", "vit", ["OPTIM.WARMUP_EPOCH", 0, "TRAINER.MMADAPTER.ADAPTER_START", 11,
                                                "TRAINER.MMADAPTER.ADAPTER_DIM", 16,
                                                "TRAINER.MMADAPTER.ADAPTER_SCALE", 1.0]),
    "prometar": ("ProMetaR", "vit", []),
    "prometar_strong": ("ProMetaR", "vit", ["TRAINER.PROMETAR.PROMPT_DEPTH_TEXT", 3,
                                            "TRAINER.PROMETAR.PROMPT_DEPTH_VISION", 3,
                                            "TRAINER.PROMETAR.ADAPT_LR", 0.005, "TRAINER.PROMETAR.LR_RATIO", 1.0]),
    "tcp": ("TCP", "vit", ADAM),
    "tcp_eps1e8": ("TCP", "vit", ADAM[:2]),
    "tcp_ucf101": ("TCP", "vit", [*ADAM, "DATASET.NAME", "UCF101"]),
    "dept_coop": ("DePT+CoOp", "vit", []),
    "dept_cocoop": ("DePT+CoCoOp", "vit", ["TRAINER.COCOOP.CTX_INIT", "a photo of a"]),
    "dept_kgcoop": ("DePT+KgCoOp", "vit", ["TRAINER.COOP.CTX_INIT", True, "TRAINER.COOP.W", 2.0]),
    "dept_maple": ("DePT+MaPLe", "wide", ["TRAINER.MAPLE.PROMPT_DEPTH", 3]),
}
START_SIZE = {"MultiModalAdapter": 0.2}
LR = {"PromptSRC": 0.0025, "ProMetaR": 0.0025, "IVLP": 0.0025, "VPT": 0.0025, "MaPLe": 0.0035,
      "MultiModalAdapter": 0.0015, "DePT+CoOp": 0.0035, "DePT+KgCoOp": 0.0035, "DePT+MaPLe": 0.0035}


def openai_state(kind, layers=99):
    """Return the tiny CLIP's first layers as OpenAI stores a CLIP: with the entries that tell its files from others."""
    state = {name: torch.as_tensor(np.asarray(value)) for name, value in tiny_clip.state_dict(kind).items()
             if int((re.findall(r"resblocks\.(\d+)", name) or [0])[0]) < layers}
    return state | {"input_resolution": torch.tensor(tiny_clip.CONFIG[kind]["image_size"]),
                    "context_length": torch.tensor(77), "vocab_size": torch.tensor(49408)}


def weights_file(kind, folder, layers=99):
    """Write the tiny CLIP as a safetensors file in OpenAI's naming; returns its path."""
    path = folder / f"tiny_{kind}.safetensors"
    if not path.exists():
        save_file(openai_state(kind, layers), path)
    return path


def config(case, weights, output, new=False):
    """Return (trainer name, config) of a golden case."""
    name, kind, own = CASES[case]
    cfg = get_cfg_default()
    cfg.merge_from_list(["DATASET.NAME", "OxfordPets", "MODEL.BACKBONE.NAME", str(weights), "USE_CUDA", False,
                         "OUTPUT_DIR", str(output), "TRAINER.NAME", name, "TRAINER.PROMPTREG.CACHE", False,
                         "OPTIM.NAME", "sgd", "OPTIM.LR", LR.get(name, 0.002), "OPTIM.MAX_EPOCH", 3,
                         "OPTIM.LR_SCHEDULER", "cosine", "OPTIM.WARMUP_EPOCH", 1, "OPTIM.WARMUP_TYPE", "constant",
                         "OPTIM.WARMUP_CONS_LR", 1e-5, "TEST.NO_TEST", True, "TRAIN.PRINT_FREQ", 1])
    for section in ("COOP", "COCOOP", "IVLP", "VPT", "PROMPTSRC", "MAPLE", "TCP", "MMADAPTER", "PROMETAR"):
        cfg.TRAINER[section].PREC = "fp32"
    cfg.merge_from_list(own)
    return name, cfg


def batches(kind, name):
    """The golden batches as Dassl's batch dicts."""
    size = 1 if name.endswith("CoCoOp") else 4
    return [{"img": torch.tensor(images), "label": torch.tensor(labels),
             "impath": [f"{i}-{j}.jpg" for j in range(size)]}
            for i, (images, labels) in enumerate(tiny_clip.batches(kind, batch_size=size))]


def make(case, weights, output, new=False, path="fast", settings=()):
    """Build the trainer of a golden case on the golden batches.

    Args:
        new: give it the new class names.
        path: "fast", "chunked" (classes in several chunks, recomputed) or "plain" (tests/support/plain.py).
        settings: more KEY VALUE pairs.

    The trainer records, per step: learning rate, figures, gradients and parameters.
    """
    name, cfg = config(case, weights, output)
    cfg.merge_from_list(list(settings))
    if path == "chunked":
        cfg.TRAINER.PROMPTREG.TEXT_MEMORY = 1e-9
    kind = CASES[case][1]
    classnames = tiny_clip.NEW_CLASSNAMES if new else tiny_clip.CLASSNAMES

    trainer_class = TRAINER_REGISTRY.get(TRAINERS.find(name))

    class Method(trainer_class.METHOD):
        def template_features(self, templates, normalize_each=False, exact=False):
            if path == "plain":
                return plain.template_features(self.clip, self.classnames, templates, normalize_each)
            return super().template_features(templates, normalize_each, exact)

    Method.__name__ = trainer_class.METHOD.__name__  # its checkpoint is to name the method

    class Golden(trainer_class):
        METHOD = Method

        def build_data_loader(self):
            self.train_loader_x = batches(kind, name)
            self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=classnames, train_x=[], val=None,
                                                              test=[]))
            self.val_loader, self.test_loader, self.lab2cname = None, None, dict(enumerate(classnames))
            self.num_classes = len(classnames)
            self.record = []

        def forward_backward(self, batch):
            lr, grads = self.get_current_lr(), []
            named = dict(self.model.prompts.named_parameters())
            hook = self.optim.register_step_pre_hook(lambda *_: grads.append(
                {n: p.grad.clone() for n, p in named.items() if p.grad is not None}))
            if name == "ProMetaR":
                torch.manual_seed(5000 + len(self.record))
            summary = super().forward_backward(batch)
            hook.remove()
            self.record.append({
                "lr": lr, "lr_last": self.optim.param_groups[-1]["lr"],
                "summary": {k: v.item() for k, v in summary.items()},
                "grad": grads[0] if grads else {},  # amp may leave a step out
                "param": {n: p.detach().clone() for n, p in named.items()}})
            if name == "ProMetaR":
                vnet = {f"vnet.{n}": p.grad.clone() for n, p in self.model.vnet.named_parameters()}
                self.record[-1] |= {"grad_meta": grads[1] | vnet,
                                    "lr_vnet": self.model.second_optimizer.param_groups[0]["lr"]}
            return summary

    trainer = Golden(cfg)
    return plain.make_plain(trainer) if path == "plain" else trainer


@torch.no_grad()
def start_from(trainer, golden):
    """Set the prompts to the golden initial ones: those that are not recorded by the recipe in the golden README."""
    draws, size = np.random.RandomState(7), START_SIZE.get(type(trainer.model).__name__, 0.02)
    for name, parameter in sorted(trainer.model.prompts.named_parameters()):
        start = golden.get(f"init/{name}")
        if name != "prompt_learner.ctx":  # from the words, or recorded
            drawn = size * draws.standard_normal(tuple(parameter.shape))
            start = drawn if start is None else start
        if start is not None:
            parameter.copy_(torch.tensor(start))
    for _, parameter in sorted(trainer.model.vnet.named_parameters()) if hasattr(trainer.model, "vnet") else ():
        parameter.copy_(torch.tensor(0.05 * draws.standard_normal(tuple(parameter.shape))))


def evaluate(trainer, images):
    trainer.set_model_mode("eval")
    return trainer.model_inference(images)
