"""open_clip's architectures: which of them a name means, which the shapes of weights fit, and the model itself."""
import dataclasses
import json
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP, convert_to_custom_text_state_dict

from ..errors import InputError
from ..utils.untrusted import parse_or_none
from . import openai
from .weights import COOP_NAMES

# has no say in what a trained model computes
IGNORED = {"patch_dropout", "output_tokens", "timm_model_pretrained", "hf_model_pretrained", "timm_drop",
           "timm_drop_path", "custom_text", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A model that weights are of.

    Attributes:
        source: who says so, for messages.
        config: open_clip's ``model_cfg``.
        normalization: (mean, std) of the images that it was trained on; None where nobody says.
    """

    source: str
    config: dict
    normalization: tuple | None = None


def named(arch: str) -> list[Architecture]:
    """Return what the name of an architecture may mean: two where CoOp's and open_clip's names are alike (RN50).

    CoOp's names mean OpenAI's models, which have QuickGELU; open_clip's of the same spelling have GELU.
    """
    found = []
    if arch in open_clip.list_models():
        found.append(Architecture(f"open_clip's {arch}", open_clip.get_model_config(arch)))
    if arch in COOP_NAMES:
        config = open_clip.get_model_config(COOP_NAMES[arch])
        found.append(Architecture(f"OpenAI's {arch}", {**config, "quick_gelu": True}))
    return found


def outline(config: dict) -> dict:
    """Return {what: value} of all that decides what a model computes, without open_clip's defaults.

    Raises:
        TypeError, KeyError, ...: it is no config of this open_clip.
    """
    found = {key: value for key, value in config.items() if key not in IGNORED and not key.endswith("_cfg")}
    found["quick_gelu"] = bool(config.get("quick_gelu"))
    for tower, kind in (("vision", CLIPVisionCfg), ("text", CLIPTextCfg)):
        default, own = (dataclasses.asdict(kind(**more)) for more in ({}, config[f"{tower}_cfg"]))
        for key in ("width", "layers", "patch_size", "image_size"):
            default.pop(key, None)
        for values in (default, own):
            width = config[f"{tower}_cfg"].get("width", kind.width)
            values["mlp_ratio"] = int(width * values["mlp_ratio"])  # the hidden width: open_clip rounds down
        if tower == "vision":
            own["image_size"] = _side(own["image_size"])
            own["layers"] = list(own["layers"]) if isinstance(own["layers"], tuple) else own["layers"]
        found |= {f"{tower}_cfg.{key}": value for key, value in own.items()
                  if value != default.get(key) and key not in IGNORED}
    return found


def _side(size: Any) -> Any:
    """Return the side of square images, else both."""
    return size[0] if isinstance(size, (list, tuple)) and size[0] == size[1] else size


def is_timm(config: dict) -> bool:
    """Return whether the vision tower is timm's: its shapes are known once it is built."""
    return bool(config["vision_cfg"].get("timm_model_name"))


def check_towers(config: dict, source: str) -> None:
    """Refuse a text tower that takes no prompts or reads other tokens than CLIP's, and timm's models from elsewhere.

    Raises:
        InputError: it does.
    """
    text = config["text_cfg"]
    own = next((key for key in ("hf_model_name", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs")
                if text.get(key)), "multimodal_cfg" if "multimodal_cfg" in config else None)
    if own:
        raise InputError(f"MODEL.BACKBONE.NAME: the text tower of {source} takes no prompts (it has {own}); choose one "
                         "with CLIP's own text transformer and tokens")
    vision = config["vision_cfg"].get("timm_model_name") or ""
    if ":" in vision:  # a hub's, which would be fetched
        raise InputError(f"{source}: timm_model_name {vision!r} is not supported: give a name of timm's own")


def fits(config: dict, state: dict) -> bool:
    """Return whether the shapes of ``state`` are those of a config (with timm's vision tower, those of the text)."""
    return bool(parse_or_none(lambda state: _fits(config, state), state))


def _fits(config: dict, state: dict) -> bool:
    check_towers(config, "")
    if not has_sizes(config, state) or is_timm(config):
        return has_sizes(config, state)
    tensors = openai.skeleton(_kind(config), config).state_dict(), _arranged(config, state)
    wanted, here = ({name: tuple(value.shape) for name, value in each.items() if _compared(name)} for each in tensors)
    return wanted == here


def has_sizes(config: dict, state: dict) -> bool:
    """Return whether widths, layers, patches, vocabulary and context of ``state`` are a config's: quick to compare."""
    return _numbers(config) == _state_numbers(state)


def _compared(name: str) -> bool:
    return not name.endswith("num_batches_tracked") and not name.startswith("logit_") and name not in openai.OWN_KEYS


def _numbers(config: dict) -> tuple:
    text, vision = CLIPTextCfg(**config["text_cfg"]), CLIPVisionCfg(**config["vision_cfg"])
    several = isinstance(vision.layers, (list, tuple))
    grid = _side(vision.image_size) // (32 if several else vision.patch_size or 1)
    layers = tuple(vision.layers) if several else vision.layers
    return (config["embed_dim"], text.context_length, text.vocab_size, text.width, text.layers,
            "timm" if vision.timm_model_name else (layers, vision.width, grid))


def _state_numbers(state: dict) -> tuple:
    text = openai.text_sizes(state)
    text = tuple(text[key] for key in ("context_length", "vocab_size", "width", "layers"))
    if any(name.startswith("visual.trunk.") for name in state):
        return (state["text_projection"].shape[1], *text, "timm")
    return _numbers(openai.configuration(state))


def fitting(state: dict) -> dict[str, bool]:
    """Return {open_clip's architecture that the shapes of ``state`` fit: whether it has QuickGELU}."""
    return {name: bool(config.get("quick_gelu")) for name in open_clip.list_models()
            if fits(config := open_clip.get_model_config(name), state)}


def _kind(config: dict) -> type:
    return CustomTextCLIP if config.get("custom_text") else CLIP


def _arranged(config: dict, state: dict) -> dict:
    return convert_to_custom_text_state_dict(state) if _kind(config) is CustomTextCLIP else state


def build(config: dict, state: dict) -> torch.nn.Module:
    """Return the open_clip model of a config with the weights of ``state``, in float32.

    Raises:
        KeyError, RuntimeError, ...: the weights are of another.
    """
    state = _arranged(config, openai.prepared(state))
    if not is_timm(config):
        return openai.assemble(_kind(config), config, state)
    sizes = {key: value for key, value in config.items() if key != "custom_text"}
    sizes["vision_cfg"] = {**config["vision_cfg"], "timm_model_pretrained": False}  # which would be fetched
    model = _kind(config)(**sizes)
    model.load_state_dict(state)
    return model


def variant(config: dict, state: dict) -> str:
    """Return what distinguishes this model from others that the same file could be; "" where it is as OpenAI's."""
    mine = outline(config)
    usual = not is_timm(config) and mine == outline(openai.configuration(state))
    return "" if usual else json.dumps(mine, sort_keys=True)
