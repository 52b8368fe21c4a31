"""Trained prompts as plain data, or the classifier as an ONNX model.

FILE.safetensors holds the prompts, the text features [C, E] and, as metadata, method, config and class names: all that
``PromptedCLIP.from_checkpoint`` needs besides CLIP's weights. FILE.onnx maps images [B, 3, S, S] to logits [B, C], and
says in its metadata what the logits are of and how an image becomes its input (``onnx_metadata``).
``to_published`` writes a checkpoint as the method's published implementation names and reads it.
"""
import contextlib
import inspect
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from torchvision.transforms import Normalize

from .. import __version__
from ..clip import fused
from ..config.yaml_text import dumped
from ..errors import InputError, SetupError
from ..training import checkpoint
from ..training.trained import read_trained
from ..utils import atomic
from .prompted_clip import PromptedCLIP, method_of

OPSET = 18


def to_safetensors(model: PromptedCLIP, path: str | Path) -> None:
    """Write the prompts of a ``PromptedCLIP`` and, where they depend on no image, its text features."""
    if not model.method.own_classes:
        raise InputError(f"{type(model.method).__name__} has a classifier of the classes that it was trained on: "
                         "export it with these; others are named where the file is loaded")
    tensors = {f"prompts.{name}": value.detach().cpu().contiguous()
               for name, value in model.method.prompts.state_dict().items()}
    with contextlib.suppress(InputError):  # CoCoOp has none
        tensors["text_features"] = model.encode_text().detach().cpu().contiguous()
    about = {"trainer": type(model.method).__name__, "config": dumped(model.method.cfg),
             "classnames": model.classnames, "identity": model.identity,
             "notes": list(model.method.notes)}
    atomic.write_file(path, save(tensors, {"promptreg": json.dumps(about)}))


class ImageBranch(nn.Module):
    """Images [B, 3, S, S] to logits [B, C], the scaled text features a constant."""

    def __init__(self, model: PromptedCLIP) -> None:
        super().__init__()
        self.method, self.visual = model.method, model.method.clip.model.visual
        self.register_buffer("classes", (model.logit_scale * model.encode_text()).T.detach().clone())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.method.fused(self.method.image_features(images) @ self.classes)


def to_onnx(model: PromptedCLIP, path: str | Path) -> None:
    """Write the image branch of a ``PromptedCLIP`` with its text features baked in; any batch size.

    Raises:
        InputError: CoCoOp, whose text features depend on the image.
        SetupError: the packages for it are not installed.
    """
    branch = ImageBranch(model).eval()
    example = torch.zeros(2, 3, model.image_size, model.image_size, device=model.device)
    names = {"input_names": ["images"], "output_names": ["logits"], "opset_version": OPSET}
    current = "dynamo" in inspect.signature(torch.onnx.export).parameters
    if current:
        names |= {"dynamo": True, "dynamic_shapes": {"images": {0: torch.export.Dim("batch")}}, "external_data": False}
    else:
        names["dynamic_axes"] = {"images": {0: "batch"}, "logits": {0: "batch"}}
    level = logging.getLogger("onnxscript").level
    try:
        with atomic.atomic_open(path) as file, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.getLogger("onnxscript").setLevel(logging.ERROR)
            with torch.no_grad(), fused.plain():  # a file of operators holds no kernel of ours
                torch.onnx.export(branch, (example,), file.name, **names)
            _add_metadata(file.name, onnx_metadata(model))
    except ImportError as error:
        raise SetupError(f'ONNX export needs more packages ({error}): pip install "promptreg[onnx]"') from error
    finally:
        logging.getLogger("onnxscript").setLevel(level)


def onnx_metadata(model: PromptedCLIP) -> dict[str, str]:
    """Return what an ONNX file says of itself, as ``metadata_props``; lists and numbers are JSON.

    Returns:
        ``classnames`` (of the logits, in order), ``image_size`` (pixels a side; the shorter one is scaled to it, the
        middle cut out), ``interpolation``, ``mean`` and ``std`` (of pixels scaled to 0..1, for red, green, blue),
        ``logits`` (how they become probabilities), ``trainer``, ``prompts`` ("learned", or "templates" of zero-shot
        CLIP), ``templates`` (those, with {} for the class name) or ``prompt_settings`` (the method's config section),
        ``backbone``, ``identity``, ``promptreg`` (version).
    """
    cfg = model.method.cfg
    steps = [step for step in model.preprocess.transforms if isinstance(step, Normalize)]
    mean, std = (steps[0].mean, steps[0].std) if steps else ([0.0] * 3, [1.0] * 3)
    return {"classnames": json.dumps(list(model.classnames), ensure_ascii=False), "image_size": str(model.image_size),
            "interpolation": cfg.INPUT.INTERPOLATION, "mean": json.dumps(list(mean)),
            "std": json.dumps(list(std)), "logits": "softmax over the last axis gives probabilities",
            "trainer": type(model.method).__name__, **_prompts(model.method), "backbone": str(cfg.MODEL.BACKBONE.NAME),
            "identity": json.dumps(model.identity), "promptreg": __version__}


def _prompts(method: Any) -> dict[str, str]:
    if hasattr(method, "sentences"):
        return {"prompts": "templates", "templates": json.dumps(method.sentences())}
    return {"prompts": "learned", "prompt_settings": json.dumps(dict(method.method_cfg))}


def _add_metadata(path: str, about: dict[str, str]) -> None:
    import onnx
    content = onnx.load(path)
    onnx.helper.set_model_props(content, about)
    onnx.save(content, path)


def to_published(source: str | Path, folder: str | Path, trainer: str | None = None) -> Path:
    """Write a checkpoint for a method's published implementation to read: its --model-dir is then ``folder``.

    Args:
        source: a checkpoint or a run's output folder.
        folder: gets ``FOLDER/model.pth.tar-EPOCH``, FOLDER being the method's.
        trainer: the method, for a checkpoint that does not say.

    Returns:
        The path of the file.

    Raises:
        InputError: no such checkpoint, a damaged one, of an unknown method, or where it would write lies another.
    """
    source = Path(source)
    if source.suffix == ".safetensors":
        raise InputError(f"{source} is an exported file already: give the run's folder, or its checkpoint")
    if source.is_dir():
        source = checkpoint.find_checkpoint(source, checkpoint.FOLDERS[0])
    trained = read_trained(source)
    if trained.epoch is None:
        raise InputError(f"{source} does not say its epoch, after which the file would be named: give another")
    method = method_of(trained, trainer)
    target = Path(folder) / method.FOLDER / f"{checkpoint.STEM}{trained.epoch}"
    if target.exists() or target.parent.resolve() == source.parent.resolve():  # the source can be resumed, a copy not
        raise InputError(f"{target} would be written over, or beside, a checkpoint: give another folder")
    checkpoint.export(trained.state_dict, trained.epoch, target, method.WHOLE_MODEL)
    return target


FORMATS = {".safetensors": to_safetensors, ".onnx": to_onnx}
