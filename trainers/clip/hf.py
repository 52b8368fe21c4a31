"""CLIP as the transformers library saves it: names turned into OpenAI's, and what its config.json says of the model."""
import re
from pathlib import Path

import torch

from ..errors import InputError
from .openai import configuration

RENAMED = [  # of a tower's part to that of OpenAI's
    (r"embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"embeddings\.patch_embedding\.weight", "conv1.weight"),
    (r"embeddings\.class_embedding", "class_embedding"),
    (r"pre_layrnorm\.", "ln_pre."), (r"post_layernorm\.", "ln_post."), (r"final_layer_norm\.", "ln_final."),
    (r"encoder\.layers\.", "transformer.resblocks."), (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."), (r"\.mlp\.fc2\.", ".mlp.c_proj."), (r"\.self_attn\.", ".attn.")]
TOWERS = {"text_model.": "", "vision_model.": "visual."}
ACTIVATIONS = {"quick_gelu": True, "gelu": False}


def is_transformers(state: dict) -> bool:
    """Return whether a state dict's names are those of the transformers library's CLIP."""
    return any(name.startswith(tuple(TOWERS)) for name in state)


def to_openai(state: dict) -> dict:
    """Return the weights under OpenAI's names: projections transposed, queries, keys and values in one matrix.

    Raises:
        KeyError, RuntimeError: one of them is missing, or of another shape.
    """
    found = {}
    for name, value in state.items():
        if name.endswith("position_ids"):
            continue
        tower = next((tower for tower in TOWERS if name.startswith(tower)), None)
        if tower:
            name = name.removeprefix(tower)
            for pattern, new in RENAMED:
                name = re.sub(pattern, new, name)
            found[TOWERS[tower] + name] = value
        elif name in ("text_projection.weight", "visual_projection.weight"):
            found["text_projection" if name.startswith("text") else "visual.proj"] = value.T.contiguous()
        else:
            found[name] = value
    for name in [name for name in found if ".attn.q_proj." in name]:
        before, _, kind = name.rpartition("q_proj.")
        found[f"{before}in_proj_{kind}"] = torch.cat([found.pop(f"{before}{part}_proj.{kind}") for part in "qkv"])
    return found


def config_of(about: dict, state: dict, path: Path) -> dict:
    """Return open_clip's config (``model_cfg``) of what transformers' config.json describes.

    Args:
        about: the content of config.json; what it leaves out has transformers' default.
        state: the weights under OpenAI's names, for the sizes.
        path: of config.json, for messages.

    Raises:
        InputError: it describes no CLIP, or one that cannot be built exactly.
    """
    if about.get("model_type") != "clip":
        raise InputError(f"{path}: model_type is {about.get('model_type')!r}, it must be 'clip': another kind of model")
    text, vision = (about.get(f"{part}_config_dict") or about.get(f"{part}_config") or {} for part in
                    ("text", "vision"))
    activations = {part.get("hidden_act", "quick_gelu") for part in (text, vision)}
    if len(activations) > 1 or not activations <= ACTIVATIONS.keys():
        raise InputError(f"{path}: hidden_act is {' and '.join(sorted(activations))}, it must be one of "
                         f"{', '.join(ACTIVATIONS)} in both towers: not supported")
    if {part.get("layer_norm_eps", 1e-5) for part in (text, vision)} != {1e-5}:
        raise InputError(f"{path}: layer_norm_eps must be 1e-05: not supported")
    config = configuration(state)
    config["quick_gelu"] = ACTIVATIONS[activations.pop()]
    config["text_cfg"] |= {"heads": text.get("num_attention_heads", 8), **_mlp(state, "transformer.")}
    width = config["vision_cfg"]["width"]
    config["vision_cfg"] |= {"head_width": width // vision.get("num_attention_heads", 12),
                             **_mlp(state, "visual.transformer.")}
    return config


def _mlp(state: dict, tower: str) -> dict[str, float]:
    hidden, width = state[f"{tower}resblocks.0.mlp.c_fc.weight"].shape
    return {} if hidden == 4 * width else {"mlp_ratio": (hidden + 0.5) / width}  # open_clip rounds its product down
