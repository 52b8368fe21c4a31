"""What the demo's images are drawn with: glyphs in matplotlib's fonts, outlines of shapes, patterns, colours, noise.

All of it is random by the generator that it is given, and by nothing else.
"""
import math
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = 32  # pixels, the demo model's input
# matplotlib's fonts that hold digits and Latin letters
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono",
         "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral",
         "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmr10", "cmb10", "cmss10", "cmti10", "cmtt10")
COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 220), "yellow": (240, 220, 50),
           "orange": (245, 145, 35), "purple": (130, 50, 170), "pink": (250, 150, 190), "brown": (125, 80, 45),
           "black": (12, 12, 12), "white": (245, 245, 245), "gray": (128, 128, 128), "cyan": (60, 210, 220)}
TEXTURES = {"horizontal stripes": "horizontally striped", "vertical stripes": "vertically striped",
            "diagonal stripes": "diagonally striped", "dots": "dotted", "squares": "checkered", "lines": "grid",
            "waves": "wavy", "zigzags": "zigzagged", "bricks": "bricked", "speckles": "speckled", "rings": "ringed",
            "gradient": "gradient", "clouds": "marbled", "blank": "plain"}  # noun: adjective


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")), size)


def distort(image: Image.Image, rng: np.random.Generator, strength: float = 1.0) -> Image.Image:
    """Bend a square grey image: a random affine map plus a smooth random displacement (both grow with `strength`).

    PIL's mesh transform maps the cells of a 4 x 4 grid to quadrilaterals, so one call does both.
    """
    side, cells = image.width, 4
    shear, turn = rng.normal(0, 0.18 * strength), rng.normal(0, 0.12 * strength)
    stretch = np.exp(rng.normal(0, 0.12 * strength, 2))
    cos, sin = math.cos(turn), math.sin(turn)
    affine = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch)
    ticks = np.linspace(0, 1, cells + 1)
    grid = np.stack(np.meshgrid(ticks, ticks), -1) - 0.5                   # [row, column, (x, y)]
    bend = rng.normal(0, 0.028 * strength, (cells + 1, cells + 1, 2))
    source = ((grid @ affine.T + bend + 0.5) * side).round(2)
    at = (ticks * side).astype(int).tolist()
    mesh = []
    for r in range(cells):
        for c in range(cells):
            corners = (source[r, c], source[r + 1, c], source[r + 1, c + 1], source[r, c + 1])
            mesh.append(((at[c], at[r], at[c + 1], at[r + 1]), tuple(float(v) for p in corners for v in p)))
    return image.transform((side, side), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def glyph(text: str, rng: np.random.Generator, strength: float = 1.0) -> Image.Image:
    """Draw text in a random font with a random stroke width, bent, cropped to its box: a grey image, ink 255."""
    font = _font(FONTS[rng.integers(len(FONTS))], 48)
    side = 96 if len(text) == 1 else 128
    canvas = Image.new("L", (side, side))
    ImageDraw.Draw(canvas).text((side // 2, side // 2), text, 255, font, anchor="mm",
                                stroke_width=int(rng.integers(0, 4)))
    canvas = distort(canvas, rng, strength)
    if rng.random() < 0.15:
        thinner = canvas.filter(ImageFilter.MinFilter(3))
        canvas = thinner if thinner.getbbox() else canvas
    return canvas.crop(canvas.point(lambda v: 255 * (v > 127)).getbbox() or canvas.getbbox())


def to_eight(mask: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Turn a glyph into 8 x 8 values 0..16, the way small scanned digits come: [8, 8] int array.

    The glyph fills the height of a 32 x 32 bitmap and what its shape asks of the width (three quarters at most, a
    little more at times), is thresholded to black and white, and every 4 x 4 block is counted.
    """
    width = mask.width / mask.height * 32 * math.exp(rng.normal(0, 0.15))
    width = int(np.clip(width, 5, 24 + 3 * rng.random()))
    bitmap = np.zeros((32, 32), np.int64)
    left = int(np.clip((32 - width) / 2 + rng.normal(0, 1.0), 0, 32 - width))
    ink = np.asarray(mask.resize((width, 32), Image.Resampling.BILINEAR))
    bitmap[:, left:left + width] = ink > rng.integers(90, 165)
    return bitmap.reshape(8, 4, 8, 4).sum((1, 3))


def colour(name: str, rng: np.random.Generator) -> np.ndarray:
    """Return a shade of a named colour, RGB 0..255: [3]."""
    return np.clip(np.array(COLOURS[name]) + rng.normal(0, 10, 3), 0, 255)


def two_colours(rng: np.random.Generator) -> tuple[str, str]:
    """Return the names of two colours that are easy to distinguish."""
    names = tuple(COLOURS)
    while True:
        ink, ground = (names[i] for i in rng.choice(len(names), 2, replace=False))
        if np.abs(np.subtract(COLOURS[ink], COLOURS[ground])).sum() > 200:
            return ink, ground


def blend(alpha: np.ndarray, ink: np.ndarray, ground: np.ndarray) -> Image.Image:
    """Paint ink over ground: alpha [S, S] in 0..1, colours [3] or [S, S, 3]; returns an RGB image."""
    alpha = alpha[..., None]
    return Image.fromarray(np.uint8(np.clip(alpha * ink + (1 - alpha) * ground, 0, 255).round()))


def paste(mask: Image.Image, box: tuple[float, float, float, float]) -> np.ndarray:
    """Scale a grey mask into box (x, y, width, height) of an empty picture: [SIZE, SIZE] in 0..1."""
    x, y, width, height = (round(float(v)) for v in box)
    canvas = Image.new("L", (SIZE, SIZE))
    canvas.paste(mask.resize((max(width, 1), max(height, 1)), Image.Resampling.BOX if width < mask.width
                             else Image.Resampling.BICUBIC), (x, y))
    return np.asarray(canvas) / 255


def box(rng: np.random.Generator, place: tuple[int, int], extent: float,
        aspect: float = 1.0) -> tuple[float, float, float, float]:
    """A box of the given longer side at a place of the 3 x 3 grid, shaken by a pixel or so."""
    width, height = extent * min(aspect, 1), extent * min(1 / aspect, 1)
    column, row = place
    x = 1 + (SIZE - 2 - width) * column / 2 + rng.uniform(-1, 1)
    y = 1 + (SIZE - 2 - height) * row / 2 + rng.uniform(-1, 1)
    return np.clip(x, 0, SIZE - width), np.clip(y, 0, SIZE - height), width, height


def _ring_points(n: int, start: float = -90.0, radii: tuple[float, ...] = (1.0,)) -> np.ndarray:
    angles = np.radians(start + 360 * np.arange(n) / n)
    r = np.resize(np.array(radii), n)
    return np.stack([r * np.cos(angles), r * np.sin(angles)], -1)


_T = np.linspace(0, 2 * np.pi, 40, endpoint=False)
OUTLINES = {  # polygons in [-1, 1] x [-1, 1], y down
    "circle": _ring_points(40), "oval": _ring_points(40) * (1, 0.55), "triangle": _ring_points(3),
    "square": _ring_points(4, 45) * 1.2, "rectangle": np.array([(-1, -.5), (1, -.5), (1, .5), (-1, .5)]),
    "diamond": _ring_points(4) * (0.65, 1), "pentagon": _ring_points(5), "hexagon": _ring_points(6, 0),
    "star": _ring_points(10, radii=(1.0, 0.42)),
    "cross": np.array([(-.3, -1), (.3, -1), (.3, -.3), (1, -.3), (1, .3), (.3, .3), (.3, 1), (-.3, 1), (-.3, .3),
                       (-1, .3), (-1, -.3), (-.3, -.3)]),
    "arrow": np.array([(-1, -.3), (.1, -.3), (.1, -.8), (1, 0), (.1, .8), (.1, .3), (-1, .3)]),
    "heart": np.stack([np.sin(_T) ** 3, -(13 * np.cos(_T) - 5 * np.cos(2 * _T) - 2 * np.cos(3 * _T)
                                          - np.cos(4 * _T)) / 17], -1),
    "moon": np.concatenate([_ring_points(40, 60)[:28], (_ring_points(40, 60)[:28] * (0.55, 0.85) + (0.25, 0))[::-1]]),
    "ring": None}  # drawn as a circle with a hole
SHAPES = tuple(OUTLINES)


def shape_mask(shape: str, rng: np.random.Generator, style: str = "filled") -> Image.Image:
    """A grey 96 x 96 mask of the shape, turned a little; style is filled or outlined."""
    turn, middle, radius = math.radians(rng.normal(0, 6)), 48, 44
    points = OUTLINES["circle" if shape == "ring" else shape]
    rotate = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    points = points @ rotate.T * np.exp(rng.normal(0, 0.05, 2))
    points = points / max(1.0, np.abs(points).max())
    canvas = Image.new("L", (96, 96))
    draw = ImageDraw.Draw(canvas)
    polygon = [(middle + radius * x, middle + radius * y) for x, y in points.tolist()]
    if style == "outlined" and shape != "ring":
        draw.line([*polygon, *polygon[:2]], 255, 9, "curve")
    else:
        draw.polygon(polygon, 255)
    if shape == "ring":
        inner = radius * 0.55
        draw.ellipse((middle - inner, middle - inner, middle + inner, middle + inner), 0)
    return canvas


def pattern(noun: str, rng: np.random.Generator) -> np.ndarray:
    """A pattern of random period and phase: [SIZE, SIZE] in 0..1."""
    period, (px, py) = rng.uniform(5, 11), rng.uniform(0, 11, 2)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    x, y = x + px, y + py

    def bars(t: np.ndarray, share: float = 0.5) -> np.ndarray:  # 1 inside a bar, with an edge of about a pixel
        return np.clip((share * period / 2 - np.abs((t % period) - period / 2)) + 0.5, 0, 1)
    if noun == "horizontal stripes":
        return bars(y)
    if noun == "vertical stripes":
        return bars(x)
    if noun == "diagonal stripes":
        return bars((x + y * (1 if rng.random() < 0.5 else -1)) / math.sqrt(2))
    if noun == "dots":
        return np.clip(0.33 * period - np.hypot(x % period - period / 2, y % period - period / 2) + 0.5, 0, 1)
    if noun == "squares":
        return ((x // (period * 0.6) + y // (period * 0.6)) % 2).astype(float)
    if noun == "lines":
        return np.maximum(bars(x, 0.25), bars(y, 0.25))
    if noun == "waves":
        return bars(y + 1.8 * np.sin(2 * np.pi * x / rng.uniform(9, 14)))
    if noun == "zigzags":
        return bars(y + np.abs(x % 8 - 4))
    if noun == "bricks":
        row = y // (period * 0.7)
        mortar = ((y % (period * 0.7)) < 1.2) | (((x + (row % 2) * period * 0.7) % (period * 1.4)) < 1.2)
        return 1.0 - mortar
    if noun == "speckles":
        return (rng.random((SIZE, SIZE)) < rng.uniform(0.15, 0.45)).astype(float)
    if noun == "rings":
        return bars(np.hypot(x - px - rng.uniform(8, 24), y - py - rng.uniform(8, 24)))
    if noun == "gradient":
        angle = rng.uniform(0, 2 * np.pi)
        t = x * math.cos(angle) + y * math.sin(angle)
        return (t - t.min()) / (t.max() - t.min())
    if noun == "clouds":
        coarse = Image.fromarray(np.uint8(rng.integers(0, 256, (6, 6))))
        return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 255
    return np.zeros((SIZE, SIZE))  # blank


def noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Half of the pictures get pixel noise, a few are blurred."""
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.9)))
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(2, 14), (SIZE, SIZE, 1))
        image = Image.fromarray(np.uint8(np.clip(np.asarray(image) + noise, 0, 255)))
    return image
