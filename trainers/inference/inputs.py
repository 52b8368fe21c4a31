"""What callers give to a ``PromptedCLIP``: class names and images, taken in the usual kinds, the rest refused."""
import functools
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..errors import InputError
from ..utils.images import DamagedImage, MissingImage, read_image, rgb

log = logging.getLogger("promptreg")


def class_list(names: Iterable[str]) -> list[str]:
    """Return class names as a list.

    Raises:
        InputError: a single text, whose letters would be the classes; a dict, whose order is not the labels'; no names.
    """
    if isinstance(names, (str, bytes)):
        raise InputError(f"classnames must be a list of names, got the text {names!r}: give [{names!r}]")
    if isinstance(names, (dict, set, frozenset)) or not isinstance(names, Iterable):
        raise InputError(f"classnames must be a list of names in the order of the labels, got {type(names).__name__}")
    names = list(names)
    wrong = next((name for name in names if not isinstance(name, str) or not name.strip()), None)
    if not names or wrong is not None:
        raise InputError(f"classnames must be a list of names, got {names if not names else repr(wrong) + ' in it'}")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        log.warning("classnames has %s twice: they share their probability", ", ".join(twice[:3]))
    return list(map(str, names))


def image_batch(images: Any, preprocess: Callable[[Image.Image], torch.Tensor], size: int) -> torch.Tensor:
    """Return images as one normalized tensor [B, 3, S, S].

    Args:
        images: one image or a sequence of them. An image is a path, a PIL image, pixels of 0 to 255 (a uint8 array
            [H, W, 3] or [H, W], or a uint8 tensor [3, H, W]), or a float tensor [3, S, S] that ``preprocess`` has
            made. Arrays [B, H, W, 3] and tensors [B, 3, H, W] are batches of these.
        preprocess: PIL image to [3, S, S].
        size: S.

    Raises:
        InputError: none, or of another kind or shape; a file that is missing or damaged.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)) or getattr(images, "ndim", 4) in (2, 3):
        return image_batch([images], preprocess, size)
    if torch.is_tensor(images) and images.dtype.is_floating_point:
        return checked(images, size)
    if not isinstance(images, (Sequence, np.ndarray, torch.Tensor)) or isinstance(images, bytes):
        raise InputError(f"images must be paths, PIL images, arrays or tensors, got {type(images).__name__}")
    if len(images) == 0:
        raise InputError("images must be at least one, got none")
    return checked(torch.stack([_image(image, preprocess, size) for image in images]), size)


def _image(image: Any, preprocess: Callable[[Image.Image], torch.Tensor], size: int) -> torch.Tensor:
    """Return one image as a normalized tensor [3, S, S]."""
    if isinstance(image, (str, os.PathLike)):
        return preprocess(read_own_image(Path(image)))
    if torch.is_tensor(image) and image.dtype.is_floating_point:
        return checked(image[None], size)[0]
    if torch.is_tensor(image) and image.dtype == torch.uint8 and image.dim() == 3 and len(image) in (1, 3):
        image = image.cpu().permute(1, 2, 0).numpy().squeeze(-1 if len(image) == 1 else ())
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] in ((), (3,)):
        image = Image.fromarray(np.ascontiguousarray(image))
    if not isinstance(image, Image.Image):
        kind = f"{image.dtype} {list(image.shape)}" if hasattr(image, "dtype") else type(image).__name__
        raise InputError(f"an image must be a path, a PIL image, uint8 pixels [H, W, 3], a uint8 tensor [3, H, W] or a "
                         f"float tensor that preprocess has made, got {kind}")
    return preprocess(rgb(image))


def checked(images: torch.Tensor, size: int) -> torch.Tensor:
    """Return float images [B, 3, S, S] as they are. Raises InputError for another shape."""
    if images.dim() != 4 or images.shape[1:] != (3, size, size):
        raise InputError(f"images must be [B, 3, {size}, {size}], got {list(images.shape)}: put them through "
                         "preprocess")
    if images.numel() and images.min() >= 0 and 0.5 < images.max() <= 1:  # as ToTensor makes them; normalized reach 2
        _warn_of_unnormalized()
    return images


@functools.cache
def _warn_of_unnormalized() -> None:
    """Warn, once in a process."""
    log.warning("all values of these images lie between 0 and 1, as if they were not normalized: give PIL images, "
                "paths or uint8 pixels, or what preprocess makes of them")


def read_own_image(path: Path) -> Image.Image:
    """Return the image at a path that the user has given. Raises InputError, one line, where it cannot be read."""
    try:
        return read_image(path)
    except MissingImage:
        raise InputError(f"{path}: there is no such image: correct the path") from None
    except DamagedImage as error:
        reason = str(error.__cause__).strip().splitlines() or ["it cannot be decoded"]
        raise InputError(f"{path} cannot be read as an image ({reason[0]}): give another file, or save it again as "
                         "JPEG or PNG") from error
