"""The slow twin: prompted CLIP the way the published code computes it, on open_clip's own modules.

All 77 positions of every class, the prefix once per class, a causal mask of 77 x 77, deep prompts replaced by
concatenation, every position through the last layer. Used to prove the fast path equal and to measure it.
"""
import torch
import torch.nn.functional as F

from trainers.clip.vectors import NO_ADAPTERS

CONTEXT_LENGTH = 77


def text_features(clip, rows, context=None, deep=(), own=None, adapters=NO_ADAPTERS):
    """Return unnormalized features [C, E] of C ``rows`` of (token, slot); context [K, D], deep [n, D] each.

    own: (layer, vectors [C, n, D]); adapters: {block: function of the normed input}.
    """
    tower = getattr(clip.model, "text", clip.model)
    tokens = torch.zeros(len(rows), CONTEXT_LENGTH, dtype=torch.long)
    for c, row in enumerate(rows):
        tokens[c, :len(row)] = torch.tensor([token for token, _ in row])
    tokens = tokens.to(clip.device)
    x = tower.token_embedding.weight[tokens]  # [C, 77, D]
    where = [[i for i, (_, slot) in enumerate(row) if slot >= 0] for row in rows]
    if context is not None:
        x = torch.stack([torch.stack([context[row[i][1]] if i < len(row) and row[i][1] >= 0 else x[c, i]
                                      for i in range(len(row))] + list(x[c, len(row):]))
                         if where[c] else x[c] for c, row in enumerate(rows)])
    x = x + tower.positional_embedding
    return tail(clip, tokens, x, deep, own, adapters)


def tail(clip, tokens, x, deep=(), own=None, adapters=NO_ADAPTERS):
    """From the input sequences ``x`` [C, 77, D] of ``tokens`` [C, 77] to features [C, E]."""
    tower = getattr(clip.model, "text", clip.model)
    dtype = next(tower.transformer.parameters()).dtype
    x = x.to(dtype)
    mask = torch.full((CONTEXT_LENGTH, CONTEXT_LENGTH), float("-inf"), device=x.device, dtype=x.dtype).triu(1)
    for i, block in enumerate(tower.transformer.resblocks):
        if 0 < i <= len(deep):
            n = len(deep[i - 1])
            x = torch.cat([x[:, :1], deep[i - 1].to(x.dtype).expand(len(x), -1, -1), x[:, 1 + n:]], 1)
        if own is not None and i == own[0]:
            x = torch.cat([x[:, :1], own[1].to(x.dtype), x[:, 1 + own[1].shape[1]:]], 1)
        x = block_forward(block, x, mask, adapters.get(i))
    x = tower.ln_final(x)
    return x[torch.arange(len(x)), tokens.argmax(-1)] @ tower.text_projection


def block_forward(block, x, mask=None, adapter=None):
    """nn.MultiheadAttention and QuickGELU as the published code calls them; x [B, L, D]."""
    y = block.ln_1(x)
    more = adapter(y) if adapter else 0
    x = x + block.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
    y = block.mlp.c_fc(block.ln_2(x))
    return x + block.mlp.c_proj(y * torch.sigmoid(1.702 * y)) + more


def image_features(clip, images, prompts=None, deep=(), adapters=NO_ADAPTERS):
    """Return unnormalized features [B, E]; prompts and deep [n, D_v] each."""
    tower = clip.model.visual
    if not hasattr(tower, "class_embedding"):
        return tower(images.to(memory_format=torch.contiguous_format))
    x = tower.conv1(images.to(tower.conv1.weight.dtype)).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1) + tower.positional_embedding
    if prompts is not None:
        x = torch.cat([x, prompts.to(x.dtype).expand(len(x), -1, -1)], 1)
    x = tower.ln_pre(x)
    for i, block in enumerate(tower.transformer.resblocks):
        if prompts is not None and 0 < i <= len(deep):
            x = torch.cat([x[:, :-len(prompts)], deep[i - 1].to(x.dtype).expand(len(x), -1, -1)], 1)
        x = block_forward(block, x, adapter=adapters.get(i))
    return tower.ln_post(x[:, 0]) @ tower.proj


class PlainText:
    """Stands in for a trainer's ``clip.text``: takes the trainer's rows in place of its layout."""

    def __init__(self, clip, rows):
        self.clip, self.rows, self.fast = clip, rows, clip.text

    def __getattr__(self, name):
        return getattr(self.fast, name)

    def __call__(self, layout, context=None, deep=(), own=None, adapters=NO_ADAPTERS):
        if context is not None and context.dim() == 3:
            return torch.stack([text_features(self.clip, self.rows, c, deep, own, adapters) for c in context])
        return text_features(self.clip, self.rows, context, deep, own, adapters)


class PlainVision:
    """Stands in for a trainer's ``clip.vision``: embeds nothing ahead, shares nothing."""

    def __init__(self, clip):
        self.clip, self.width = clip, clip.vision.width

    def embed(self, images):
        return images

    def __call__(self, images, prompts=None, deep=(), adapters=NO_ADAPTERS):
        return image_features(self.clip, images, prompts, deep, adapters)


def make_plain(trainer):
    """Turn a built trainer onto the slow path; returns it."""
    clip = trainer.model.clip
    if trainer.model.rows:
        clip.text = PlainText(clip, trainer.model.rows)
    clip.vision = PlainVision(clip)
    return trainer


@torch.no_grad()
def template_features(clip, classnames, templates, normalize_each=False):
    """The published way: one template after the other, all 77 positions."""
    from trainers.clip import template_tokens
    from trainers.clip.templates import fill
    total = 0
    for template in templates:
        features = text_features(clip, template_tokens(fill(template, classnames), clip.tokenizer))
        total = total + (F.normalize(features, dim=-1) if normalize_each else features)
    return F.normalize(total / len(templates), dim=-1)
