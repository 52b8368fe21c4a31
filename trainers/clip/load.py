"""One frozen CLIP, loaded once: both encoders, the logit scale and the tokenizer."""
import functools
import hashlib
import logging
import pickle

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from .. import archive
from ..errors import InputError
from . import weights
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
        fingerprint: hash of the weights' file, for caches.
        name: MODEL.BACKBONE.NAME, where ``load_clip`` made it.
        normalization: (mean, std) that the images of its training had, three numbers each; None where nobody tells.

    Args:
        model: an open_clip model, on its device.
        precision: "fp32", "fp16", "amp" or "bf16".
        path: the file the weights came from.

    Raises:
        InputError: an unknown precision, or a text tower without CLIP's causal transformer.
    """

    def __init__(self, model, precision="fp32", path=None):
        if precision not in COMPUTE:
            raise InputError(f"PREC is {precision!r}: it must be one of {', '.join(COMPUTE)}")
        self.model = model.eval().requires_grad_(False)
        self.device = model.logit_scale.device
        if COMPUTE[precision] == torch.float16 and not computes_in_half(self.device):
            log.warning("PREC %s: PyTorch %s does not compute in half precision on this machine's %s; float32 is taken",
                        precision, torch.__version__, self.device.type)
            precision = "fp32"
        self.path, self.precision, self.name, self.normalization = path, precision, None, None
        self.logit_scale = model.logit_scale.detach().float().exp().squeeze()
        fold_batch_norms(model.visual)
        _lower(model, COMPUTE[precision])
        try:
            self.text = TextEncoder(getattr(model, "text", model))
        except (TypeError, AttributeError) as error:
            raise InputError(f"MODEL.BACKBONE.NAME: this model's text tower takes no prompts ({error}); "
                             "choose one with CLIP's own text transformer") from error
        self.tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=len(self.text.places))
        try:
            self.vision: VisionEncoder | PlainVision = VisionEncoder(model.visual)
        except (TypeError, AttributeError):
            self.vision = PlainVision(model.visual)
        if precision == "fp16":  # as the published code: half precision between the layers too
            self.text.stream = torch.float16
            if isinstance(self.vision, VisionEncoder):
                self.vision.stream = torch.float16
        self.embed_dim = self.text.projection.shape[1]

    @functools.cached_property
    def fingerprint(self):
        with open(self.path, "rb") as file:
            digest = hashlib.blake2b(digest_size=16)
            while block := file.read(1 << 22):
                digest.update(block)
        return digest.hexdigest()

    def exact(self):
        """Return the same weights in float32: this very CLIP, or, where its precision is lower, one read anew."""
        if self.precision == "fp32" or self.name is None:
            return self
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read: not from the caller's draws
            return load_clip(self.name, "fp32", self.device)

    def compare_normalization(self, inputs):
        """Warn where INPUT's PIXEL_MEAN and PIXEL_STD are not those of the images that the weights were trained on."""
        ours = inputs.PIXEL_MEAN, inputs.PIXEL_STD
        if self.normalization and not torch.allclose(torch.tensor(ours), torch.tensor(self.normalization), atol=1e-3):
            mean, std = map(list, self.normalization)
            log.warning("%s: these weights were trained with INPUT.PIXEL_MEAN %s and INPUT.PIXEL_STD %s; this run "
                        "normalizes otherwise, which costs accuracy", self.path, mean, std)


def computes_in_half(device):
    """Return whether this PyTorch multiplies and convolves in float16 on ``device``; 2.1 does not on CPUs."""
    one = torch.ones(1, 1, 1, 1, dtype=torch.float16, device=device)
    try:
        torch.nn.functional.conv2d(one, one)
        torch.nn.functional.linear(one, one[0, 0])
    except RuntimeError:
        return False
    return True


def _lower(model, dtype):
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


def build_from_openai(state):
    """Return an open_clip ``CLIP`` in float32 with the shapes and weights of an OpenAI state dict.

    open_clip's own builder rounds to half precision on the way, which moves the logits by about 3e-3; this one keeps
    every stored bit.

    Raises:
        InputError: names or shapes are not those of a CLIP.
    """
    def count(prefix, part):
        return len({name.split(".")[part] for name in state if name.startswith(prefix)})

    try:
        state = {name: value.float() for name, value in state.items()
                 if name not in ("input_resolution", "context_length", "vocab_size")}
        state = _expand_vocabulary(state)
        width = state["ln_final.weight"].shape[0]
        text = CLIPTextCfg(context_length=state["positional_embedding"].shape[0], width=width, heads=width // 64,
                           vocab_size=state["token_embedding.weight"].shape[0],
                           layers=count("transformer.resblocks.", 2))
        if "visual.proj" in state:
            width, _, patch, _ = state["visual.conv1.weight"].shape
            grid = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
            vision = CLIPVisionCfg(layers=count("visual.transformer.resblocks.", 3), width=width, patch_size=patch,
                                   image_size=patch * grid)
        else:
            grid = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
            vision = CLIPVisionCfg(layers=tuple(count(f"visual.layer{i}.", 2) for i in (1, 2, 3, 4)), patch_size=None,
                                   width=state["visual.layer1.0.conv1.weight"].shape[0], image_size=32 * grid)
        with torch.device("meta"):  # the stored tensors become the model's own: one copy in memory, none initialized
            model = CLIP(state["text_projection"].shape[1], vision, text, quick_gelu=True)
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
        missing = [name for name in missing if not name.endswith("num_batches_tracked")]
        unexpected = [name for name in unexpected if not name.endswith("num_batches_tracked")]
        if missing or unexpected:
            raise KeyError(", ".join((missing or unexpected)[:3]))
        model.attn_mask = torch.full(model.attn_mask.shape, float("-inf")).triu_(1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.num_batches_tracked = None  # not in every file, and nobody trains here
    except (KeyError, RuntimeError, ValueError, ZeroDivisionError, TypeError, AttributeError, IndexError,
            AssertionError) as error:
        raise InputError(f"these are not the weights of a CLIP (trouble with {first_line(error)}): "
                         "correct MODEL.BACKBONE.NAME") from error
    return model


def first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _expand_vocabulary(state):
    """Undo the demo model's short vocabulary: rows that were not stored get the mean of those that were."""
    ids = state.pop("token_ids", None)
    if ids is not None:
        rows, ids = state["token_embedding.weight"], ids.long()
        full = rows.mean(0).repeat(49408, 1)
        if ids.shape != rows.shape[:1] or ids.min() < 0 or ids.max() >= len(full):  # PyTorch 2.1 would write anywhere
            raise ValueError("token_ids")
        full[ids] = rows
        state["token_embedding.weight"] = full
    return state


def load_clip(name, precision="fp32", device="cpu"):
    """Load the frozen CLIP that MODEL.BACKBONE.NAME stands for.

    Args:
        name: CoOp's name, open_clip's ``ARCH:PRETRAINED``, the path of an OpenAI-style ``.pt`` or ``.safetensors``
            file, or ``demo``.
        precision: TRAINER.<METHOD>.PREC.
        device: where to put it.

    Raises:
        InputError: weights missing, damaged, or of a model that takes no prompts.
    """
    path = weights.locate(name)
    arch, tag = (None, "openai") if weights.is_file_name(name) else weights.split_name(name)
    try:
        if tag == "openai":
            model = build_from_openai(weights.read(path))
        else:
            if archive.is_torchscript(path):  # open_clip would let torch.jit.load run it
                raise InputError(f"{path} is a program (TorchScript), not weights: fetch the file again")
            if path.suffix != ".safetensors":
                weights.read(path)  # what PyTorch refuses by a TypeError open_clip would unpickle as it is
            quick_gelu = open_clip.pretrained.get_pretrained_cfg(arch, tag).get("quick_gelu", False)
            model = open_clip.create_model(arch, pretrained=None, precision="fp32", force_quick_gelu=quick_gelu)
            open_clip.load_checkpoint(model, str(path))
    except InputError as error:
        raise (error if str(path) in str(error) else InputError(f"{path}: {error}")) from error
    except (RuntimeError, KeyError, ValueError, EOFError, TypeError, AttributeError, IndexError, StopIteration,
            pickle.UnpicklingError) as error:
        raise InputError(f"{path} does not fit {name} ({first_line(error)[:150]}): fetch the file again") from error
    for part, value in model.named_parameters():
        if not value.sum().isfinite():  # what is not finite stays so in a sum, which reads faster than it compares
            raise InputError(f"{path}: {part} has entries that are not finite: fetch the file again")
    clip = FrozenCLIP(model.to(device), precision, path)
    clip.name, clip.normalization = name, weights.normalization(name)
    return clip
