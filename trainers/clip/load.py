"""One frozen CLIP, loaded once: both encoders, the logit scale and the tokenizer."""
import functools
import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from yacs.config import CfgNode

from ..errors import InputError
from ..utils import torch_archive
from ..utils.untrusted import read_untrusted
from . import architecture, identify, weights
from .openai import build_from_openai
from .text import TextEncoder
from .vision import PlainVision, VisionEncoder, fold_batch_norms

log = logging.getLogger("promptreg")
COMPUTE = {"fp32": torch.float32, "fp16": torch.float16, "amp": torch.float16, "bf16": torch.bfloat16}


class FrozenCLIP:
    """A CLIP that no optimizer sees.

    Attributes:
        text: ``TextEncoder``.
        vision: ``VisionEncoder``, or ``PlainVision`` where prompts cannot enter the vision tower (ResNets).
        logit_scale: exp of the learned temperature, a float32 scalar tensor.
        tokenizer: open_clip's byte-pair tokenizer, of this text tower's context length.
        embed_dim: E, width of the features.
        fingerprint: hash of the weights' file and, where that does not determine the model, of its architecture.
        variant: the architecture where the file does not determine it; "" for OpenAI's and for published names.
        name: MODEL.BACKBONE.NAME, where ``load_clip`` made it.
        known_tokens: the tokens that its training has seen, where that is recorded (the demo's); else None.
        normalization: (mean, std) that the images of its training had, three numbers each; None where nobody tells.

    Args:
        model: an open_clip model, on its device.
        precision: "fp32", "fp16", "amp" or "bf16".
        path: the file the weights came from.

    Raises:
        InputError: an unknown precision, or a text tower without CLIP's causal transformer.
    """

    def __init__(self, model: torch.nn.Module, precision: str = "fp32", path: Path | None = None) -> None:
        if precision not in COMPUTE:
            raise InputError(f"PREC is {precision!r}: it must be one of {', '.join(COMPUTE)}")
        self.model = model.eval().requires_grad_(False)
        self.device = model.logit_scale.device
        if COMPUTE[precision] == torch.float16 and not computes_in_half(self.device):
            log.warning("PREC %s: PyTorch %s does not compute in half precision on this machine's %s; float32 is taken",
                        precision, torch.__version__, self.device.type)
            precision = "fp32"
        self.path, self.precision, self.normalization = path, precision, None
        self.name: str | None = None
        self.variant = ""
        self.known_tokens: frozenset[int] | None = getattr(model, "known_tokens", None)
        self.logit_scale = model.logit_scale.detach().float().exp().squeeze()
        fold_batch_norms(model.visual)
        _lower(model, COMPUTE[precision])
        try:
            self.text = TextEncoder(getattr(model, "text", model))
        except (TypeError, AttributeError) as error:
            raise InputError(f"MODEL.BACKBONE.NAME: this model's text tower takes no prompts ({error}); "
                             "choose one with CLIP's own text transformer") from error
        self.tokenizer = byte_pair_tokenizer(len(self.text.positional_embedding))
        try:
            self.vision: VisionEncoder | PlainVision = VisionEncoder(model.visual)
        except (TypeError, AttributeError):
            self.vision = PlainVision(model.visual)
        if precision == "fp16":  # as the published code: half precision between the layers too
            self.text.residual_dtype = torch.float16
            if isinstance(self.vision, VisionEncoder):
                self.vision.residual_dtype = torch.float16
        self.embed_dim = self.text.projection.shape[1]

    @functools.cached_property
    def fingerprint(self) -> str:
        if self.path is None:
            raise ValueError("a CLIP that was not loaded from a file has no fingerprint")
        return with_variant(weights.fingerprint(self.path), self.variant)

    def exact(self) -> "FrozenCLIP":
        """Return the same weights in float32: this very CLIP, or, where its precision is lower, one read anew."""
        if self.precision == "fp32" or self.name is None:
            return self
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read: not from the caller's draws
            return load_clip(self.name, "fp32", self.device)

    def compare_normalization(self, inputs: CfgNode) -> None:
        """Warn where INPUT's PIXEL_MEAN and PIXEL_STD are not those of the images that the weights were trained on."""
        ours = inputs.PIXEL_MEAN, inputs.PIXEL_STD
        if self.normalization and not np.allclose(ours, self.normalization, atol=1e-3):
            mean, std = map(list, self.normalization)
            log.warning("%s: these weights were trained with INPUT.PIXEL_MEAN %s and INPUT.PIXEL_STD %s; this run "
                        "normalizes otherwise, which costs accuracy", self.path, mean, std)


@functools.cache
def byte_pair_tokenizer(context_length: int) -> open_clip.tokenizer.SimpleTokenizer:
    """Return CLIP's tokenizer; it takes 0.1 s to make, and all models of one context length share it."""
    return open_clip.tokenizer.SimpleTokenizer(context_length=context_length)


def computes_in_half(device: torch.device | str) -> bool:
    """Return whether this PyTorch multiplies and convolves in float16 on ``device``; 2.1 does not on CPUs."""
    one = torch.ones(1, 1, 1, 1, dtype=torch.float16, device=device)
    try:
        torch.nn.functional.conv2d(one, one)
        torch.nn.functional.linear(one, one[0, 0])
    except RuntimeError:
        return False
    return True


def _lower(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast what matrix products read to ``dtype``; norms, embeddings and the scale stay float32 in transformers."""
    if dtype == torch.float32:
        return
    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.BatchNorm2d)):
            module.to(dtype)
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.in_proj_weight.data = module.in_proj_weight.data.to(dtype)
            module.in_proj_bias.data = module.in_proj_bias.data.to(dtype)
        for name in ("text_projection", "proj"):
            parameter = getattr(module, name, None)
            if isinstance(parameter, torch.nn.Parameter):
                parameter.data = parameter.data.to(dtype)
        if type(module).__name__ == "AttentionPool2d":
            module.to(dtype)


def load_clip(name: str, precision: str = "fp32", device: torch.device | str = "cpu") -> FrozenCLIP:
    """Load the frozen CLIP that MODEL.BACKBONE.NAME stands for.

    Args:
        name: CoOp's name, open_clip's ``ARCH:PRETRAINED``, ``ARCH:PATH`` of a file, the path alone of one that says
            which model it is, or ``demo``.
        precision: TRAINER.<METHOD>.PREC.
        device: where to put it.

    Raises:
        InputError: weights missing, damaged, or of a model that takes no prompts.
    """
    path = weights.locate(name)
    named = weights.file_of(name)
    build = (lambda path: _by_path(*named)) if named else (
        lambda path: (_published(name, path), "", weights.normalization(name)))
    try:
        model, variant, normalization = read_untrusted(path, build, lambda reason:
                                                       f"{path} does not fit {name} ({reason}): fetch the file again")
    except InputError as error:
        raise (error if str(path) in str(error) else InputError(f"{path}: {error}")) from error
    for part, value in model.named_parameters():
        if not value.sum().isfinite():  # what is not finite stays so in a sum, which reads faster than it compares
            raise InputError(f"{path}: {part} has entries that are not finite: fetch the file again")
    clip = FrozenCLIP(model.to(device), precision, path)
    clip.name, clip.normalization, clip.variant = name, normalization, variant
    return clip


def fingerprint_of(name: str) -> str:
    """Return the ``fingerprint`` of the CLIP that a name stands for, without building it.

    Raises:
        InputError: as ``load_clip``.
    """
    path, named = weights.locate(name), weights.file_of(name)
    if not named:
        return weights.fingerprint(path)
    found, state = identify.resolve(*named, weights.read_weights(path))
    return with_variant(weights.fingerprint(path), architecture.variant(found.config, state))


def with_variant(of_file: str, variant: str) -> str:
    """Return the hash of a CLIP from its file's and the architecture, where the file does not determine it."""
    return hashlib.blake2b(f"{of_file} {variant}".encode(), digest_size=16).hexdigest() if variant else of_file


def _by_path(arch: str, path: Path) -> tuple[torch.nn.Module, str, Any]:
    """Return (model, variant, normalization) of a file of weights, ``arch`` what the name says of it or ""."""
    found, state = identify.resolve(arch, path, weights.read_weights(path))
    variant = architecture.variant(found.config, state)
    model = build_from_openai(state) if not variant else read_untrusted(
        state, lambda state: architecture.build(found.config, state), lambda reason:
        f"{path} does not have the shapes of {found.source} ({reason}): correct MODEL.BACKBONE.NAME")
    return model, variant, found.normalization


def _published(name: str, path: Path) -> torch.nn.Module:
    """Return the model of a published name with the weights in its file.

    Raises:
        InputError: the file holds another's.
    """
    arch, tag = weights.split_name(name)
    config = open_clip.get_model_config(arch)
    architecture.check_towers(config, arch)
    if tag == "openai":
        state = weights.read_weights(path)
        model = build_from_openai(state)
        if not architecture.has_sizes(config, state):
            raise InputError(f"{path} holds another model than {name}, by its shapes: fetch the file again")
        return model
    if torch_archive.is_torchscript(path):  # open_clip would let torch.jit.load run it
        raise InputError(f"{path} is a program (TorchScript), not weights: fetch the file again")
    if path.suffix != ".safetensors":
        weights.read_weights(path)  # what PyTorch refuses by a TypeError open_clip would unpickle as it is
    quick_gelu = open_clip.pretrained.get_pretrained_cfg(arch, tag).get("quick_gelu", False)
    model = open_clip.create_model(arch, pretrained=None, precision="fp32", force_quick_gelu=quick_gelu)
    open_clip.load_checkpoint(model, str(path))
    return model
