"""Ours and the published way of working, side by side.

    python benchmarks/run.py [text steps steps500 build evaluate memory]

The slow side is tests/support/plain.py (77 positions, the prefix once per class, every position through every layer),
which the golden tests prove equal to the published code; both sides run in turns in one process. Random weights
of published shape, two-word class names, float32. Each part keeps its figures in benchmarks/results/.
"""
import argparse
import subprocess
import sys
import tempfile
import unittest.mock

import torch
import torch.nn.functional as F
from common import (
    class_names,
    keep,
    make_trainer,
    matrix_product,
    peak_mib,
    plain,
    random_clip_file,
    seconds,
    side_by_side,
)
from torch.utils.flop_counter import FlopCounterMode

from trainers.base import PromptMethod
from trainers.clip import load_clip, pack, prompt_tokens, template_tokens
from trainers.clip.load import build_from_openai
from trainers.clip.templates import DIVERSE, fill
from trainers.clip.weights import read_weights
from trainers.training.step import Step


def show(title, rows):
    """Print rows of (what, {name: timing}), with the ratio of the first two."""
    print(f"\n{title}")
    for what, timing in rows:
        fast, slow = list(timing.values())[:2]
        print(f"  {what:34s} ours {fast['median']:8.3f} s ({fast['low']:.3f}-{fast['high']:.3f})   "
              f"published way {slow['median']:8.3f} s ({slow['low']:.3f}-{slow['high']:.3f})   "
              f"ratio {slow['median'] / fast['median']:6.1f}")


def text(weights, rounds):
    """The text branch, forward and backward, depth 9."""
    clip, rows_out = load_clip(str(weights("ViT-B/16"))), []
    for classes, turns in ((100, rounds), (500, max(1, rounds // 3)), (1000, 1)):
        rows = prompt_tokens(class_names(classes), clip.tokenizer, "a photo of a", 4)
        layout = pack(rows, clip.text.chunk_tokens())
        torch.manual_seed(0)
        prompts = [torch.randn(4, 512).mul_(0.02).requires_grad_() for _ in range(9)]
        target = torch.randn(classes, 512)
        result = {}

        def fast():
            features = F.normalize(clip.text(layout, prompts[0], prompts[1:]), dim=-1)
            result["fast"] = features.detach(), torch.autograd.grad((features * target).mean(), prompts)

        def slow():  # in parts, as 1,000 classes of the published way do not fit this machine's memory at once
            grads, parts = None, []
            for start in range(0, classes, 100):
                part = slice(start, start + 100)
                features = F.normalize(plain.text_features(clip, rows[part], prompts[0], prompts[1:]), dim=-1)
                g = torch.autograd.grad((features * target[part]).sum() / target.numel(), prompts)
                grads = g if grads is None else [a + b for a, b in zip(grads, g, strict=True)]
                parts.append(features.detach())
            result["slow"] = torch.cat(parts), grads

        fast()  # both have their memory before they are timed; the slow side got it with the first 100 classes
        timing = side_by_side({"ours": fast, "published way": slow}, turns, warm=1 if classes == 100 else 0)
        (f, fg), (s, sg) = result["fast"], result["slow"]
        error = max([(f - s).abs().max().item()] + [(a - b).abs().max().item() for a, b in zip(fg, sg, strict=True)])
        print(f"  {classes} classes: features and gradients differ by {error:.1e}")
        rows_out.append((f"{classes} classes", timing))
    show("Text branch, ViT-B/16, depth 9, forward and backward", rows_out)
    return dict(rows_out)


def step_of(trainer, images, labels):
    trainer.set_model_mode("train")
    return lambda: trainer.forward_backward({"img": images, "label": labels})


def breakdown(trainer, images, rounds):
    """Return {part of the step: seconds}: each branch alone, forward and backward, and the optimizer."""
    trainer.set_model_mode("train")
    method, vision, parameters = trainer.model, trainer.model.clip.vision, trainer.trainable

    def branch(features):
        return torch.autograd.grad(features().sum(), parameters, allow_unused=True)

    @torch.no_grad()
    def frozen():
        vision(vision.embed(images))

    parts = {"text branch": lambda: branch(method.text_features), "frozen image pass": frozen,
             "optimizer": lambda: Step(parameters, trainer.optim).use([torch.zeros_like(p) for p in parameters])}
    if method.prompts.vision is not None:
        parts["prompted image branch"] = lambda: branch(lambda: method.image_features(images))
    return {part: timing["median"] for part, timing in side_by_side(parts, rounds).items()}


def without_frozen_text(method, file, names, settings=(), device="cpu"):
    """A trainer whose frozen text features are random stand-ins: a step's time does not depend on their values."""
    def stand_in(self, *_, **__):
        return F.normalize(torch.randn(len(self.classnames), self.clip.embed_dim), dim=-1).to(self.device)
    with unittest.mock.patch.object(PromptMethod, "template_features", stand_in):
        return make_trainer(method, file, names, settings, device)


def pair(method, file, names, settings=()):
    """Two trainers of one method on the same weights: ours, and one that works the published way."""
    fast, slow = (without_frozen_text(method, file, names, settings) for _ in range(2))
    slow.model.prompts.load_state_dict(fast.model.prompts.state_dict())
    slow.model.clip = load_clip(str(file))
    plain.make_plain(slow)
    # the tower as published: batch norms of their own, contiguous images
    slow.model.clip.model.visual = build_from_openai(read_weights(file)).visual.eval().requires_grad_(False)
    return fast, slow


def steps(weights, rounds, cases=(("PromptSRC", "ViT-B/16", 100, 4), ("ProGrad", "RN50", 100, 32))):
    """Whole training steps, their operations, and the distance to the floor."""
    rows_out, floors = [], {}
    for method, shape, classes, batch in cases:
        fast, slow = pair(method, weights(shape), class_names(classes))
        images, labels = torch.randn(batch, 3, 224, 224), torch.randint(classes, (batch,))
        ours, theirs = step_of(fast, images, labels), step_of(slow, images, labels)
        with FlopCounterMode(display=False) as counter:
            ours()
        what = f"{method} {shape}, {classes} classes, batch {batch}"
        product, operations = matrix_product()
        alone, products = side_by_side({"ours": ours, "product": product}, 2 * rounds, warm=2).values()
        rate, gflop = operations / products["median"] / 1e9, counter.get_total_flops() / 1e9
        floors[what] = {"gflop": gflop, "gflop_per_s": rate, "floor_s": gflop / rate, "alone": alone,
                        "over_floor": alone["median"] * rate / gflop, "parts_s": breakdown(fast, images, rounds)}
        print(f"  {what}: {gflop:.0f} GFLOP at {rate:.0f} GFLOP/s: floor {gflop / rate:.2f} s; by itself a step takes "
              f"{alone['median']:.2f} s, {floors[what]['over_floor']:.2f} times that ("
              + ", ".join(f"{part} {taken:.2f} s" for part, taken in floors[what]["parts_s"].items()) + ")")
        timing = side_by_side({"ours": ours, "published way": theirs}, max(1, rounds // 2), warm=1)
        rows_out.append((what, timing))
        del fast, slow
    show("Training step", rows_out)
    return {"floors": floors, **dict(rows_out)}


def build(weights, rounds):
    """Building PromptSRC for 100 classes: cold, from the cache, and the published way's template features."""
    import os
    names, file = class_names(100), weights("ViT-B/16")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PROMPTREG_CACHE"] = cache
        cold = seconds(lambda: make_trainer("PromptSRC", file, names, cache=True))
        warm = seconds(lambda: make_trainer("PromptSRC", file, names, cache=True))
    clip = load_clip(str(file))
    with torch.no_grad():  # 3 of the 60 sentences: each is the same work
        slow = 20 * seconds(lambda: [plain.text_features(clip, template_tokens(fill(t, names), clip.tokenizer))
                                     for t in DIVERSE[:3]])
    print(f"\nBuilding PromptSRC, ViT-B/16, 100 classes: cold {cold:.1f} s, from the cache {warm:.1f} s; template "
          f"features the published way {slow:.1f} s: {slow / cold:.1f} times the whole cold build")
    return {"cold_s": cold, "cached_s": warm, "published_templates_s": slow, "ratio": slow / cold}


def evaluate(weights, rounds):
    """Evaluation of 1,000 images with 100 classes, beside the image encoder alone."""
    trainer = make_trainer("PromptSRC", weights("ViT-B/16"), class_names(100))
    batch = torch.randn(100, 3, 224, 224)
    clip, prompts = trainer.model.clip, trainer.model.prompts

    def whole():
        trainer.set_model_mode("eval")
        for _ in range(10):
            trainer.model_inference(batch)

    @torch.no_grad()
    def encoder():
        for _ in range(10):
            clip.vision(clip.vision.embed(batch), prompts.vision, prompts.deep_vision)

    timing = side_by_side({"ours": whole, "image encoder": encoder}, max(1, rounds // 4), warm=0)
    share = timing["ours"]["median"] / timing["image encoder"]["median"] - 1
    print(f"\nEvaluating 1,000 images, 100 classes: {timing['ours']['median']:.1f} s; the image encoder alone "
          f"{timing['image encoder']['median']:.1f} s: {100 * share:+.1f}%")
    return {**timing, "over_encoder": share}


def memory(weights, rounds):
    """Time and peak memory of one PromptSRC step over the number of classes, each in a process of its own."""
    rows = {}
    print("\nPromptSRC step, batch 4")
    cases = [("ViT-B/16", c) for c in (10, 100, 1000, 10000, 21841)] + [("ViT-L/14", 1000)]
    for shape, classes in cases:
        out = subprocess.run([sys.executable, __file__, "--one", shape, str(classes), "--weights", str(weights(shape))],
                             capture_output=True, text=True, check=True).stdout.split()
        loaded, peak, taken = map(float, out[-3:])
        rows[f"{shape}, {classes} classes"] = {"loaded_mib": loaded, "peak_mib": peak, "step_s": taken}
        print(f"  {shape}, {classes:6d} classes: {taken:8.2f} s a step, peak {peak:7.0f} MiB "
              f"(model alone {loaded:.0f} MiB)")
    few, many = rows["ViT-B/16, 1000 classes"], rows["ViT-B/16, 21841 classes"]
    slope = {"s_per_1000": (many["step_s"] - few["step_s"]) / 20.841,
             "mib_per_1000": (many["peak_mib"] - few["peak_mib"]) / 20.841}
    print(f"  slope from 1,000 classes on: {slope['s_per_1000']:.2f} s and {slope['mib_per_1000']:.1f} MiB "
          "per 1,000 classes")
    return {**rows, "slope": slope}


def one_step(shape, classes, file):
    """Print model memory, peak memory (MiB) and seconds of one step."""
    trainer = without_frozen_text("PromptSRC", file, class_names(classes))
    loaded = peak_mib()
    images, labels = torch.randn(4, 3, 224, 224), torch.randint(classes, (4,))
    step = step_of(trainer, images, labels)
    if classes <= 1000:
        step()  # the first one also warms up
    taken = seconds(step)
    print(loaded, peak_mib(), taken)


def steps500(weights, rounds):
    """The same with 500 classes, where the published way needs about 15 GB."""
    return steps(weights, rounds, [("PromptSRC", "ViT-B/16", 500, 4)])


PARTS = {"text": text, "steps": steps, "steps500": steps500, "build": build, "evaluate": evaluate, "memory": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one_step(args.one[0], int(args.one[1]), args.weights)
    with tempfile.TemporaryDirectory() as folder:
        for part in args.parts:
            keep(part, PARTS[part](lambda name: random_clip_file(name, folder), args.rounds))


if __name__ == "__main__":
    main()
