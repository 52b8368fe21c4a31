"""The datasets; importing this package registers them with Dassl.

`check` tells, before anything is built, whether a config's dataset can be had.
"""
from .home import engine  # noqa: F401  finds Dassl, so it comes first
from dassl.config import defaults

if "SUBSAMPLE_CLASSES" not in defaults._C.DATASET:
    defaults._C.DATASET.SUBSAMPLE_CLASSES = "all"

from .base import CLASSES, check  # noqa: E402
from . import digits  # noqa: E402

__all__ = ["CLASSES", "check", "digits"]
