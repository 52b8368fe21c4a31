"""The datasets; importing this package registers them with Dassl.

`check` reports, before anything is built, whether a config's dataset is available.
"""
from .home import engine

# isort: split
from dassl.config import defaults

from . import (
    caltech101,
    digits,
    dtd,
    emoji,
    eurosat,
    fgvc_aircraft,
    food101,
    image_folder,
    imagenet,
    imagenet_a,
    imagenet_r,
    imagenet_sketch,
    imagenetv2,
    oxford_flowers,
    oxford_pets,
    stanford_cars,
    sun397,
    ucf101,
)
from .base import CLASSES, DATASETS, check

for _key, _default in {"SUBSAMPLE_CLASSES": "all", "SPLIT_SEED": 1, "ALLOW_INCOMPLETE": False}.items():
    if _key not in defaults._C.DATASET:
        defaults._C.DATASET[_key] = _default

__all__ = ["CLASSES", "DATASETS", "check"]
