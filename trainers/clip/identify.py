"""Finds out which model a file of weights is: shapes tell neither the activation nor the attention heads.

MODEL.BACKBONE.NAME says it (``ARCH:PATH``), the file (OpenAI's own entries, a published file's check sum), or the
config file that model hubs keep beside it. Two that differ are refused, and so is a file of which nobody says it.
"""
import hashlib
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import open_clip
from open_clip.pretrained import get_pretrained_cfg, list_pretrained

from ..errors import InputError
from ..utils.hashing import file_digest
from ..utils.untrusted import read_untrusted
from . import architecture, hf, openai, weights
from .architecture import Architecture, outline

log = logging.getLogger("promptreg")
HUB_NAMES = (*weights.HUB_FILES, "model.safetensors", "pytorch_model.bin")
OPENAI_STYLE = "openai"  # in place of ARCH: shapes from the file, QuickGELU, heads of width 64


def resolve(given: str, path: Path, stored: dict) -> tuple[Architecture, dict]:
    """Return the architecture of the weights in a file, and the weights under OpenAI's names.

    Args:
        given: what MODEL.BACKBONE.NAME says: open_clip's or CoOp's name of an architecture, "openai", or "".
        path: of the file.
        stored: the state dict in it.

    Raises:
        InputError: nobody says it, two say different things, or the shapes are of another.
    """
    state = read_untrusted(stored, _layout, openai.not_a_clip)
    said = _in_file(state) or _beside(path, state, hf.is_transformers(stored)) or _published(path)
    if given == OPENAI_STYLE:
        asked = [Architecture("OpenAI's layout", openai.configuration(state))]
    else:
        asked = architecture.named(given)
    found = _agreed(asked, said, given, path)
    if found is None:
        raise InputError(_nobody_says(path, state, hf.is_transformers(stored)))
    architecture.check_towers(found.config, found.source)
    if not architecture.has_sizes(found.config, state):
        raise InputError(f"{path} does not have the shapes of {found.source}: give ARCH:{path}, {_choices(state)}")
    return found, state


def _layout(stored: dict) -> dict:
    """Return a state dict under OpenAI's names. Raises KeyError, ValueError or another where it is not a CLIP's."""
    state = hf.to_openai(stored) if hf.is_transformers(stored) else stored
    if "text.token_embedding.weight" in state:  # open_clip's with a text tower of its own
        state = {name.removeprefix("text."): value for name, value in state.items()}
    timm = any(name.startswith("visual.trunk.") for name in state)
    (openai.text_sizes if timm else openai.configuration)(state)
    return state


def _agreed(asked: list[Architecture], said: Architecture | None, given: str, path: Path) -> Architecture | None:
    """Return the one of ``asked`` that ``said`` does not contradict."""
    if not said or not asked:
        if len(asked) > 1:
            log.warning("%s:%s is built as open_clip's %s, with GELU; OpenAI's weights need QuickGELU: "
                        "%s-quickgelu:%s", given, path, given, given, path)
        return asked[0] if asked else said
    for one in asked:
        if outline(one.config) == outline(said.config):
            return Architecture(one.source, one.config, said.normalization)
    mine, theirs = outline(asked[0].config), outline(said.config)
    differs = [f"{key} {mine.get(key, 'the default')} and {theirs.get(key, 'the default')}"
               for key in sorted(mine.keys() | theirs.keys()) if mine.get(key) != theirs.get(key)]
    raise InputError(f"MODEL.BACKBONE.NAME says that {path} is {asked[0].source}, and {said.source} says otherwise "
                     f"({'; '.join(differs[:3])}): correct the one that is wrong, or give the path alone")


def _in_file(state: dict) -> Architecture | None:
    if not openai.is_openais(state):
        return None
    return Architecture("the file (it has OpenAI's own entries)", openai.configuration(state),
                        openai.NORMALIZATION)


def _beside(path: Path, state: dict, transformers: bool) -> Architecture | None:
    """Return what open_clip's or transformers' config file says of the weights beside it, or None."""
    config = path.parent / ("config.json" if transformers else "open_clip_config.json")
    if not config.is_file() or not _is_about(path):
        return None
    return read_untrusted(config, lambda config: _described(config, state, transformers), lambda reason:
                          f"{config} does not describe a model that open_clip {open_clip.__version__} knows (trouble "
                          f"with {reason[:80]}): correct it, or move it away and give ARCH:{path}")


def _described(config: Path, state: dict, transformers: bool) -> Architecture:
    """Return the architecture that a config file describes."""
    about = read_json(config)
    if transformers:
        found, images = hf.config_of(about, state, config), config.parent / "preprocessor_config.json"
        images = read_json(images) if images.is_file() else {}
        mean, std = images.get("image_mean"), images.get("image_std")
    else:
        found, images = about["model_cfg"], about.get("preprocess_cfg") or {}
        mean, std = images.get("mean"), images.get("std")
        outline(found), architecture.has_sizes(found, state)
    return Architecture(str(config), found, (_three(mean), _three(std)) if mean and std else None)


def _three(numbers: Iterable[float]) -> tuple[float, float, float]:
    """Return an image's numbers, one a channel."""
    red, green, blue = map(float, numbers)
    return red, green, blue


def _is_about(path: Path) -> bool:
    """Whether a config file beside ``path`` can only be about it: a hub's name, or the folder's only weights."""
    return path.name in HUB_NAMES or sum(other.name.lower().endswith(weights.SUFFIXES) for other in
                                         path.parent.iterdir()) == 1


def read_json(path: Path) -> dict:
    """Read an object of a JSON file.

    Raises:
        InputError: it holds none.
    """
    found = read_untrusted(path, lambda path: json.loads(path.read_text("utf-8")), lambda reason:
                           f"{path} is not valid JSON ({reason[:80]}): fetch it again, or move it away")
    if not isinstance(found, dict):
        raise InputError(f"{path} is a {type(found).__name__}, it must be an object: fetch it again, or move it away")
    return found


def _published(path: Path) -> Architecture | None:
    """Return the model of a file with the check sum of one that open_clip lists, or None."""
    digest = file_digest(path, hashlib.sha256())
    for arch, tag in list_pretrained():
        about = get_pretrained_cfg(arch, tag)
        sums = re.findall(r"/([0-9a-f]{64})/[^/]+$|-([0-9a-f]{8})\.[a-z]+$", about.get("url") or "")
        if any(digest.startswith(sum_) for sum_ in map("".join, sums)):
            config = {**open_clip.get_model_config(arch), "quick_gelu": about.get("quick_gelu", False)}
            return Architecture(f"its check sum, of {arch}:{tag},", config, (about["mean"], about["std"]))
    return None


def _nobody_says(path: Path, state: dict, transformers: bool) -> str:
    lacks, config = ("does not say which model it is, and shapes do not tell activation and attention heads",
                     "open_clip_config.json")
    if transformers:
        lacks, config = "is of the transformers library, and no config.json of it tells its activation", "config.json"
    alone = f", or keep its {config} beside it" + (", and no other weights" if (path.parent / config).is_file() else "")
    return f"{path} {lacks}: give MODEL.BACKBONE.NAME as ARCH:{path}, {_choices(state)}{alone}"


def _choices(state: dict) -> str:
    """Return the end of a refusal: what ARCH may be."""
    names = [f"{name} ({'QuickGELU, as OpenAI has' if quick else 'GELU'})"
             for name, quick in architecture.fitting(state).items()]
    if names:
        return f"ARCH one of those that fit: {', '.join(names)}"
    return f"ARCH {OPENAI_STYLE} if it is made as OpenAI's: QuickGELU, heads of 64 (none of open_clip's fits)"
