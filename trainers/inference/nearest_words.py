"""Reads learned context tokens as words: the nearest token embeddings, by Euclidean distance (CoOp, section 4.4)."""

from collections.abc import Mapping
from typing import Any

import torch

from ..clip import FrozenCLIP


def nearest_words(clip: FrozenCLIP, context: torch.Tensor, topk: int) -> list[list[tuple[str, float]]]:
    """Return for each context vector its nearest words.

    Args:
        clip: a ``FrozenCLIP``.
        context: [n, D].
        topk: how many words.

    Returns:
        n lists of (word, Euclidean distance), nearest first.
    """
    distances, tokens = torch.cdist(context.float(), clip.text.embedding.float()).topk(topk, largest=False)
    return [[(clip.tokenizer.decode([token]).strip(), distance) for token, distance in zip(t, d, strict=True)]
            for t, d in zip(tokens.tolist(), distances.tolist(), strict=True)]


def contexts(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return {what: [n, D]} of all text context in a checkpoint's state dict: input, deep layers, each class's own."""
    found = {}
    for name, value in state.items():
        if not torch.is_tensor(value) or value.dim() not in (2, 3):
            continue
        if name in ("ctx", "prompt_learner.ctx"):
            classes = value if value.dim() == 3 else [value]
            found.update({f"class {c}" if value.dim() == 3 else "context": x for c, x in enumerate(classes)})
        elif "compound_prompts_text" in name or (name.startswith("text_encoder") and name.endswith("VPT_shallow")):
            found[name] = value
    return found
