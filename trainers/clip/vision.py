"""The frozen vision encoder, prompted: learned vectors behind the patches, replaced at each deep layer."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import InputError
from .block import Block, attend, linear
from .fused import norm
from .vectors import NO_ADAPTERS, Adapters, check_adapters, check_vectors


def check_size(images: Tensor, tower: nn.Module) -> None:
    """Raise InputError where images [B, 3, H, W] are not of the size that an open_clip tower reads."""
    wanted = getattr(tower, "image_size", None)
    wanted = (wanted, wanted) if isinstance(wanted, int) else wanted
    if wanted and tuple(images.shape[2:]) != tuple(wanted):
        raise InputError(f"images are of {tuple(images.shape[2:])} pixels, and this backbone reads {tuple(wanted)}: "
                         "set INPUT.SIZE")


class VisionEncoder:
    """Vision transformer of an open_clip model (class-token pooling, as CLIP's own).

    Raises:
        TypeError: the tower is of another kind; it can still be used through ``PlainVision``.
    """

    def __init__(self, tower: nn.Module) -> None:
        self.tower = tower
        self.blocks = [Block(b) for b in tower.transformer.resblocks]
        if tower.pool_type != "tok" or tower.attn_pool is not None:
            raise TypeError(f"a vision tower with {tower.pool_type} pooling")
        self.width = self.blocks[0].width
        self.residual_dtype = torch.float32

    def embed(self, images: Tensor) -> Tensor:
        """Return the frozen input sequence [B, 1 + N, D] of ``images`` [B, 3, S, S], behind ``ln_pre``."""
        tower = self.tower
        check_size(images, tower)
        x = tower.conv1(images.to(tower.conv1.weight.dtype)).flatten(2).transpose(1, 2)  # [B, N, D]
        # .shape[0], here and below: len() would make the batch size a constant of an exported graph
        x = torch.cat([tower.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], 1) + tower.positional_embedding
        return norm(x, tower.ln_pre, self.residual_dtype)

    def __call__(self, x: Tensor, prompts: Tensor | None = None, deep: Sequence[Tensor | None] = (),
                 adapters: Adapters = NO_ADAPTERS) -> Tensor:
        """Encode an embedded batch.

        Args:
            x: [B, 1 + N, D] as ``embed`` returns it.
            prompts: learned vectors [n, D], appended before ``ln_pre``, or [B, n, D] of each image's own; None for the
                frozen features.
            deep: for each layer from the second on, vectors [n, D] (or [B, n, D]) that replace those of the layers
                before, or are the first; None for a layer that has none, and leaves those that are there.
            adapters: of some blocks, for all tokens.

        Returns:
            Unnormalized features [B, E].

        Raises:
            ValueError: vectors of another form, or for more layers than there are.
        """
        check_adapters("vision tower", len(self.blocks), adapters)
        check_vectors("vision tower", self.width, len(self.blocks), prompts, deep, x.shape[0])
        length = x.shape[1]
        n = 0 if prompts is None else prompts.shape[-2]
        if n:
            x = torch.cat([x, norm(prompts, self.tower.ln_pre, x.dtype).expand(x.shape[0], -1, -1)], 1)
        for i, block in enumerate(self.blocks):
            vectors = deep[i - 1] if 0 < i <= len(deep) else None
            if vectors is not None:
                x = torch.cat([x[:, :length], vectors.to(x.dtype).expand(x.shape[0], -1, -1)], 1)
            if i < len(self.blocks) - 1:
                x = block.output_and_mlp(x, attend(*block.project(x)), adapters.get(i))
            else:  # only the class token goes on
                k, v = block.project(x, "kv")
                x = x[:, :1]
                q, = block.project(x, "q")
                x = block.output_and_mlp(x, attend(q, k, v), adapters.get(i))
        return linear(norm(x.squeeze(1), self.tower.ln_post, self.tower.proj.dtype), self.tower.proj.T)


class PlainVision:
    """Any other vision tower (ResNets, timm models): frozen features only.

    Images go through in channels-last order, which convolutions on CPUs and tensor cores read as it lies: RN50's
    forward on two cores takes 2.8 s for 32 images instead of 4.8 s.
    """

    def __init__(self, tower: nn.Module) -> None:
        self.tower = tower.to(memory_format=torch.channels_last)
        self.width = None
        self.blocks: list[Block] = []  # none that takes prompts
        self.dtype = next(tower.parameters()).dtype

    def embed(self, images: Tensor) -> Tensor:
        """Return ``images`` [B, 3, S, S] in the tower's precision and channels-last order.

        Raises:
            InputError: they are not of the size that the tower reads.
        """
        check_size(images, self.tower)
        return images.to(self.dtype, memory_format=torch.channels_last)

    def __call__(self, x: Tensor, prompts: Tensor | None = None, deep: Sequence[Tensor | None] = (),
                 adapters: Adapters = NO_ADAPTERS) -> Tensor:
        """Return unnormalized features [B, E] of images [B, 3, S, S]. Raises ValueError where prompts are given."""
        if prompts is not None or len(deep) or len(adapters):
            raise ValueError("this vision tower takes no prompts: ask for its width by require_vit(), which says so")
        return self.tower(x)


def fold_batch_norms(tower: nn.Module) -> None:
    """Put a ResNet's frozen batch norms into the convolutions before them, which does the same in one pass fewer."""
    for module in tower.modules():
        names = dict(module.named_children())
        pairs = [(f"conv{i}", f"bn{i}") for i in (1, 2, 3)] + [("0", "1")]  # the last: a downsampling Sequential's
        for conv, bn in pairs:
            if isinstance(names.get(conv), nn.Conv2d) and isinstance(names.get(bn), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(names[conv], names[bn]))
                setattr(module, bn, nn.Identity())
