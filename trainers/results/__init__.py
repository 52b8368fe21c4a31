"""The tables, pictures and report of many runs, and what papers print.

The package itself can be called: ``promptreg.results("output/")`` gives the DataFrame of ``frame.results``.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..compat import old_names

if TYPE_CHECKING:
    import pandas


class _Results(ModuleType):
    """This package: a function of its name beside it would be replaced by it as soon as a module in it is imported."""

    def __call__(self, folder: str | os.PathLike | Sequence[str | os.PathLike]) -> pandas.DataFrame:
        """Return all finished runs below a folder, or several: see ``frame.results``."""
        from .frame import results
        return results(folder)


sys.modules[__name__].__class__ = _Results


def __getattr__(name: str) -> Any:
    return old_names.attribute(__name__, name, "training.result")
