"""Reads PyTorch's zip files as data: tensors come out, objects come out inert, nothing they name is run.

Two kinds of published files need it: OpenAI's CLIP weights are TorchScript archives (program and all), and Dassl's
checkpoints hold scheduler objects, which ``torch.load(weights_only=True)`` refuses.
"""
import collections
import contextlib
import pickle
import zipfile
from os import PathLike
from typing import Any

import torch

# Packages whose objects may appear, as inert nodes; anything else is no accident and is refused by name.
HARMLESS = {"__torch__", "torch", "dassl", "minidassl", "promptreg", "numpy", "collections", "copyreg", "_codecs"}

STORAGES = {"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
            "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
            "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
            "BoolStorage": torch.bool}


class Node:
    """Stands for an object of a class that is not wanted: takes its arguments and state, does nothing."""

    def __init__(self, *args: Any) -> None:
        self.args, self.state = args, {}

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.state[key] = value

    def append(self, value: Any) -> None:
        pass


def is_torchscript(path: str | PathLike[str]) -> bool:
    """Whether the file is a TorchScript archive (rather than a PyTorch checkpoint, or no zip at all).

    PyTorch is asked as well: of a zip with two tables of contents it may read another one than Python does.
    """
    with contextlib.suppress(RuntimeError, ValueError, OSError), open(path, "rb") as file:  # no zip, or a damaged one
        if "constants.pkl" in torch._C.PyTorchFileReader(file).get_all_records():
            return True
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except (zipfile.BadZipFile, NotImplementedError):  # the latter of a damaged one
        return False


def read_archive(path: str | PathLike[str]) -> Any:
    """Return what ``path`` holds: dicts, lists, numbers, tensors; ``Node`` for anything else.

    Raises:
        pickle.UnpicklingError: the file names something outside PyTorch, Dassl and numpy.
        zipfile.BadZipFile, KeyError, EOFError: it is damaged.
    """
    with zipfile.ZipFile(path) as file:
        root = next((n for n in file.namelist() if n.endswith("/data.pkl")), None)
        if root is None:
            raise KeyError("no data.pkl inside")
        return _Reader(file, root.rpartition("/")[0]).load()


def module_parameters(node: Node, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return {dotted name: tensor} of a TorchScript module read by ``read_archive``."""
    found = {}
    for name, value in node.state.items():
        if isinstance(value, Node) and isinstance(value.state, dict):
            found.update(module_parameters(value, f"{prefix}{name}."))
        elif torch.is_tensor(value):
            found[prefix + name] = value
    return found


def _tensor(storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...],
            *_: Any) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset)


class _Reader(pickle.Unpickler):
    def __init__(self, file: zipfile.ZipFile, root: str) -> None:
        super().__init__(file.open(f"{root}/data.pkl"))
        self.file, self.root, self.storages = file, root, {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        plain_type = module in ("builtins", "__builtin__") and name in ("dict", "list", "tuple", "set", "object")
        if plain_type or module.partition(".")[0] in HARMLESS:
            return Node
        raise pickle.UnpicklingError(f"it names {module}.{name}, which a checkpoint has no use for")

    def persistent_load(self, key: tuple) -> torch.Tensor:
        """Return the flat tensor of a storage; key is ("storage", dtype, file name, device, entries)."""
        _, dtype, name, *_ = key
        if name not in self.storages:
            raw = self.file.read(f"{self.root}/data/{name}")
            self.storages[name] = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        return self.storages[name]
