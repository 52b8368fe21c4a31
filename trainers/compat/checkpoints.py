"""Lets Dassl read the checkpoints of its own trainers, which hold scheduler objects, under ``weights_only``.

From PyTorch 2.6 on ``torch.load`` refuses them. Dassl's call stays as it is; only PyTorch's optimizers and schedulers,
Dassl's own and numpy's numbers are added to what PyTorch lets through meanwhile. A host that has written
``weights_only`` into its Dassl, or replaced ``torch.load``, has made its own choice, and gets what it asked for.
"""
import collections
import importlib.util
import io
import pickle
import re
import sys
import types
import warnings
from typing import Any

import torch

from ..errors import InputError


def repair() -> str | None:
    """Replace ``torch.load`` in Dassl's checkpoint functions; return what was repaired, None if PyTorch reads them."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    content = io.BytesIO()
    torch.save(torch.optim.lr_scheduler.StepLR(torch.optim.SGD([parameter], lr=1.0), 1), content)
    content.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.load(content)
            return None
        except pickle.UnpicklingError:
            pass
    vars(sys.modules["dassl.utils.torchtools"])["torch"] = _TorchOfDassl("torch")
    return f"PyTorch {torch.__version__} does not load the scheduler objects in its checkpoints"


class _TorchOfDassl(types.ModuleType):
    """The module torch as Dassl's checkpoint functions see it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def load(f: Any, *args: Any, **options: Any) -> Any:
        """Call ``torch.load`` as Dassl does, with optimizers, schedulers and numpy's numbers let through.

        Raises:
            InputError: the file holds anything else.
        """
        if options.get("weights_only") is not None:
            return torch.load(f, *args, **options)
        # Dassl tries again with it after a UnicodeDecodeError, and PyTorch would then unpickle whatever the file holds.
        options.pop("pickle_module", None)
        with torch.serialization.safe_globals(safe_globals()):
            try:
                content = torch.load(f, *args, **options)
            except (pickle.UnpicklingError, UnicodeDecodeError) as error:
                raise InputError(_refusal(f, error)) from error
        _restore_state(content)
        return content


def _refusal(file: Any, error: Exception) -> str:
    reason = re.search(r"GLOBAL (\S+)|(?:class|global) (\S+)", str(error))
    what = f"objects of {(reason[1] or reason[2]).strip(chr(39) + '>')}" if reason else "damaged or foreign content"
    return (f"{file} holds {what}: only tensors, plain values and the optimizers and schedulers of PyTorch and Dassl "
            "are loaded; if you trust the file, give weights_only=False to torch.load in your Dassl's load_checkpoint")


def safe_globals() -> list[Any]:
    """Return what ``torch.serialization.safe_globals`` is to let through: making these runs PyTorch's code alone."""
    torch_classes = [cls for base in (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
                     for cls in _subclasses(base) if cls.__module__.partition(".")[0] in ("torch", "dassl")]
    return [*torch_classes, dict, (_state, "collections.defaultdict"), *_numpy_numbers()]


def _subclasses(cls: type) -> list[type]:
    return [cls, *(below for child in cls.__subclasses__() for below in _subclasses(child))]


def _numpy_numbers() -> list[Any]:
    """Return the names of numpy's scalars: files of numpy 1 call its module ``core``, those of numpy 2 ``_core``."""
    import numpy
    core = "_core" if importlib.util.find_spec("numpy._core") else "core"
    scalar = importlib.import_module(f"numpy.{core}.multiarray").scalar
    dtypes = {type(numpy.dtype(code)) for code in f"?{numpy.typecodes['AllInteger']}efd"}
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), numpy.dtype, *dtypes]


def _state(_factory: Any = None) -> dict:
    """Stand for ``defaultdict``, as which an optimizer keeps its state: PyTorch's safe reader fills dicts alone."""
    return {}


def _restore_state(content: Any) -> None:
    """Make the state of the optimizers in a checkpoint the ``defaultdict`` again that it was when it was saved."""
    pending, seen = [content], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, torch.optim.Optimizer):
            node.state = collections.defaultdict(dict, node.state)
        elif isinstance(node, dict):
            pending += node.values()
        elif isinstance(node, torch.optim.lr_scheduler.LRScheduler):
            pending += vars(node).values()
