"""Reading an image, or saying which one cannot be read and what to do about it."""
import warnings
from os import PathLike
from typing import IO

import numpy as np
from PIL import Image

from ..errors import InputError
from .untrusted import read_untrusted

REMEDY = "delete it and fetch its dataset again; promptreg data check NAME lists all such images"
# Of what Pillow reads, the formats that datasets come in: for others it starts programs (Ghostscript for PostScript).
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")


class DamagedImage(InputError, OSError):
    """An image file that is there and cannot be decoded to its end."""


class MissingImage(InputError, FileNotFoundError):
    """An image file that is not there."""


# Pillow warns of more pixels than it finds credible, and refuses no less than twice as many; we refuse at once.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# What it says of these is of no use to who trains: transparency is dropped and EXIF not read, here as in Dassl.
warnings.filterwarnings("ignore", "Palette images with Transparency", UserWarning)
warnings.filterwarnings("ignore", "(Possibly c|C)orrupt EXIF data", UserWarning)


def opened(path: str | PathLike[str] | IO[bytes]) -> Image.Image:
    """Return the image at ``path``, not decoded yet. Raises ValueError where it claims more pixels than Pillow's limit.

    Some kilobytes can claim to be gigabytes; a workers' process for each core would ask for that memory at once.
    """
    image = Image.open(path, formats=FORMATS)
    limit = Image.MAX_IMAGE_PIXELS
    if limit and image.width * image.height > limit:
        image.close()
        raise ValueError(f"{image.width} x {image.height} are more than {limit:,} pixels: make it smaller")
    return image


def rgb(image: Image.Image) -> Image.Image:
    """Return a PIL image as RGB. Raises InputError where its values have no 8 bits that they could only mean.

    Pillow's own conversion cuts values off at 255: 16 bits become white all over, floats in 0..1 black.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise InputError("its values are 32-bit or floating-point: convert it to 8 bits")
        if image.mode != "I" or values.max() > 255:  # 32 bits may also hold 8
            image = Image.fromarray(((values.astype(np.int32) + 128) // 257).astype(np.uint8))
    return image.convert("RGB")


def read_image(path: str | PathLike[str]) -> Image.Image:
    """Return the image at ``path`` as an RGB PIL image. Raises MissingImage or DamagedImage, one line each.

    It replaces Dassl's function of this name, which tries a damaged image again for ever.
    """
    return read_untrusted(path, _decode, lambda reason: f"{path}: damaged or not an image ({reason}); {REMEDY}",
                          kind=DamagedImage)


def _decode(path: str | PathLike) -> Image.Image:
    try:
        with opened(path) as image:
            return rgb(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise MissingImage(f"{path}: no such image; {REMEDY}") from None
