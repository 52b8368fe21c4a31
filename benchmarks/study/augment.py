"""Puts glyphs on backgrounds: turned, scaled, shifted, recolored, as normalized batches for the CLIP's training."""
import math

import torch
import torch.nn.functional as F

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
TURN, SCALE, SHIFT = math.radians(18), (0.7, 1.05), 0.12
RECOLOR, GREY, STAMP = 0.18, 0.08, 0.15  # spread of the color matrix; shares of grey and of black-and-white pictures
PLAIN = 0.3  # share of white backgrounds


def augment(glyphs: torch.Tensor, line: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return normalized pictures float [B, 3, S, S] of RGBA glyphs uint8 [B, 4, S, S]; `line` [B] marks black ones."""
    count = len(glyphs)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)
    glyphs = glyphs.float() / 255
    color, alpha = glyphs[:, :3], glyphs[:, 3:]
    ink = 0.45 * uniform(count, 3, 1, 1) * (uniform(count, 1, 1, 1) < 0.6)
    color = torch.where(line.view(-1, 1, 1, 1), ink.expand_as(color), color)
    color = recolored(color, alpha, line, uniform, generator)
    moved = F.grid_sample(torch.cat([color * alpha, alpha], 1), placements(count, glyphs.shape, uniform),
                          align_corners=False)
    premultiplied, alpha = moved[:, :3], moved[:, 3:]
    return (premultiplied + (1 - alpha) * backgrounds(count, glyphs.shape[-1], uniform) - MEAN) / STD


def recolored(color, alpha, line, uniform, generator):
    """Turn colors a little; make a few pictures grey, and a few of the colored ones black and white."""
    count = len(color)
    turn = torch.eye(3) + RECOLOR * torch.randn(count, 3, 3, generator=generator) / math.sqrt(3)
    color = torch.einsum("bij,bjhw->bihw", turn, color).clamp(0, 1)
    grey = color.mean(1, keepdim=True)
    level = (grey * alpha).sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True).clamp(min=1)
    dice = uniform(count, 1, 1, 1)
    color = torch.where((dice < GREY).expand_as(color), grey.expand_as(color), color)
    stamped = ((dice > 1 - STAMP) & ~line.view(-1, 1, 1, 1)).expand_as(color)
    return torch.where(stamped, (grey > level).float().expand_as(color), color)


def placements(count, shape, uniform):
    """Return sampling grids [B, S, S, 2]: turned, scaled, shifted."""
    angle = (2 * uniform(count) - 1) * TURN
    scale = 1 / (SCALE[0] + (SCALE[1] - SCALE[0]) * uniform(count))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift = (2 * uniform(count, 2) - 1) * SHIFT
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    return F.affine_grid(theta, [count, 4, *shape[-2:]], align_corners=False)


def backgrounds(count, size, uniform):
    """Return light backgrounds [B, 3, S, S]: white, or a gradient between two colors."""
    ends = 0.6 + 0.4 * uniform(2, count, 3, 1, 1)
    along = torch.linspace(0, 1, size)
    upright = uniform(count, 1, 1, 1) < 0.5
    ramp = torch.where(upright, along.view(1, 1, -1, 1).expand(count, 1, size, size),
                       along.view(1, 1, 1, -1).expand(count, 1, size, size))
    return torch.where(uniform(count, 1, 1, 1) < PLAIN, torch.ones(()), ends[0] + ramp * (ends[1] - ends[0]))
