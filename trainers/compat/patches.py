"""Makes Dassl 0.5.0 to 0.6.3 run on current PyTorch, numpy and Pillow: each repair where it is needed, and logged once.

``repair`` imports the whole of Dassl on the way, because some faults show at import. Functions and classes keep their
identity, so that what a host repository has imported from Dassl before is repaired too.
"""
import contextlib
import importlib
import importlib.util
import inspect
import logging
import re
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import SetupError
from ..utils.images import read_image
from . import checkpoints, old_dassl

log = logging.getLogger("promptreg")
WILDS = "dassl.data.datasets.dg.wilds"
NUMPY_NAMES = {"int": int, "float": float, "bool": bool, "object": object, "str": str, "complex": complex}
PILLOW_NAMES = {"ANTIALIAS": "LANCZOS", "LINEAR": "BILINEAR", "CUBIC": "BICUBIC"}


def repair(dassl: types.ModuleType) -> list[str]:
    """Repair the installed Dassl.

    Args:
        dassl: the package, imported.

    Returns:
        What was repaired, one line each.

    Raises:
        SetupError: Dassl cannot be imported even so.
    """
    done = [without_wilds(dassl), numpy_names(dassl), pillow_names(dassl)]
    with _logging_kept():
        for part in ("utils", "optim", "data", "evaluation", "modeling", "engine"):
            try:
                importlib.import_module(f"dassl.{part}")
            except Exception as error:
                raise SetupError(f"Dassl at {dassl.__path__[0]} cannot be imported (dassl.{part}: {error}): "
                                 "install what it lacks; or uninstall it: minidassl takes its place") from error
    done += [schedulers(), resuming(), checkpoints.repair(), images()]
    done += [old_dassl.crop_scale(), old_dassl.evaluator_reset()]
    done = [line for line in done if line]
    for line in done:
        log.warning("Dassl %s repaired: %s", getattr(dassl, "__version__", "(no version)"), line)
    return done


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """Dassl's WILDS datasets switch off all warnings of the process when they are imported."""
    level = logging.root.manager.disable
    try:
        yield
    finally:
        logging.disable(level)


def without_wilds(dassl: types.ModuleType) -> str | None:
    """Let Dassl be imported where the package wilds, which three of its datasets need, is not installed."""
    there = any((Path(folder) / "data/datasets/dg/wilds").is_dir() for folder in dassl.__path__)
    if not there or WILDS in sys.modules or importlib.util.find_spec("wilds"):
        return None
    sys.modules[WILDS] = types.ModuleType(WILDS, "Stands for Dassl's WILDS datasets where wilds is not installed.")
    return "its WILDS datasets are left out, as the package wilds is not installed"


def _used(dassl: types.ModuleType, pattern: str) -> set[str]:
    """Return the set of what ``pattern`` finds in Dassl's source files."""
    files = (file for folder in dassl.__path__ for file in Path(folder).rglob("*.py"))
    return {name for file in files for name in re.findall(pattern, file.read_text(encoding="utf-8", errors="ignore"))}


def numpy_names(dassl: types.ModuleType) -> str | None:
    """Give numpy back the aliases of Python's types (gone since 1.24) that Dassl's augmentations use."""
    import numpy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of some that it once had
        gone = sorted(name for name in _used(dassl, rf"\bnp\.({'|'.join(NUMPY_NAMES)})\b") if not hasattr(numpy, name))
    for name in gone:
        setattr(numpy, name, NUMPY_NAMES[name])
    return f"numpy {numpy.__version__} has no {', '.join('np.' + name for name in gone)}" if gone else None


def pillow_names(dassl: types.ModuleType) -> str | None:
    """Give Pillow back the names of filters (gone since 10) that Dassl uses."""
    import PIL.Image
    used = _used(dassl, rf"\bImage\.({'|'.join(PILLOW_NAMES)})\b")
    gone = sorted(name for name in used if not hasattr(PIL.Image, name))
    for name in gone:
        setattr(PIL.Image, name, getattr(PIL.Image, PILLOW_NAMES[name]))
    return f"Pillow {PIL.__version__} has no {', '.join('Image.' + name for name in gone)}" if gone else None


def schedulers() -> str | None:
    """Let the warm-up schedulers be built: PyTorch's base class no longer takes ``verbose``."""
    module = sys.modules["dassl.optim.lr_scheduler"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    try:
        module.ConstantWarmupScheduler(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1), 1, 1e-5)
        return None
    except TypeError:
        if "verbose" not in inspect.signature(module._BaseWarmupScheduler.__init__).parameters:
            return None  # a fork's own scheduler, which this repair does not fit
        module._BaseWarmupScheduler.__init__ = _init_warmup
        return f"PyTorch {torch.__version__} takes no `verbose` for warm-up schedulers"


def _init_warmup(self: Any, optimizer: torch.optim.Optimizer, successor: Any, warmup_epoch: int, last_epoch: int = -1,
                 verbose: bool = False) -> None:
    self.successor, self.warmup_epoch = successor, warmup_epoch
    torch.optim.lr_scheduler.LRScheduler.__init__(self, optimizer, last_epoch)


def resuming() -> str | None:
    """Let a resumed warm-up scheduler's successor, the cosine schedule say, step the run's own optimizer.

    In Dassl the successor comes back from the checkpoint with an optimizer of its own, and the run's learning rate
    stays where it was.
    """
    base = sys.modules["dassl.optim.lr_scheduler"]._BaseWarmupScheduler
    if "load_state_dict" in vars(base):
        return None
    base.load_state_dict = _resume_warmup
    return "a resumed warm-up schedule steps the run's own optimizer"


def _resume_warmup(self: Any, state: dict[str, Any]) -> None:
    saved, own = state["successor"], self.successor
    torch.optim.lr_scheduler.LRScheduler.load_state_dict(self, {**state, "successor": own})
    saved = saved if isinstance(saved, dict) else vars(saved)  # a fork may save its state_dict
    own.load_state_dict({key: value for key, value in saved.items() if key != "optimizer"})


def images() -> str:
    """Let a damaged image be named, where Dassl tries it again for ever."""
    original = sys.modules["dassl.utils.tools"].read_image
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "dassl" and vars(module).get("read_image") is original:
            vars(module)["read_image"] = read_image
    return "a damaged image is named and not tried again for ever"
