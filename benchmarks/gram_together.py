"""GRAM's episodes side by side against one after the other: processor time of a tuning step.

    python benchmarks/gram_together.py [--episodes 8] [--out gram_together]

With the demo's CLIP, one thread, a step's loss and gradients: five classes an episode, the batch of the method's
published runs (cut to the twenty pictures of four shots).
"""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from common import get_cfg_default, keep

from trainers.clip import load_clip
from trainers.meta.learner import METHODS, Learner
from trainers.meta.tasks import TUNING
from trainers.meta.together import Together

NAMES = ["red circle", "blue star", "seven", "checkered", "letter a", "green square", "white triangle", "two"]
REPEATS = 7


def clock(act) -> float:
    """Return the median processor time of ``act``, in seconds."""
    act()
    found = []
    for _ in range(REPEATS):
        begin = time.process_time()
        act()
        found.append(time.process_time() - begin)
    return statistics.median(found)


def measure(kind: str, episodes: int, clip) -> tuple[float, float]:
    """Return (seconds one after the other, seconds side by side) of a step of so many episodes."""
    cfg = get_cfg_default()
    cfg.merge_from_list([word for section in ("IVLP", "VPT") for word in (
        f"TRAINER.{section}.PROMPT_DEPTH_VISION", 6, f"TRAINER.{section}.N_CTX_VISION", 4)]
        + ["TRAINER.IVLP.N_CTX_TEXT", 4, "TRAINER.IVLP.PROMPT_DEPTH_TEXT", 6, "TRAINER.COOP.N_CTX", 4,
           "TRAINER.COCOOP.N_CTX", 4])
    learner, batch = Learner(kind, cfg, clip), min(20, TUNING[kind][1])
    names = [[NAMES[(e + c) % len(NAMES)] for c in range(5)] for e in range(episodes)]
    shape = (3, 32, 32) if learner.sees == "pixels" else (clip.embed_dim,)
    images, labels = torch.randn(episodes, batch, *shape), torch.randint(5, (episodes, batch))
    start = {n: torch.stack([p] * episodes) for n, p in learner.start().items()}

    def step(part: Together, which: slice) -> None:
        prompts = {n: p[which].clone().requires_grad_() for n, p in start.items()}
        logits = part(prompts, [part.embed(x) for x in images[which]])
        loss = torch.stack([F.cross_entropy(a, b) for a, b in zip(logits, labels[which], strict=True)]).sum()
        torch.autograd.grad(loss, list(prompts.values()))

    alone, together = [Together(learner, [n]) for n in names], Together(learner, names)
    return (clock(lambda: [step(part, slice(e, e + 1)) for e, part in enumerate(alone)]),
            clock(lambda: step(together, slice(None))))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--out", default="gram_together", help="name of the file of results; empty for none")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    clip, found = load_clip("demo"), {}
    print("| prompts | one after the other | side by side | times |\n|---|---|---|---|")
    for kind in METHODS:
        alone, together = measure(kind, args.episodes, clip)
        found[kind] = {"alone": alone, "together": together, "times": alone / together}
        print(f"| {kind} | {1000 * alone:.0f} ms | {1000 * together:.0f} ms | {alone / together:.1f} |", flush=True)
    if args.out:
        keep(args.out, {"episodes": args.episodes, **found})


if __name__ == "__main__":
    main()
