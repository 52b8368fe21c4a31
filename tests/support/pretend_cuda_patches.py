"""What PretendCuda puts in place of PyTorch's own while it is on: the driver, pinned memory, attention, NCCL."""
import contextlib
import math
import sys
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn.functional as F
import torch.utils._foreach_utils
from torch.utils._device import DeviceContext

try:
    from trainers.clip import fused
except ImportError:  # benchmarks/launches.py counts an older version's launches, too
    fused = None

from .pretend_cuda_kernels import Kernels, attention
from .pretend_cuda_tensor import CUDA, CudaError, CudaTensor, _shapes_alone, means_cuda, tensors_of

PLAIN_FORK = torch.random.fork_rng


def patches(gpu):
    """Return the context managers that make PyTorch find the device ``gpu``."""
    foreach = {"_foreach_supported_types": [torch.Tensor, torch.nn.Parameter, CudaTensor],
               "_get_foreach_kernels_supported_devices": lambda: ["cuda"]}
    return [mock.patch.object(owner, name, value) for owner, names in {
        torch.cuda: driver(gpu), torch.accelerator: accelerator(),
        torch: {"tensor": on_cpu_first(torch.tensor), "as_tensor": on_cpu_first(torch.as_tensor)},
        torch.random: {"fork_rng": lambda *_, **__: PLAIN_FORK(devices=[])},
        torch.Tensor: {"pin_memory": pin_memory, "is_pinned": lambda tensor, *_: getattr(tensor, "pinned", False)},
        F: {"scaled_dot_product_attention": attention}, dist: nccl(),
        **({fused: {"kernels": lambda: Kernels}} if fused else {}),
        DeviceContext: {"__torch_function__": noted(DeviceContext.__torch_function__)},
        sys.modules["torch.optim.optimizer"]: foreach, torch.utils._foreach_utils: foreach,
    }.items() for name, value in names.items()]


def driver(gpu):
    """Return what stands for functions of torch.cuda, {name: function}."""
    def set_states(states):
        if any(isinstance(state, CudaTensor) for state in states):
            raise TypeError("RNG state must be a torch.ByteTensor")
        gpu.generator.set_state(states[0])
    nothing = lambda *_, **__: None  # noqa: E731
    return {
        "is_available": lambda: True, "is_initialized": lambda: True, "init": nothing, "_lazy_init": nothing,
        "device_count": lambda: gpu.gpus, "current_device": lambda: 0, "set_device": nothing, "empty_cache": nothing,
        "synchronize": lambda *_: gpu.add("sync", "synchronize"), "get_device_name": lambda *_: "Pretended GPU",
        "get_device_capability": lambda *_: (9, 0), "mem_get_info": lambda *_: (gpu.memory, 80 << 30),
        "max_memory_allocated": lambda *_: 1 << 30, "memory_allocated": lambda *_: 1 << 30,
        "reset_peak_memory_stats": nothing,
        "manual_seed": gpu.generator.manual_seed, "manual_seed_all": gpu.generator.manual_seed,
        "get_rng_state": lambda *_: gpu.generator.get_state(),
        "get_rng_state_all": lambda: [gpu.generator.get_state()], "set_rng_state_all": set_states, **graphs(gpu)}


def graphs(gpu):
    """Return what stands for CUDA graphs and streams."""
    class Graph:
        def replay(self):
            gpu.add("launch", "graph", 1)
            self.tape.replay()

    @contextlib.contextmanager
    def capture(graph):
        graph.tape = gpu.tape = Tape()
        try:
            yield
        finally:
            gpu.tape = None
        graph.tape.forget()

    class Stream:
        def wait_stream(self, other):
            pass
    return {"CUDAGraph": Graph, "graph": capture, "Stream": Stream, "current_stream": Stream,
            "stream": lambda stream: contextlib.nullcontext()}


class Tape:
    """What a CUDA graph holds: operators and the memory that they read and write, the same at each replay."""

    def __init__(self):
        self.entries, self.made = [], set()

    def add(self, again, made, written=()):
        """Add an operator: ``again`` computes it anew from the memory as it then is, for the tensors ``made``."""
        if any(id(t) not in self.made and t._base is None for t in written):
            raise CudaError("a captured step writes to memory that was there before")
        self.made |= {id(t) for t in made}
        self.entries.append((again, made))

    def forget(self):
        """A capture computes nothing: let nobody use what it has made before a replay."""
        for _, made in self.entries:
            for t in made:
                if t.dtype.is_floating_point:
                    t.content.fill_(math.nan)

    def replay(self):
        for again, made in self.entries:
            found = again()
            for old, new in zip(made, tensors_of(found, []), strict=True) if made else ():
                old.content.copy_(new)


def accelerator():
    return {"is_available": lambda: True, "current_accelerator": lambda *_, **__: torch.device("cuda"),
            "device_count": lambda: 1, "current_device_index": lambda: 0, "set_device_index": lambda *_: None}


def noted(make):
    """Note that a factory runs below ``with torch.device("meta")``."""
    def made(context, *args, **kwargs):
        if context.device.type != "meta":
            return make(context, *args, **kwargs)
        _shapes_alone.append(context)
        try:
            return make(context, *args, **kwargs)
        finally:
            _shapes_alone.pop()
    return made


def pin_memory(tensor, *_):
    if isinstance(tensor, CudaTensor):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor', only dense CPU tensors can be pinned")
    copy = tensor.clone()
    copy.pinned = True
    return copy


def on_cpu_first(make):
    """torch.tensor and torch.as_tensor look for the driver before anything is dispatched."""
    def made(data, *args, device=None, **kwargs):
        if not means_cuda(device):
            return make(data, *args, device=device, **kwargs)
        return make(data, *args, device="cpu", **kwargs).to(CUDA)
    return made


def nccl():
    """NCCL is gloo: it takes contiguous CUDA tensors and no others."""
    def inside(tensor):
        if not isinstance(tensor, CudaTensor):
            raise RuntimeError("No backend type associated with device type cpu")
        if not tensor.is_contiguous():
            raise ValueError("Tensors must be contiguous")
        return tensor.content

    def all_gather(outputs, tensor, *args, **kwargs):
        return gather([inside(output) for output in outputs], inside(tensor), *args, **kwargs)
    start, reduce, cast, gather = dist.init_process_group, dist.all_reduce, dist.broadcast, dist.all_gather
    return {"init_process_group": lambda backend=None, **more: start("gloo" if backend == "nccl" else backend, **more),
            "get_backend": lambda *_: "nccl", "all_gather": all_gather,
            "all_reduce": lambda tensor, *args, **more: reduce(inside(tensor), *args, **more),
            "broadcast": lambda tensor, *args, **more: cast(inside(tensor), *args, **more)}


__all__ = ["patches"]
