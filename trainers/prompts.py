"""The learned vectors: the only parameters anywhere, under the published implementations' names."""
import math

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from .clip import FrozenCLIP, clean, prompt_tokens
from .clip.tokens import Rows
from .clip.vectors import check_vectors
from .errors import InputError


class Prompts(nn.Module):
    """A tree of float32 parameters whose state dict has the published names.

    ``put("image_encoder.transformer.resblocks.1.VPT_shallow", x)`` makes the branches it needs. The properties
    read the tree the way the encoders ask for it.

    Attributes:
        per_class: names of the parameters whose first axis counts the classes, in the order of the labels.
        added: names of the children that a wrapper has added to the method's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.per_class: set[str] = set()
        self.added: set[str] = set()

    def put(self, name: str, value: Tensor | nn.Module, per_class: bool = False) -> "Prompts":
        """Add the parameter or module ``value`` under the dotted ``name``; returns self.

        Raises:
            TypeError: it is neither a tensor nor a module.
            ValueError: a part of the name is taken by a module's attribute or method.
        """
        if not isinstance(value, Tensor | nn.Module):
            raise TypeError(f"{name} must be a tensor or a module, got {type(value).__name__}")
        if per_class:
            self.per_class.add(name)
        *path, leaf = name.split(".")
        node = self
        for part in path:
            if part not in node._modules:
                node.add_module(part, nn.Module())
            node = node._modules[part]
        if leaf not in {**node._parameters, **node._modules} and hasattr(type(node), leaf):
            raise ValueError(f"{name}: {leaf} is an attribute of {type(node).__name__}: choose another name")
        setattr(node, leaf, value if isinstance(value, nn.Module) else nn.Parameter(value.detach().float().clone()))
        return self

    def put_deep(self, tower: str, depth: int, n: int, width: int) -> "Prompts":
        """Add a tower's own vectors [n, width] for layers 1 to ``depth - 1``, from normal(0, 0.02).

        Raises:
            ValueError: ``tower`` is neither "text_encoder" nor "image_encoder".
        """
        if tower not in ("text_encoder", "image_encoder"):
            raise ValueError(f"put_deep: {tower} must be text_encoder or image_encoder")
        for layer in range(1, depth):
            self.put(f"{tower}.transformer.resblocks.{layer}.VPT_shallow", torch.empty(n, width).normal_(std=0.02))
        return self

    def own_parameters(self, added: bool = False) -> list[tuple[str, nn.Parameter]]:
        """Return (name, parameter) of the method's own, or of those that wrappers have added."""
        return [(name, parameter) for name, parameter in self.named_parameters()
                if (name.partition(".")[0] in self.added) == added]

    def _deep(self, tower: str) -> list[Tensor]:
        node = getattr(getattr(self, tower, None), "transformer", None)
        return [layer.VPT_shallow for _, layer in node.resblocks.named_children()] if node else []

    @property
    def context(self) -> Tensor | None:
        """Text context [K, D] for the rows' slots (class-specific ones one after the other), or None."""
        learner = getattr(self, "prompt_learner", None)
        context = getattr(learner, "ctx", None)
        return context if context is None else context.flatten(0, -2)

    @property
    def deep_text(self) -> list[Tensor]:
        """Text vectors [n, D] of each layer from the second on; an empty list where there are none."""
        return self._deep("text_encoder")

    @property
    def vision(self) -> Tensor | None:
        """Visual context [n, D_v], or None."""
        return getattr(getattr(self, "image_encoder", None), "VPT", None)

    @property
    def deep_vision(self) -> list[Tensor]:
        """Visual vectors [n, D_v] of each layer from the second on; an empty list where there are none."""
        return self._deep("image_encoder")


def check_prompts(prompts: Prompts, clip: FrozenCLIP) -> None:
    """Raise ValueError for vectors, under the names that the features read, of a form that a tower cannot take."""
    context = getattr(getattr(prompts, "prompt_learner", None), "ctx", None)
    if context is not None and (context.dim() not in (2, 3) or context.shape[-1] != clip.text.width):
        raise ValueError(f"prompt_learner.ctx must be [n, {clip.text.width}], or [C, n, {clip.text.width}] of the "
                         f"classes, got {list(context.shape)}")
    check_vectors("text_encoder", clip.text.width, len(clip.text.blocks), None, prompts.deep_text)
    if clip.vision.width is not None:
        check_vectors("image_encoder", clip.vision.width, len(clip.vision.blocks), prompts.vision,
                      prompts.deep_vision)
    check_layers(prompts)


def check_rows(rows: Rows, classes: int, context: Tensor | None) -> None:
    """Raise ValueError where ``rows`` are none of ``prompt_tokens``, or not those of the classes and the context.

    Args:
        rows: as a method has set them.
        classes: C.
        context: the vectors [K, D] that their slots count, or None where a method forms them itself.
    """
    if not isinstance(rows, list) or any(not isinstance(pair, tuple) or len(pair) != 2
                                         for row in rows for pair in (row if isinstance(row, list) else [row])):
        raise ValueError("self.rows must be a list of lists of (token, slot), as prompt_tokens returns it, got "
                         f"{type(rows).__name__}{f' of {type(rows[0]).__name__}' if len(rows) else ''}")
    if rows and len(rows) != classes:
        raise ValueError(f"self.rows must have a row for each of {classes} classes, got {len(rows)}")
    slots = {slot for row in rows for _, slot in row if slot >= 0}
    if rows and context is not None and slots != set(range(len(context))):
        raise ValueError(f"self.rows have {len(slots)} slots for the {len(context)} vectors of prompt_learner.ctx: "
                         "make them as many (n_ctx and per_class of prompt_tokens)")


def check_layers(prompts: Prompts) -> None:
    """Raise ValueError for deep vectors that a tower would pass over, or would take for another layer's."""
    for tower, name, first in (("text_encoder", "prompt_learner.ctx", prompts.context),
                               ("image_encoder", "image_encoder.VPT", prompts.vision)):
        node = getattr(getattr(prompts, tower, None), "transformer", None)
        if node is None:
            continue
        layers = [int(layer) for layer, _ in node.resblocks.named_children()]
        if first is None or layers != list(range(1, len(layers) + 1)):
            raise ValueError(f"{tower} has vectors for layers {', '.join(map(str, layers))}: they replace those of the "
                             f"layer before, so {name} and all layers from 1 on must be there (Prompts.put_deep)")
        if tower == "image_encoder" and any(len(deep) != len(first) for deep in prompts.deep_vision):
            raise ValueError(f"{name} has {len(first)} vectors, and deep layers of {tower} have "
                             f"{', '.join(str(len(deep)) for deep in prompts.deep_vision)}: make them as many")


def check_sizes(section: str, cfg: CfgNode, clip: FrozenCLIP) -> None:
    """Raise InputError for numbers of vectors or layers, among a method's keys, that a CLIP cannot have."""
    text, vision = (len(tower.blocks) for tower in (clip.text, clip.vision))
    layers = {"PROMPT_DEPTH_TEXT": text, "PROMPT_DEPTH_VISION": vision, "PROMPT_DEPTH": min(text, vision)}
    for key, value in cfg.items():
        if key == "N_CTX_VISION" and cfg.get("PROMPT_DEPTH_VISION") == 0:
            continue  # no visual prompts at all
        most = layers.get(key) or math.inf  # a vision tower without layers refuses prompts in words of its own
        if key.startswith("N_CTX") and value < 1 or key in layers and not 0 <= value <= most:
            accepted = f"0 to {most}, the backbone's layers" if key in layers else "at least 1"
            raise InputError(f"TRAINER.{section}.{key} is {value}: it must be {accepted}")


def words_to_context(clip: FrozenCLIP, words: str, n_ctx: int) -> tuple[str, Tensor]:
    """Return (words, vectors [n_ctx, D]): the embeddings of the first ``n_ctx`` tokens of ``words``.

    Without words: vectors from normal(0, 0.02), and "X X … X" to hold their places (CoOp, section 3.2).

    Raises:
        InputError: fewer tokens than context vectors.
    """
    if not words:
        return " ".join("X" * n_ctx), torch.empty(n_ctx, clip.text.width).normal_(std=0.02)
    words = clean(words)
    tokens = clip.tokenizer.encode(words)[:n_ctx]
    if len(tokens) < n_ctx:
        raise InputError(f'CTX_INIT "{words}" has {len(tokens)} tokens, too few for {n_ctx} context vectors: '
                         "lengthen it or lower N_CTX")
    return words, clip.text.embed(torch.tensor(tokens, device=clip.device)).float().cpu()


def sentence_to_context(clip: FrozenCLIP, sentence: str, n_ctx: int, section: str) -> tuple[str, Tensor]:
    """Return (words, vectors [n_ctx, D]) of ``CTX_INIT: True``: a dataset's words in the last places, zeros before.

    Args:
        sentence: the dataset's, with {} for the class name.
        section: the config section of N_CTX, for the error.

    Raises:
        InputError: fewer places than words.
    """
    words = sentence.replace(" {}.", "").replace("{}.", "").strip()
    empty = n_ctx - len(words.split(" "))
    if empty < 0:
        raise InputError(f'TRAINER.{section}.N_CTX is {n_ctx}, and CTX_INIT True stands for "{words}" here: it must be '
                         f"at least {n_ctx - empty}")
    words, context = words_to_context(clip, " ".join(["X"] * empty + [words]), n_ctx)
    context[:empty] = 0
    return words, context


def joint_context(clip: FrozenCLIP, words: str, n_ctx: int) -> tuple[str, Tensor]:
    """Return the text context of methods that prompt both towers: from the words for at most four vectors (MaPLe)."""
    return words_to_context(clip, words if n_ctx <= 4 else "", n_ctx)


__all__ = ["Prompts", "check_prompts", "check_rows", "check_sizes", "joint_context", "prompt_tokens",
           "sentence_to_context", "words_to_context"]
