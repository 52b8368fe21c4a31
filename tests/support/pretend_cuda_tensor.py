"""The pretended CUDA device's tensors and the entries of its record (see ``pretend_cuda``)."""
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import torch

import trainers

torch._C._ensureCUDADeviceGuardSet()  # a guard that asks no driver where there is none
CUDA = torch.device("cuda", 0)
LIBRARY = tuple(str(Path(trainers.__file__).parents[1] / name) + "/" for name in ("trainers", "minidassl", "datasets"))


class CudaError(RuntimeError):
    """What a CUDA device would have refused."""


class Event(NamedTuple):
    """One entry of the record.

    Attributes:
        kind: launch, sync, upload, view or double.
        what: the operator.
        line: of the library, as room/file.py:number.
        launches: kernels that it starts.
        flops: of matrix products, convolutions and attention.
        size: bytes read and written.
    """

    kind: str
    what: str
    line: str
    launches: int = 0
    flops: float = 0
    size: int = 0


def library_line():
    """Return the innermost line of the library on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        name = _library_file(frame.f_code.co_filename)
        if name:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside of the library"


@functools.cache
def _library_file(path):
    """Return room/file.py, or "" where it is none of the library's."""
    return "/".join(Path(path).parts[-2:]) if path.startswith(LIBRARY) else ""


class CudaTensor(torch.Tensor):
    """A CPU (or shape-only) tensor ``content`` that says it is on cuda:0; to C++ it lies on "meta"."""

    @staticmethod
    def __new__(cls, content):
        made = torch.Tensor._make_wrapper_subclass(cls, content.size(), strides=content.stride(), dtype=content.dtype,
                                                   storage_offset=content.storage_offset(), device="meta")
        made.content = content
        return made

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = is_meta = property(lambda self: False)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return running().dispatch(func, args, kwargs or {})

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, value):
        torch.Tensor.data.__set__(self, value)
        self.content = value.content

    def get_device(self):
        return 0

    def is_pinned(self, *_):
        return False

    def numpy(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def tolist(self):
        running().add("sync", "tolist")
        return self.content.tolist()

    def untyped_storage(self):
        return self.content.untyped_storage()

    def __repr__(self, **_):
        return f"CudaTensor({self.content!r})"

    def __deepcopy__(self, memo):
        copy = CudaTensor(self.content.clone())
        return torch.nn.Parameter(copy, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copy

    def __reduce_ex__(self, protocol):  # torch.save reads the bytes; map_location then decides where they go
        running().add("sync", "save")
        return self.content.detach().__reduce_ex__(protocol)


_running = []
_shapes_alone = []  # while a factory runs below ``with torch.device("meta")``: what it makes is on no device


def running():
    """Return the device that is switched on."""
    if not _running:
        raise CudaError("a pretended CUDA tensor is used outside of PretendCuda")
    return _running[-1]


def content(value):
    return value.content if isinstance(value, CudaTensor) else value


def wrapped(value):
    return CudaTensor(value) if isinstance(value, torch.Tensor) and not isinstance(value, CudaTensor) else value


def each(value, change):
    """Return operators' arguments or results with ``change`` made to each tensor: they nest in lists alone."""
    if isinstance(value, torch.Tensor):
        return change(value)
    return type(value)([each(part, change) for part in value]) if type(value) in (list, tuple) else value


def tensors_of(value, found):
    """Add the tensors of operators' arguments or results to the list ``found``; returns it."""
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif type(value) in (list, tuple):
        for part in value:
            tensors_of(part, found)
    return found


def means_cuda(device):
    """Whether a factory makes a CUDA tensor: C++ takes a wrapper's device, meta, for one that is like another."""
    if device is None:
        return False
    kind = torch.device(device).type
    return kind == "cuda" or kind == "meta" and not _shapes_alone
