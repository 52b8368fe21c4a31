"""Checkpoints and a few handles on modules.

A checkpoint is a dict of plain values and tensors: ``state_dict``, ``epoch`` (number of epochs trained),
``optimizer``, ``scheduler``, ``val_result``. It lies in ``FOLDER/model.pth.tar-EPOCH``; ``FOLDER/checkpoint``
names the file written last.
"""
import contextlib
import os
import pickle
import shutil
import types
import warnings
import zipfile

import torch
from torch import nn

from ..errors import ConfigError, DamagedFileError, MissingFileError
from .tools import atomic_write


def save_checkpoint(state, save_dir, is_best=False, remove_module_from_keys=True, model_name=""):
    """Write a checkpoint.

    Args:
        state: the dict described above.
        save_dir: the folder; made where missing.
        is_best: also write it as ``model-best.pth.tar``.
        remove_module_from_keys: drop nn.DataParallel's ``module.`` from the names in ``state["state_dict"]``.
        model_name: file name in place of ``model.pth.tar-EPOCH``.
    """
    if remove_module_from_keys:
        state = {**state, "state_dict": {k.removeprefix("module."): v for k, v in state["state_dict"].items()}}
    path = os.path.join(save_dir, model_name or f"model.pth.tar-{state['epoch']}")
    with atomic_write(path) as temporary:
        torch.save(state, temporary)
    print(f"Checkpoint saved to {path}")
    with atomic_write(os.path.join(save_dir, "checkpoint")) as temporary, open(temporary, "w") as pointer:
        pointer.write(f"{os.path.basename(path)}\n")
    if is_best:
        best = os.path.join(save_dir, "model-best.pth.tar")
        with atomic_write(best) as temporary:
            shutil.copyfile(path, temporary)
        print(f"Best checkpoint saved to {best}")


class _Inert:
    """Stands for an object of a class that a checkpoint may not bring to life; holds its state, does nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.__dict__.update(state)


class _DataUnpickler(pickle.Unpickler):
    """Builds tensors and plain containers; any other class becomes an _Inert, so no foreign code can run."""

    ALLOWED = frozenset({
        ("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "Counter"),
        ("builtins", "dict"), ("torch", "Size"), ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
    })

    def find_class(self, module, name):
        return super().find_class(module, name) if (module, name) in self.ALLOWED else _Inert


# what torch.load asks of a pickle module
_data_pickle = types.SimpleNamespace(Unpickler=_DataUnpickler, __name__="minidassl's data-only pickle",
                                     load=lambda file, **kw: _DataUnpickler(file, **kw).load())


def _is_program(fpath):
    """Return whether a file is a TorchScript archive, which older versions of torch.load would run.

    PyTorch is asked as well: of a zip with two tables of contents it may read another one than Python does.
    """
    with contextlib.suppress(RuntimeError, ValueError, OSError), open(fpath, "rb") as file:  # no zip, or a damaged one
        if "constants.pkl" in torch._C.PyTorchFileReader(file).get_all_records():
            return True
    try:
        with zipfile.ZipFile(fpath) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # a damaged one
        return False


def load_checkpoint(fpath):
    """Return the dict in a checkpoint, its tensors on the CPU.

    Nothing in the file can run code. Checkpoints written by Dassl itself hold whole scheduler objects; these come
    back as inert stand-ins with the object's attributes.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: the file is damaged or is no checkpoint; the message names it.
    """
    if not os.path.isfile(fpath):
        raise MissingFileError(f"No checkpoint at {fpath}")
    if _is_program(fpath):
        raise DamagedFileError(f"{fpath} is a program (TorchScript), not a checkpoint")
    try:
        try:
            return torch.load(fpath, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            return torch.load(fpath, map_location="cpu", weights_only=False, pickle_module=_data_pickle)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise DamagedFileError(f"{fpath} is damaged or not a checkpoint ({reason}); remove it or fetch it "
                               "again") from error


def resume_from_checkpoint(fdir, model, optimizer=None, scheduler=None):
    """Load the checkpoint written last in folder ``fdir`` into model, optimizer and scheduler, where given.

    Returns:
        The number of epochs trained, that is the epoch to start with.
    """
    with open(os.path.join(fdir, "checkpoint")) as pointer:
        path = os.path.join(fdir, pointer.readline().strip())
    print(f"Loading checkpoint from {path}")
    checkpoint = load_checkpoint(path)
    model.load_state_dict(checkpoint["state_dict"])
    for part, name in ((optimizer, "optimizer"), (scheduler, "scheduler")):
        if part is not None and checkpoint.get(name) is not None:
            part.load_state_dict(checkpoint[name])
    print(f"Loaded model weights, previous epoch: {checkpoint['epoch']}")
    return checkpoint["epoch"]


def load_pretrained_weights(model, weight_path):
    """Load what fits, by name and shape, from a checkpoint or a bare state dict; say what does not."""
    checkpoint = load_checkpoint(weight_path)
    weights = {k.removeprefix("module."): v for k, v in checkpoint.get("state_dict", checkpoint).items()}
    own = model.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)
    if not fitting:
        warnings.warn(f"Nothing in {weight_path} fits the model, by name and shape; it is left as it was", stacklevel=2)
        return
    print(f"Successfully loaded pretrained weights from {weight_path}")
    if len(fitting) < len(weights):
        print(f"Left out, as name or shape does not fit: {sorted(weights.keys() - fitting.keys())}")


def count_num_param(model):
    """Return the number of parameters of a module, or of an iterable of parameters."""
    parameters = model.parameters() if isinstance(model, nn.Module) else model
    return sum(p.numel() for p in parameters)


def open_all_layers(model):
    """Put the whole model into training mode with gradients."""
    model.train().requires_grad_(True)


def open_specified_layers(model, open_layers):
    """Train only the children named in ``open_layers`` (a name or a list); freeze the others, in eval mode."""
    children = dict(model.named_children())
    open_layers = [open_layers] if isinstance(open_layers, str) else open_layers
    unknown = sorted(set(open_layers) - children.keys())
    if unknown:
        raise ConfigError(f"the model has no layers {unknown}, but {sorted(children)}")
    for name, child in children.items():
        child.train(name in open_layers).requires_grad_(name in open_layers)


_INIT = {
    "normal": lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: nn.init.xavier_normal_(weight, gain=gain),
    "kaiming": lambda weight, gain: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
    "orthogonal": lambda weight, gain: nn.init.orthogonal_(weight, gain=gain),
}


def init_network_weights(model, init_type="normal", gain=0.02):
    """Draw new weights for convolutions and linear layers; norms start at scale 1; all biases at 0.

    Args:
        init_type: normal (std ``gain``), xavier, kaiming or orthogonal.
    """
    if init_type not in _INIT:
        raise ValueError(f"init_type is one of {sorted(_INIT)}, not {init_type!r}")
    for module in model.modules():
        kind = type(module).__name__
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if weight is not None and ("Conv" in kind or "Linear" in kind):
            _INIT[init_type](weight, gain)
        elif weight is not None and ("BatchNorm" in kind or "InstanceNorm" in kind):
            nn.init.ones_(weight)
        else:
            continue
        if bias is not None:
            nn.init.zeros_(bias)
