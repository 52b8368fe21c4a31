"""The way from ``datasets`` to the rest of the package, the same in a checkout and when installed.

In a checkout the packages lie side by side (``datasets``, ``trainers``); installed they are nested
(``promptreg.datasets`` in ``promptreg``). Importing this module also settles which Dassl is used.
"""
from importlib import import_module

_above = __package__.rpartition(".")[0] or "trainers"
engine = import_module(f"{_above}.compat.engine")
errors = import_module(f"{_above}.errors")
console = import_module(f"{_above}.utils.console")
atomic = import_module(f"{_above}.utils.atomic")
SharedRegistry = import_module(f"{_above}.compat.registry").SharedRegistry
PromptRegError = errors.PromptRegError
InputError = errors.InputError
images = import_module(f"{_above}.utils.images")
startup = import_module(f"{_above}.utils.startup")
pages = import_module(f"{_above}.utils.pages")
hashing = import_module(f"{_above}.utils.hashing")
untrusted = import_module(f"{_above}.utils.untrusted")
SetupError = errors.SetupError
