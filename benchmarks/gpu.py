"""The figures of a machine with a GPU, by one command, in under eight minutes:

    python benchmarks/gpu.py [--quick] [--device cuda] [--out gpu]

Step times of all methods in fp16, bf16 and amp, with and without TRAIN.GRAPH, 100 and 1,000 classes, ViT-B/16, RN50 and
ViT-L/14; the published way beside ours; kernel launches by PyTorch's profiler beside those that benchmarks/launches.py
counts; memory; whether a captured step has the bits of one that is not, and Triton's kernels the numbers of PyTorch's;
images a second from the loader; and from these the minutes of ImageNet's 20 epochs. Parts come in the order of their
weight, and what does not fit --seconds is listed as left out. This has not been run on a GPU yet; the tests run
``--quick`` on a CPU.
"""
import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import SHAPES, class_names, keep, plain, random_clip_file, synchronize
from open_clip.model import CLIPVisionCfg
from run import without_frozen_text

from dassl.engine import TRAINER_REGISTRY
from trainers.clip import fused, load_clip
from trainers.config.defaults import defaults_of

METHODS = ("PromptSRC", "CoOp", "ProGrad", "KgCoOp", "IVLP", "MaPLe", "VPT", "CoCoOp")
BATCH = {"CoOp": 32, "CoCoOp": 1, "ProGrad": 32, "KgCoOp": 128}  # images a step, as published; else 4
SHAPES["tiny"] = (64, CLIPVisionCfg(layers=2, width=64, patch_size=32, image_size=224), 64)
EPOCHS, IMAGES = 20, 16_000  # of ImageNet's protocol: 16 shots of 1,000 classes


class Clock:
    """How much of the time that was given is left."""

    def __init__(self, seconds):
        self.end, self.left_out = time.monotonic() + seconds, []

    def allows(self, what):
        """Return whether there is time for one more part; notes it as left out where not."""
        if time.monotonic() < self.end:
            return True
        self.left_out.append(what)
        return False


class Bench:
    """The parts, on one device.

    Args:
        device: "cuda" or "cpu".
        folder: of the random weights.
        quick: two classes and two steps: a test of this file alone.
    """

    def __init__(self, device, folder, quick):
        self.device, self.folder, self.quick = device, folder, quick
        self.rounds = 2 if quick else 20

    def trainer(self, method, precision, classes, backbone="ViT-B/16", graph=True, plain_way=False):
        """Return (a trainer in training mode, its batch)."""
        names = class_names(2 if self.quick else classes)
        section = TRAINER_REGISTRY.get(method).SECTION
        settings = [f"TRAINER.{section}.PREC", precision, "TRAIN.GRAPH", graph]
        if self.quick:
            settings += [word for key in defaults_of(section) if key.startswith("PROMPT_DEPTH")
                         for word in (f"TRAINER.{section}.{key}", 2)]
        made = without_frozen_text(method, self.weights(backbone), names, settings, self.device)
        if plain_way:
            plain.make_plain(made)
        made.set_model_mode("train")
        size = 1 if self.quick else BATCH.get(method, 4)
        images, labels = torch.randn(size, 3, 224, 224), torch.randint(len(names), (size,))
        if self.device == "cuda":
            images, labels = images.pin_memory(), labels.pin_memory()
        return made, {"img": images, "label": labels}

    def weights(self, backbone):
        return random_clip_file("tiny" if self.quick else backbone, self.folder)

    def step(self, *case, **more):
        """Return a step's {"ms": median, "low": …, "high": …, "peak_mib": …, "captured": …}."""
        trainer, batch = self.trainer(*case, **more)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(1 if self.quick else 5):  # kernels are chosen, the graph is captured
            trainer.forward_backward(batch)
        taken = []
        for _ in range(self.rounds):
            synchronize()
            begin = time.perf_counter()
            for _ in range(1 if self.quick else 5):  # the host may run ahead, as in training
                trainer.forward_backward(batch)
            synchronize()
            taken.append((time.perf_counter() - begin) * 1e3 / (1 if self.quick else 5))
        computation = getattr(trainer, "computation", None)
        return {"ms": statistics.median(taken), "low": min(taken), "high": max(taken),
                "peak_mib": torch.cuda.max_memory_allocated() / 2 ** 20 if self.device == "cuda" else None,
                "captured": computation is not None and computation.graph is not None,
                "why_not": getattr(computation, "reason", "")}

    def launches(self):
        """Return how many kernels a step of PromptSRC starts, by the profiler, without a graph."""
        trainer, batch = self.trainer("PromptSRC", "fp16", 1000, graph=False)
        for _ in range(2):
            trainer.forward_backward(batch)
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self.device == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=kinds) as profile:
            trainer.forward_backward(batch)
            synchronize()
        names = [event.name for event in profile.events()]
        return {"launches": sum("LaunchKernel" in name for name in names),
                "copies": sum("cudaMemcpy" in name for name in names),
                "synchronizations": sum("Synchronize" in name for name in names) - (self.device == "cuda")}

    def same_bits(self, method, precision):
        """Return whether four captured steps leave the bits of four that are not."""
        left = []
        for graph in (False, True):
            torch.manual_seed(0)
            trainer, _ = self.trainer(method, precision, 100, graph=graph)
            torch.manual_seed(1)
            size = 1 if self.quick else BATCH.get(method, 4)
            for _ in range(4):
                trainer.forward_backward({"img": torch.randn(size, 3, 224, 224),
                                          "label": torch.randint(len(trainer.model.classnames), (size,))})
            left.append([p.detach().clone() for p in trainer.trainable])
        return all(torch.equal(a, b) for a, b in zip(*left, strict=True))

    def exactness(self):
        """Return by how much the logits in fp16, ours on this device, differ from float32 on the CPU."""
        file, images = self.weights("ViT-B/16"), torch.randn(2, 3, 224, 224)
        found = {}
        for name, precision, device in (("cpu", "fp32", "cpu"), ("fp32", "fp32", self.device),
                                        ("fp16", "fp16", self.device)):
            clip = load_clip(str(file), precision, device)
            with torch.no_grad():
                found[name] = clip.vision(clip.vision.embed(images.to(device))).float().cpu()
        scale = found["cpu"].abs().max()
        return {name: float((found[name] - found["cpu"]).abs().max() / scale) for name in ("fp32", "fp16")}


def triton_errors(device):
    """Return by how much Triton's kernels differ from PyTorch's own, or why they are not used."""
    if device != "cuda":
        return "not on CUDA"
    found = fused.kernels()
    if found is None:
        return "not used: see the warning above"
    return {str(dtype): max(fused.compare(found, dtype, torch.device(device)))
            for dtype in (torch.float16, torch.bfloat16, torch.float32)}


def loading():
    """Return the images a second that the training loader gives, decoded before."""
    import numpy as np
    from PIL import Image
    from torchvision import transforms as T

    from trainers.training.loader import CachedImages, EpochLoader, SeededBatchSampler, num_cpus
    steps = T.Compose([T.RandomResizedCrop(224, (0.08, 1.0), T.InterpolationMode.BICUBIC), T.RandomHorizontalFlip(),
                       T.ToTensor(), T.Normalize((0.5,) * 3, (0.25,) * 3)])
    with tempfile.TemporaryDirectory() as folder:
        items = []
        for i in range(64):
            path = Path(folder) / f"{i}.jpg"
            Image.fromarray(np.random.RandomState(i).randint(0, 255, (375, 500, 3), dtype=np.uint8)).save(path)
            items.append(type("Item", (), {"impath": str(path), "label": 0, "domain": 0}))
        workers = max(num_cpus() - 1, 0)
        loader = EpochLoader(CachedImages(items * 8, steps, 2 ** 31), SeededBatchSampler(512, 4, True), workers,
                             torch.cuda.is_available())
        sum(1 for _ in loader)
        begin = time.perf_counter()
        count = sum(len(batch["label"]) for batch in loader)
        return {"images_per_second": count / (time.perf_counter() - begin), "workers": workers}


def parts(bench):
    """Yield (name, function), what matters most first."""
    yield "Triton's kernels against PyTorch", lambda: triton_errors(bench.device)
    yield "logits against float32 on the CPU", bench.exactness
    for graph in (True, False):
        yield (f"PromptSRC fp16, 1000 classes, graph {graph}",
               lambda graph=graph: bench.step("PromptSRC", "fp16", 1000, graph=graph))
    yield "launches of PromptSRC fp16, 1000 classes", bench.launches
    for method in METHODS:
        yield f"same bits with and without graph: {method} fp16", lambda method=method: bench.same_bits(method, "fp16")
    yield "loader", loading
    yield ("PromptSRC fp32, 100 classes, the published way",
           lambda: bench.step("PromptSRC", "fp32", 100, graph=False, plain_way=True))
    yield "PromptSRC fp32, 100 classes, ours", lambda: bench.step("PromptSRC", "fp32", 100)
    yield "PromptSRC fp16, 1000 classes, ViT-L/14", lambda: bench.step("PromptSRC", "fp16", 1000, "ViT-L/14")
    for classes in (1000, 100):
        for method in METHODS:
            for precision in ("fp16", "amp", "bf16"):
                for graph in (True, False):
                    backbone = "RN50" if method in ("CoOp", "ProGrad") else "ViT-B/16"
                    if (method, precision, classes) != ("PromptSRC", "fp16", 1000):
                        case = method, precision, classes, backbone
                        yield (f"{method} {precision}, {classes} classes, {backbone}, graph {graph}",
                               lambda case=case, graph=graph: bench.step(*case, graph=graph))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=450, help="start no part after so many")
    parser.add_argument("--quick", action="store_true", help="two classes, two steps, the first parts: a smoke test")
    parser.add_argument("--out", default="gpu", metavar="NAME", help="of the file of results; '' keeps none")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here: nothing is measured (--quick --device cpu tries this file)")
    clock, found = Clock(args.seconds), {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.device, folder, args.quick)
        for number, (name, part) in enumerate(parts(bench)):
            if args.quick and number > 5 or not clock.allows(name):
                continue
            try:
                found[name] = part()
            except Exception as error:  # one part that fails must not cost the others
                found[name] = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
            print(f"{name}: {found[name]}", flush=True)
    best = found.get("PromptSRC fp16, 1000 classes, graph True", {}).get("ms")
    if best and not args.quick:
        found["minutes of ImageNet, 20 epochs, PromptSRC"] = EPOCHS * IMAGES / 4 * best / 6e4
    failed = [name for name, result in found.items() if isinstance(result, dict) and "failed" in result]
    print(f"{len(found)} parts, {len(failed)} failed, {len(clock.left_out)} left out for want of time")
    if args.out:
        keep(args.out, {"device": args.device, "left_out": clock.left_out, **found})
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
