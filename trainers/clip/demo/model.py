"""The demo CLIP's model: open_clip's class at a small size, its towers as they are fast on a CPU, and CLIP's loss."""
import math

import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from . import language, render

MODEL = {"embed_dim": 64, "image_size": 32, "patch_size": 8, "vision_width": 64, "vision_layers": 6,
         "text_width": 64, "text_layers": 6}


def new_model() -> CLIP:
    """An untrained CLIP of the demo's size: open_clip's class, QuickGELU, heads of width 64.

    Its vocabulary is the demo's, so that the optimizer need not walk through 49408 rows every step.
    """
    m, words = MODEL, len(language.vocabulary(render.WORDS))
    return CLIP(m["embed_dim"], CLIPVisionCfg(layers=m["vision_layers"], width=m["vision_width"],
                                              patch_size=m["patch_size"], image_size=m["image_size"]),
                CLIPTextCfg(vocab_size=words, width=m["text_width"], heads=m["text_width"] // 64,
                            layers=m["text_layers"]), quick_gelu=True)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight).add_(bias)  # on CPUs the fused call first copies the bias to every row, twice the time


def _norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def run_blocks(transformer: nn.Module, x: Tensor, causal: bool) -> Tensor:
    """What open_clip's transformer computes from x [B, L, W], in half the time on small widths.

    QuickGELU, x * sigmoid(1.702 x), is taken as silu(1.702 x) / 1.702, the factors put into the small weights.
    """
    for block in transformer.resblocks:
        attention, fc, proj = block.attn, block.mlp.c_fc, block.mlp.c_proj
        qkv = _linear(_norm(x, block.ln_1), attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)
        x = x + _linear(mixed, attention.out_proj.weight, attention.out_proj.bias)
        hidden = F.silu(_linear(_norm(x, block.ln_2), 1.702 * fc.weight, 1.702 * fc.bias))
        x = x + _linear(hidden, proj.weight / 1.702, proj.bias)
    return x


def encode_image(model: CLIP, images: Tensor) -> Tensor:
    """Image features [B, D] of normalized images [B, 3, S, S]; equal to model.encode_image."""
    v = model.visual
    x = v.conv1(images).flatten(2).transpose(1, 2)                               # [B, patches, W]
    x = torch.cat([v.class_embedding.expand(len(x), 1, -1), x], 1) + v.positional_embedding
    x = run_blocks(v.transformer, _norm(x, v.ln_pre), causal=False)
    return _norm(x[:, 0], v.ln_post) @ v.proj


def encode_text(model: CLIP, tokens: Tensor, chunks: int = 4) -> Tensor:
    """Text features [B, D] of tokens [B, 77]; equal to model.encode_text.

    Attention is causal, so nothing behind the end-of-text token is computed: the batch is sorted by length and encoded
    in chunks, each as long as its longest caption.
    """
    ends = tokens.argmax(1)
    order = ends.argsort(stable=True)
    features = []
    for rows in order.chunk(chunks):
        length = int(ends[rows[-1]]) + 1
        x = model.token_embedding(tokens[rows, :length]) + model.positional_embedding[:length]
        x = run_blocks(model.transformer, x, causal=True)
        features.append(x[torch.arange(len(x)), ends[rows]])
    return (_norm(torch.cat(features), model.ln_final) @ model.text_projection)[order.argsort()]


def applies(mentioned: Tensor, shown: Tensor) -> Tensor:
    """Which caption is true of which image: bool [B, B], caption by image.

    Args:
        mentioned: int [B, M], the facts that each caption states, -1 where there are fewer.
        shown: int [B, S], the facts of each scene.
    """
    found = (mentioned[:, None, :, None] == shown[None, :, None, :]).any(-1) | (mentioned < 0)[:, None]
    return found.all(-1)


def contrastive_loss(image_features: Tensor, text_features: Tensor, scale: Tensor, true: Tensor) -> Tensor:
    """CLIP's symmetric loss in which a caption that is true of another image is no negative for it.

    Args:
        image_features, text_features: [B, D], normalized.
        scale: the factor of the logits.
        true: bool [B, B], caption by image, from `applies`.
    """
    logits = scale * text_features @ image_features.T
    logits = logits.masked_fill(true & ~torch.eye(len(true), dtype=torch.bool), -math.inf)
    target = torch.arange(len(true))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def state_of(model: CLIP) -> dict[str, Tensor]:
    """The state dict to store: the parameters, and under `token_ids` (int32) the token of each embedding row."""
    state = {k: v.detach().clone().contiguous() for k, v in model.named_parameters()}
    state["token_ids"] = torch.tensor(language.vocabulary(render.WORDS), dtype=torch.int32)
    return state
