"""Lets a checkout answer to the installed name: with this folder's parent on PYTHONPATH, ``import promptreg`` works.

The package is ``trainers/`` of this checkout under the name ``promptreg``; ``promptreg.datasets`` and the rest lie
beside it.
"""
import importlib.util
import sys
from pathlib import Path

_root = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location(__name__, _root / "trainers" / "__init__.py",
                                               submodule_search_locations=[str(_root / "trainers"), str(_root)])
_package = importlib.util.module_from_spec(_spec)
sys.modules[__name__] = _package  # the import system returns what it finds here
_spec.loader.exec_module(_package)
