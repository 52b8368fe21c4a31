"""Makes Dassl 0.6.3 run on current PyTorch, numpy and Pillow: each repair where it is needed, and logged once.

``run`` imports the whole of Dassl on the way, because some faults show at import. Functions and classes keep their
identity, so that what a host repository has imported from Dassl before is repaired too.
"""
import contextlib
import importlib
import importlib.util
import inspect
import io
import logging
import pickle
import re
import sys
import types
import warnings
from pathlib import Path

import torch

from .errors import EnvironmentFault, InputError
from .images import read_image

log = logging.getLogger("promptreg")
WILDS = "dassl.data.datasets.dg.wilds"
NUMPY_NAMES = {"int": int, "float": float, "bool": bool, "object": object, "str": str, "complex": complex}
PILLOW_NAMES = {"ANTIALIAS": "LANCZOS", "LINEAR": "BILINEAR", "CUBIC": "BICUBIC"}


def run(dassl):
    """Repair the installed Dassl.

    Args:
        dassl: the package, imported.

    Returns:
        What was repaired, one line each.

    Raises:
        EnvironmentFault: Dassl cannot be imported even so.
    """
    done = [without_wilds(dassl), numpy_names(dassl), pillow_names(dassl)]
    with _logging_kept():
        for part in ("utils", "optim", "data", "evaluation", "modeling", "engine"):
            try:
                importlib.import_module(f"dassl.{part}")
            except Exception as error:
                raise EnvironmentFault(f"Dassl at {dassl.__path__[0]} cannot be imported (dassl.{part}: {error}): "
                                       "install what it lacks; or uninstall it: minidassl takes its place") from error
    done += [schedulers(), resuming(), loading(), images()]
    done = [line for line in done if line]
    for line in done:
        log.warning("Dassl %s repaired: %s", getattr(dassl, "__version__", "(no version)"), line)
    return done


@contextlib.contextmanager
def _logging_kept():
    """Dassl's WILDS datasets switch off all warnings of the process when they are imported."""
    level = logging.root.manager.disable
    try:
        yield
    finally:
        logging.disable(level)


def without_wilds(dassl):
    """Let Dassl be imported where the package wilds, which three of its datasets need, is not installed."""
    there = any((Path(folder) / "data/datasets/dg/wilds").is_dir() for folder in dassl.__path__)
    if not there or WILDS in sys.modules or importlib.util.find_spec("wilds"):
        return None
    sys.modules[WILDS] = types.ModuleType(WILDS, "Stands for Dassl's WILDS datasets where wilds is not installed.")
    return "its WILDS datasets are left out, as the package wilds is not installed"


def _used(dassl, pattern):
    """Return the set of what ``pattern`` finds in Dassl's source files."""
    files = (file for folder in dassl.__path__ for file in Path(folder).rglob("*.py"))
    return {name for file in files for name in re.findall(pattern, file.read_text(encoding="utf-8", errors="ignore"))}


def numpy_names(dassl):
    """Give numpy back the aliases of Python's types (gone since 1.24) that Dassl's augmentations use."""
    import numpy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of some that it once had
        gone = sorted(name for name in _used(dassl, rf"\bnp\.({'|'.join(NUMPY_NAMES)})\b") if not hasattr(numpy, name))
    for name in gone:
        setattr(numpy, name, NUMPY_NAMES[name])
    return f"numpy {numpy.__version__} has no {', '.join('np.' + name for name in gone)}" if gone else None


def pillow_names(dassl):
    """Give Pillow back the names of filters (gone since 10) that Dassl uses."""
    import PIL.Image
    used = _used(dassl, rf"\bImage\.({'|'.join(PILLOW_NAMES)})\b")
    gone = sorted(name for name in used if not hasattr(PIL.Image, name))
    for name in gone:
        setattr(PIL.Image, name, getattr(PIL.Image, PILLOW_NAMES[name]))
    return f"Pillow {PIL.__version__} has no {', '.join('Image.' + name for name in gone)}" if gone else None


def schedulers():
    """Let the warm-up schedulers be built: PyTorch's base class no longer takes ``verbose``."""
    module = sys.modules["dassl.optim.lr_scheduler"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    try:
        module.ConstantWarmupScheduler(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1), 1, 1e-5)
        return None
    except TypeError:
        module._BaseWarmupScheduler.__init__ = _init_warmup
        return f"PyTorch {torch.__version__} takes no `verbose` for warm-up schedulers"


def _init_warmup(self, optimizer, successor, warmup_epoch, last_epoch=-1, verbose=False):
    self.successor, self.warmup_epoch = successor, warmup_epoch
    torch.optim.lr_scheduler.LRScheduler.__init__(self, optimizer, last_epoch)


def resuming():
    """Let a resumed warm-up scheduler's successor, the cosine schedule say, step the run's own optimizer.

    In Dassl the successor comes back from the checkpoint with an optimizer of its own, and the run's learning rate
    stays where it was.
    """
    base = sys.modules["dassl.optim.lr_scheduler"]._BaseWarmupScheduler
    if "load_state_dict" in vars(base):
        return None
    base.load_state_dict = _resume_warmup
    return "a resumed warm-up schedule steps the run's own optimizer"


def _resume_warmup(self, state):
    saved, own = state["successor"], self.successor
    torch.optim.lr_scheduler.LRScheduler.load_state_dict(self, {**state, "successor": own})
    own.load_state_dict({key: value for key, value in vars(saved).items() if key != "optimizer"})


def loading():
    """Let Dassl read its own checkpoints, which hold scheduler objects, under PyTorch's ``weights_only``."""
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
    module = sys.modules["dassl.utils.torchtools"]
    vars(module)["torch"] = _TorchThatLoadsData("torch")
    return f"PyTorch {torch.__version__} does not load the scheduler objects in its checkpoints"


class _TorchThatLoadsData(types.ModuleType):
    """The module torch as Dassl's checkpoint functions see it."""

    def __getattr__(self, name):
        return getattr(torch, name)

    @staticmethod
    def load(file, map_location=None, **_):
        """Read tensors, plain values, and PyTorch's own optimizers and schedulers; nothing else is brought to life."""
        with torch.serialization.safe_globals(_harmless()):
            try:
                return torch.load(file, map_location=map_location, weights_only=True)
            except pickle.UnpicklingError as error:
                reason = re.search(r"GLOBAL (\S+)|(?:class|global) (\S+)", str(error))
                what = f"objects of {reason[1] or reason[2]}" if reason else "damaged or foreign content"
                raise InputError(f"{file} holds {what}: nothing but tensors, plain values and PyTorch's optimizers and "
                                 "schedulers is loaded; write the file again without") from error


def _harmless():
    """Classes whose objects Dassl's checkpoints hold and whose making runs nothing but PyTorch's own code."""
    import collections

    import numpy
    core = "numpy._core" if hasattr(numpy, "_core") else "numpy.core"
    multiarray = importlib.import_module(f"{core}.multiarray")
    kinds = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    torchs = [value for module in (torch.optim, torch.optim.lr_scheduler, sys.modules["dassl.optim.lr_scheduler"])
              for value in vars(module).values()
              if inspect.isclass(value) and issubclass(value, kinds)]
    dtypes = [type(numpy.dtype(name)) for name in ("float64", "float32", "int64")]
    return [*torchs, collections.defaultdict, collections.Counter, dict, multiarray.scalar, numpy.dtype, *dtypes]


def images():
    """Let a damaged image be named, where Dassl tries it again for ever."""
    original = sys.modules["dassl.utils.tools"].read_image
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "dassl" and vars(module).get("read_image") is original:
            vars(module)["read_image"] = read_image
    return "a damaged image is named and not tried again for ever"
