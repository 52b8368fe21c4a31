import contextlib
import importlib.metadata
import json
import os
import platform
import random
import sys
import uuid
import warnings
from difflib import SequenceMatcher

import numpy as np
import torch
from PIL import Image

from ..errors import ConfigError, DamagedFileError, DamagedJSONError, MissingFileError

# Of what Pillow reads, the formats that datasets come in: for others it starts programs (Ghostscript for PostScript).
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")


def mkdir_if_missing(dirname):
    """Make a folder and those above it, unless it is there."""
    if dirname:
        os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath):
    """Return whether ``fpath`` is a file; warn if it is not."""
    isfile = os.path.isfile(fpath)
    if not isfile:
        warnings.warn(f'No file found at "{fpath}"', stacklevel=2)
    return isfile


@contextlib.contextmanager
def atomic_write(path):
    """Give a name for a temporary file in ``path``'s folder, which becomes ``path`` if the block succeeds.

    Whoever reads ``path`` meanwhile, or after a crash, finds the old content or the new, never a part.
    """
    folder, name = os.path.split(os.path.abspath(path))
    mkdir_if_missing(folder)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def read_json(fpath):
    """Read a JSON file; ValueError with its name if it is damaged."""
    with open(fpath, encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise DamagedJSONError(f"{fpath} is not a whole JSON file ({error}); remove it or fetch it "
                                   "again") from error


def write_json(obj, fpath):
    """Write a JSON file, and its folder where missing."""
    with atomic_write(fpath) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(obj, file, indent=4, separators=(",", ": "))


def set_random_seed(seed):
    """Seed Python's, numpy's and torch's generators, all GPUs' included."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def read_image(path):
    """Return the image at ``path`` as an RGB PIL image.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: it is there but is no whole image; the message names the file.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise MissingFileError(f"No image at {path}") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise DamagedFileError(f"{path} is damaged or not an image ({error})") from error


def collect_env_info():
    """Return what of this machine a run's figures may depend on, a line each: system, PyTorch, GPUs, packages.

    PyTorch's own list, which Dassl prints, asks pip, compilers and the driver in every run.
    """
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    facts = {"PyTorch version": torch.__version__, "CUDA PyTorch was built with": torch.version.cuda,
             "cuDNN version": torch.backends.cudnn.version(), "GPUs": ", ".join(gpus) or None,
             "CPU": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used", "OS": platform.platform(),
             "Python version": sys.version.replace("\n", " ")}
    for package in ("torchvision", "numpy", "Pillow", "scipy", "scikit-learn", "open_clip_torch", "safetensors"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            facts[package] = importlib.metadata.version(package)
    return "\n".join(f"{name}: {fact}" for name, fact in facts.items())


def listdir_nohidden(path, sort=False):
    """List the names in a folder that do not start with a dot, sorted if ``sort``."""
    items = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(items) if sort else items


def get_most_similar_str_to_a_from_b(a, b):
    """Return the string of list ``b`` most similar to ``a``, the last of equals; None if ``b`` is empty."""
    return max(reversed(b), key=lambda candidate: SequenceMatcher(None, a, candidate).ratio(), default=None)


def check_availability(requested, available):
    """Raise a ValueError that suggests the nearest name unless ``requested`` is in the list ``available``."""
    if requested not in available:
        nearest = get_most_similar_str_to_a_from_b(requested, available)
        raise ConfigError(f"{requested!r} is not known, do you mean {nearest!r}? Known are {sorted(available)}")


def tolist_if_not(x):
    return x if isinstance(x, list) else [x]
