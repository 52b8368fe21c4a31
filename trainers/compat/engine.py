"""Finds Dassl: the installed one, or minidassl under the name ``dassl`` where there is none.

Importing this module settles the question once for the process. Everything else in the package, and every
CoOp-style repository around it, then writes ``from dassl.engine import TrainerX`` and gets one and the same
Dassl; a mixture of the two cannot arise, because minidassl answers for ``dassl`` and all that lies below it
or for none of it.
"""
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ..utils.images import read_image
from ..utils.paths import PACKAGE
from . import patches

log = logging.getLogger("promptreg")


def sibling(name: str) -> ModuleType:
    """Import one of our packages: ``promptreg.NAME`` when installed, ``NAME`` in a checkout."""
    inside = f"{PACKAGE}.{name}"
    return importlib.import_module(inside if importlib.util.find_spec(inside) else name)


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets ``import dassl.x.y`` return the module ``minidassl.x.y`` itself, not a copy."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.true_specs = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname == "dassl" or fullname.startswith("dassl."):
            real = self.package + fullname[len("dassl"):]
            if importlib.util.find_spec(real):
                return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.package + spec.name[len("dassl"):])
        self.true_specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        for spec in self.true_specs.values():
            if spec.name == module.__name__:
                module.__spec__ = spec


def _settle() -> ModuleType:
    if "dassl" in sys.modules or importlib.util.find_spec("dassl"):
        return importlib.import_module("dassl")
    package = sibling("minidassl").__name__
    sys.meta_path.insert(0, _Alias(package))
    return importlib.import_module("dassl")


dassl = _settle()
is_mini = dassl.__name__.rpartition(".")[2] == "minidassl"

if is_mini:  # before anything else of it is imported, so that its own modules take this one too
    vars(importlib.import_module("dassl.utils"))["read_image"] = read_image
repaired = [] if is_mini else patches.repair(dassl)


def describe() -> str:
    """Return one line for the log: which Dassl this process runs on, and from where."""
    name = "minidassl (Dassl is not installed)" if is_mini else "Dassl"
    version = getattr(dassl, "__version__", "of unknown version")
    return f"{name} {version} at {dassl.__path__[0]}" + (f" ({len(repaired)} repairs)" if repaired else "")
