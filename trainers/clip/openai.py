"""OpenAI's CLIP: QuickGELU, attention heads of width 64, and every other size read from the shapes of the weights."""
from typing import Any

import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from ..utils.untrusted import read_untrusted

NORMALIZATION = OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
OWN_KEYS = ("input_resolution", "context_length", "vocab_size")  # entries of OpenAI's own files, and of no others


def is_openais(state: dict) -> bool:
    """Return whether a state dict has entries that only OpenAI's own files have, or is the demo's."""
    return "token_ids" in state or all(name in state for name in OWN_KEYS)


def configuration(state: dict) -> dict:
    """Return open_clip's config (``model_cfg``) of an OpenAI CLIP with the shapes of ``state``.

    Raises:
        KeyError, ValueError, ...: names or shapes are not those of a CLIP.
    """
    text = text_sizes(state)
    return {"embed_dim": state["text_projection"].shape[1], "quick_gelu": True, "vision_cfg": _vision(state),
            "text_cfg": text}


def text_sizes(state: dict) -> dict:
    """Return the ``text_cfg`` of the text tower in ``state``."""
    width = state["ln_final.weight"].shape[0]
    return {"context_length": state["positional_embedding"].shape[0], "width": width, "heads": width // 64,
            "vocab_size": state["token_embedding.weight"].shape[0], "layers": _count(state, "transformer.resblocks.")}


def _vision(state: dict) -> dict[str, Any]:
    if "visual.proj" in state:
        width, _, patch, _ = state["visual.conv1.weight"].shape
        grid = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
        return {"layers": _count(state, "visual.transformer.resblocks."), "width": width, "patch_size": patch,
                "image_size": patch * grid}
    grid = round((state["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
    return {"layers": [_count(state, f"visual.layer{i}.") for i in (1, 2, 3, 4)], "patch_size": None,
            "width": state["visual.layer1.0.conv1.weight"].shape[0], "image_size": 32 * grid}


def _count(state: dict, prefix: str) -> int:
    """Return how many layers have names of ``prefix`` and a number."""
    return len({name[len(prefix):].partition(".")[0] for name in state if name.startswith(prefix)})


def build_from_openai(state: dict) -> CLIP:
    """Return an open_clip ``CLIP`` in float32 with the shapes and weights of an OpenAI state dict.

    open_clip's own builder rounds to half precision on the way, which moves the logits by about 3e-3; this one keeps
    every stored bit.

    Raises:
        InputError: names or shapes are not those of a CLIP.
    """
    def build(state: dict) -> torch.nn.Module:
        ids, state = state.get("token_ids"), prepared(state)
        model = assemble(CLIP, configuration(state), state)
        model.known_tokens = None if ids is None else frozenset(ids.tolist())
        return model
    return read_untrusted(state, build, not_a_clip)


def not_a_clip(reason: str) -> str:
    """Return the message about weights that are not a CLIP's."""
    return f"these are not the weights of a CLIP (trouble with {reason}): correct MODEL.BACKBONE.NAME"


def prepared(state: dict) -> dict:
    """Return the weights among a state dict's entries, in float32, with the whole vocabulary."""
    return _expand_vocabulary({name: value.float() for name, value in state.items() if name not in OWN_KEYS})


def assemble(kind: type, config: dict, state: dict) -> torch.nn.Module:
    """Return an open_clip model of class ``kind`` made of the tensors of ``state``.

    Raises:
        KeyError, RuntimeError, ...: a tensor is missing, is too many or has another shape.
    """
    model = skeleton(kind, config)
    state = state | {name: state[name].reshape(getattr(model, name).shape) for name in ("logit_scale", "logit_bias")
                     if name in state}  # a number, or a vector of one
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    unexpected = [name for name in unexpected if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise KeyError(", ".join((missing or unexpected)[:3]))
    text = getattr(model, "text", model)
    if text.attn_mask is not None:
        text.attn_mask = torch.full(text.attn_mask.shape, float("-inf")).triu_(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.num_batches_tracked = None  # not in every file, and nobody trains here
    return model


def skeleton(kind: type, config: dict) -> torch.nn.Module:
    """Return an open_clip model without memory: the stored tensors become its own, one copy, none initialized."""
    sizes = {key: value for key, value in config.items() if key not in ("vision_cfg", "text_cfg", "custom_text")}
    with torch.device("meta"):
        return kind(vision_cfg=CLIPVisionCfg(**config["vision_cfg"]), text_cfg=CLIPTextCfg(**config["text_cfg"]),
                    **sizes)


def _expand_vocabulary(state: dict) -> dict:
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
