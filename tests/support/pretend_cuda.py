"""A CUDA device without a GPU: CPU numbers under the rules of one, and a record of what it would have been asked for.

    with PretendCuda() as gpu:
        trainer = ...  # torch.cuda.is_available() is True and tensors say cuda:0
    gpu.count("launch"), gpu.by_line("sync")

Its tensors are wrappers around CPU tensors. Refused, as a GPU refuses them: CPU tensors among CUDA tensors,
matrix products, convolutions and norms of several dtypes, attention masks of another dtype than the queries. Recorded,
each with the line of the library that caused it: kernel launches, host synchronizations, uploads, float64 arithmetic.
``PretendCuda(compute=False)`` keeps shapes alone, which is enough to count at full size. Nothing here has been compared
with a real GPU: how many kernels an operator starts is KERNELS's word.
"""
import collections
import contextlib
import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .pretend_cuda_tensor import (
    CudaError,
    CudaTensor,
    Event,
    _running,
    content,
    each,
    library_line,
    means_cuda,
    tensors_of,
    wrapped,
)

# Operators that start no kernel: views, and memory without content.
VIEWS = frozenset("""view _unsafe_view reshape t transpose expand slice select unsqueeze squeeze detach alias permute
    split split_with_sizes unbind as_strided unfold diagonal lift_fresh _reshape_alias unsafe_split movedim empty
    empty_like new_empty empty_strided new_empty_strided view_as_real is_same_size""".split())
# Operators that start more than one, from PyTorch's CUDA sources: sorts, fills before scatters, two passes.
KERNELS = {"_index_put_impl": 8, "index_put": 8, "embedding_dense_backward": 6, "topk": 2, "constant_pad_nd": 2,
           "index_copy": 2, "index_add": 1, "index_fill": 2, "slice_backward": 2, "select_backward": 2,
           "index_select_backward": 2, "convolution": 2, "cumsum": 2, "sort": 4, "_euclidean_dist": 3}
ONE_DTYPE = frozenset("""mm addmm bmm baddbmm addmv mv dot convolution native_layer_norm native_layer_norm_backward
    native_batch_norm index_copy index_add""".split())
WAITS = frozenset("nonzero masked_select unique _unique2 unique_dim unique_consecutive equal is_nonzero".split())


class PretendCuda(TorchDispatchMode):
    """The device; see the module.

    Args:
        compute: False keeps shapes and no numbers; a number that is read is 1.
        memory: bytes that ``torch.cuda.mem_get_info`` finds free.

    Attributes:
        events: the record, a list of ``Event``.
    """

    def __init__(self, compute=True, memory=70 << 30):
        super().__init__()
        self.compute, self.memory, self.gpus, self.events = compute, memory, 1, []
        self.generator = torch.Generator().manual_seed(0)
        self.tape = None  # of a capture under way

    # ---- the record

    def add(self, kind, what, launches=0, flops=0, size=0):
        if self.tape is not None and kind in ("sync", "upload"):
            raise CudaError(f"CUDA error: operation not permitted when stream is capturing: {what} at {library_line()}")
        self.events.append(Event(kind, what, library_line(), launches, flops, size))

    def count(self, kind):
        """Return how many launches, or events of another kind, there are."""
        return sum(e.launches if kind == "launch" else 1 for e in self.events if e.kind == kind)

    def by_line(self, kind):
        """Return {"operator at line": how many} of one kind."""
        return collections.Counter(f"{e.what} at {e.line}" for e in self.events if e.kind == kind)

    # ---- on and off

    def __enter__(self):
        from . import pretend_cuda_patches
        self.patches = contextlib.ExitStack()
        for patch in pretend_cuda_patches.patches(self):
            self.patches.enter_context(patch)
        _running.append(self)
        return super().__enter__()

    def __exit__(self, *stop):
        super().__exit__(*stop)
        _running.remove(self)
        self.patches.close()

    # ---- operators

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.dispatch(func, args, kwargs or {})

    def dispatch(self, func, args, kwargs):
        name, device = func._schema.name.partition("::")[2], kwargs.get("device")
        tensors = tensors_of([*args, *kwargs.values()], [])
        if not any(isinstance(t, CudaTensor) for t in tensors) and not means_cuda(device):
            return func(*args, **kwargs)
        if name in ("_to_copy", "copy_"):
            return self.copy(func, name, args, kwargs)
        plain = name if name.startswith("_") else name.rstrip("_")
        self.check(plain, args, tensors)
        if name == "_local_scalar_dense":
            self.add("sync", "item")
            return func(content(args[0])) if self.compute else True
        if plain in WAITS:
            self.add("sync", plain)
        inside = content if self.compute else self.shape_only
        more = {key: each(value, inside) for key, value in kwargs.items()}
        if "device" in kwargs:
            more["device"] = torch.device("cpu" if self.compute else "meta")
        if name in ("normal_", "uniform_", "random_", "bernoulli_") and self.compute:
            more["generator"] = self.generator
        if name == "_efficientzerotensor":  # zeros without memory, of gradients of gradients: nothing here reads those
            func = torch.ops.aten.zeros.default
        out = func(*each(args, inside), **more)
        self.launched(plain, tensors, out)
        in_place = func._schema.is_mutable and name.endswith("_")
        if in_place:
            made = None if name.startswith("_foreach") else args[0]
        else:
            made = each(out, wrapped)
        if self.tape is not None and plain not in VIEWS:
            self.tape.add(lambda: func(*each(args, content), **more), tensors_of([] if in_place else made, []),
                          tensors_of(args[0], []) if in_place else ())
        return made

    def shape_only(self, value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.content if isinstance(value, CudaTensor) else value.to("meta")

    def copy(self, func, name, args, kwargs):
        """Copies between devices, and casts."""
        into, source = (args[0], args[1]) if name == "copy_" else (None, args[0])
        device = kwargs.get("device")
        from_cuda = isinstance(source, CudaTensor)
        to_cuda = isinstance(into, CudaTensor) if into is not None else means_cuda(device) or from_cuda and not device
        if from_cuda and not to_cuda:
            self.add("sync", "copy to the CPU")
        elif from_cuda:
            self.launched("copy", [source], source)
        elif source.dim() or into is None:
            self.upload(source, kwargs.get("non_blocking") or name == "copy_" and len(args) > 2 and args[2])
        data = source.content if from_cuda else source
        if not self.compute:
            data = torch.zeros(data.shape, dtype=data.dtype) if from_cuda and not to_cuda else data.to("meta")
        rest = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking", "pin_memory")}
        made = into if into is not None else wrapped(func(data, **rest)) if to_cuda else func(data, **rest)
        if into is not None:
            content(into).copy_(data)
        if self.tape is not None:
            again = (lambda: content(into).copy_(data)) if into is not None else lambda: func(source.content, **rest)
            self.tape.add(again, [] if into is not None else [made], [into] if into is not None else ())
        return made

    def upload(self, source, non_blocking):
        self.add("upload", "copy to CUDA")
        if not (non_blocking and getattr(source, "pinned", False)):
            self.add("sync", "upload of pageable memory, or one that blocks")

    def check(self, name, args, tensors):
        """Raise CudaError where a GPU would."""
        if name in ("index", "index_put", "_index_put_impl", "_unsafe_index"):
            self.check_indices(name, *args[:2])
            tensors = [args[0], *([args[2]] if len(args) > 2 else [])]
        here = [t for t in tensors if not isinstance(t, CudaTensor) and t.dim()]
        if here:
            raise CudaError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 "
                            f"and cpu: {name}, {[list(t.shape) for t in here]} at {library_line()}")
        kinds = {t.dtype for t in tensors if t.dtype.is_floating_point}
        if name in ONE_DTYPE and len(kinds) > 1:
            raise CudaError(f"expected one dtype, got {' and '.join(sorted(map(str, kinds)))}: {name} at "
                            f"{library_line()}")

    def check_indices(self, name, indexed, indices):
        for index in indices:
            if index is not None and index.dtype in (torch.bool, torch.uint8):
                self.add("sync", f"{name} by a mask")
            elif index is not None and not isinstance(index, CudaTensor):
                self.add("sync", f"{name} by an index on the CPU")
        if not isinstance(indexed, CudaTensor):
            raise CudaError(f"indices should be on the same device as the indexed tensor (cpu): {library_line()}")

    def launched(self, name, tensors, out):
        """Record one operator."""
        if name in VIEWS:
            self.add("view", name)
            return
        made = tensors_of(out, [])
        if any(t.dtype == torch.float64 and t.dim() for t in (*tensors, *made)) and name != "copy":
            self.add("double", name)
        size = sum(t.numel() * t.element_size() for t in (*tensors, *made) if 0 not in t.stride() or t.numel() < 2)
        self.add("launch", name, KERNELS.get(name, 1), flops(name, tensors, made), size)

    def kernel(self, name, compute, *tensors, launches=1, operations=0):
        """Run a kernel that no operator of PyTorch's stands for: ``compute`` makes CPU tensors of the CPU tensors."""
        inside = [content(t) for t in tensors]
        made = [wrapped(t) for t in compute(*inside)]
        size = sum(t.numel() * t.element_size() for t in (*tensors, *made) if t is not None)
        self.add("launch", name, launches, operations, size)
        if self.tape is not None:
            self.tape.add(lambda: compute(*inside), made)
        return made


def flops(name, tensors, made):
    """Return the floating point operations of a matrix product or a convolution, 0 for all else."""
    if name in ("mm", "bmm"):
        return 2 * math.prod(tensors[0].shape) * tensors[1].shape[-1]
    if name in ("addmm", "baddbmm"):
        return 2 * math.prod(tensors[1].shape) * tensors[2].shape[-1]
    if name == "convolution":
        return 2 * math.prod(made[0].shape) * math.prod(tensors[1].shape[1:])
    return 0


__all__ = ["CudaError", "PretendCuda"]
