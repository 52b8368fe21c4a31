"""Train the demo CLIP from scratch on pictures that it draws itself: ``python -m trainers.clip.demo.train``.

Draws a pool of captioned scenes, trains two small transformers with CLIP's symmetric contrastive loss, and writes
demo_clip.safetensors (an OpenAI CLIP state dict with the rows of unused tokens left out) and demo_clip.json, the
record of the run.  Everything follows from the seed on one machine.
"""
import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from ...utils import atomic
from . import WEIGHTS, language, render
from .model import MODEL, applies, contrastive_loss, encode_image, encode_text, new_model, state_of

MIXTURE = {"handwritten": 9, "printed": 3, "numerals": 1, "shapes": 1.5, "pairs": 1, "counts": 1, "textures": 1}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1) * 255
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1) * 255
SHORT, LONG = 3, 1    # captions a scene: of one sentence, of several
MENTIONED, SHOWN = 24, 12  # the most facts a caption states, and a scene holds


def draw(index: int, seed: int) -> tuple[np.ndarray, frozenset[str], list[tuple[list[int], frozenset[str]]]]:
    """Scene `index`: (pixels uint8 [32, 32, 3], its facts, [(token ids, facts)] of its captions, the long one last)."""
    scene, rng = render.scene(index, seed, tuple(MIXTURE), tuple(MIXTURE.values()))
    captions = [language.caption(scene, rng) for _ in range(SHORT)]
    captions += [language.long_caption(scene, rng) for _ in range(LONG)]
    return np.asarray(scene.image), scene.facts, [(language.encode(c.text), c.facts) for c in captions]


def make_pool(size: int, seed: int, workers: int) -> tuple[Tensor, ...]:
    """Draw the training set in so many worker processes, or in this one where workers is 0.

    Returns:
        images uint8 [N, 3, 32, 32]; shown int32 [N, SHOWN], fact numbers of the scenes, -1 where there are fewer;
        tokens int64 [N, SHORT + LONG, 77], row numbers of the vocabulary; mentioned int32 [N, SHORT + LONG,
        MENTIONED], the captions' fact numbers.
    """
    number, row_of = {}, {token: row for row, token in enumerate(language.vocabulary(render.WORDS))}

    def numbers(facts: Collection[str], width: int) -> np.ndarray:
        known = sorted(number.setdefault(f, len(number)) for f in sorted(facts))
        return np.array(known + [-1] * (width - len(known)), np.int32)
    start, end = len(row_of) - 2, len(row_of) - 1  # CLIP's two largest ids
    images = np.empty((size, 32, 32, 3), np.uint8)
    shown = np.empty((size, SHOWN), np.int32)
    tokens = np.zeros((size, SHORT + LONG, 77), np.int64)
    mentioned = np.empty((size, SHORT + LONG, MENTIONED), np.int32)
    with ExitStack() as stack:
        if workers:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            scenes = pool.imap(partial(draw, seed=seed), range(size), chunksize=200)
        else:
            scenes = (draw(i, seed) for i in range(size))
        for i, (image, facts, captions) in enumerate(tqdm(scenes, "drawing", size, unit="scene", mininterval=2)):
            images[i], shown[i] = image, numbers(facts, SHOWN)
            for j, (ids, stated) in enumerate(captions):
                tokens[i, j, :len(ids) + 2] = [start, *(row_of[t] for t in ids), end]
                mentioned[i, j] = numbers(stated, MENTIONED)
    return (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            *map(torch.from_numpy, (shown, tokens, mentioned)))


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by up to two pixels, change contrast and brightness a little: uint8 [B, 3, S, S] to normalized float."""
    images = images.float()
    shifts = torch.randint(-1, 2, (2,), generator=generator).tolist()
    images = torch.roll(F.pad(images, (2,) * 4, "replicate"), shifts, (2, 3))[..., 2:-2, 2:-2]
    n = len(images)
    gain = 1 + 0.1 * torch.randn(n, 1, 1, 1, generator=generator)
    offset = 8 * torch.randn(n, 1, 1, 1, generator=generator)
    return ((images * gain + offset).clamp(0, 255) - MEAN) / STD


def optimizer_for(model: CLIP, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW that decays matrices only, not gains, biases, embeddings or the logit scale."""
    def is_matrix(name: str, p: Tensor) -> bool:
        return p.ndim >= 2 and "embedding" not in name
    named = list(model.named_parameters())
    return torch.optim.AdamW([{"params": [p for n, p in named if is_matrix(n, p)], "weight_decay": weight_decay},
                              {"params": [p for n, p in named if not is_matrix(n, p)], "weight_decay": 0.0}],
                             lr=lr, betas=(0.9, 0.98), eps=1e-6)


def step_gradients(model: CLIP, images: Tensor, tokens: Tensor, true: Tensor, towers: ThreadPoolExecutor) -> float:
    """Loss of one batch; the gradients are left in the parameters.

    On so small matrices a second core helps little inside an operation, so each tower runs in a thread of its own,
    forward and backward; they meet at the loss.

    Args:
        images: [B, 3, S, S], normalized.
        tokens: int [B, 77].
        true: bool [B, B], as `contrastive_loss` takes it.
        towers: an executor with two threads.
    """
    jobs = towers.submit(encode_image, model, images), towers.submit(encode_text, model, tokens)
    features = [job.result() for job in jobs]
    joints = [f.detach().requires_grad_() for f in features]
    of_images, of_texts = (F.normalize(j, dim=-1) for j in joints)
    loss = contrastive_loss(of_images, of_texts, model.logit_scale.exp(), true)
    loss.backward()
    for job in [towers.submit(f.backward, j.grad) for f, j in zip(features, joints, strict=True)]:
        job.result()
    return loss.item()


def fit(model: CLIP, pool: Sequence[Tensor], args: argparse.Namespace) -> float:
    """Train the model in place on the pool; returns the mean loss of the last hundred steps."""
    images, shown, tokens, mentioned = pool
    generator = torch.Generator().manual_seed(args.seed)
    optimizer = optimizer_for(model, args.lr, args.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(
        (step + 1) / args.warmup, 0.5 * (1 + math.cos(math.pi * step / args.steps))))
    model.train()
    order, losses = torch.empty(0, dtype=torch.long), []
    torch.set_num_threads(1)
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as towers:
        bar = tqdm(range(args.steps), "training", unit="step", mininterval=2)
        for step in bar:
            if len(order) < args.batch:
                order = torch.randperm(len(images), generator=generator)
            rows, order = order[:args.batch], order[args.batch:]
            if step % args.long_every == args.long_every - 1:
                which = torch.full((len(rows),), SHORT)
            else:
                which = torch.randint(SHORT, (len(rows),), generator=generator)
            optimizer.zero_grad()
            losses.append(step_gradients(model, augment(images[rows], generator), tokens[rows, which],
                                         applies(mentioned[rows, which], shown[rows]), towers))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            if step % 50 == 49:
                bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", scale=f"{model.logit_scale.exp().item():.1f}")
    model.eval()
    return float(np.mean(losses[-100:]))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the file to write; the record goes beside it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=40000)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--long-every", type=int, default=16, help="every so many steps the captions are long")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    args = parser.parse_args(argv)
    started = time.time()
    torch.manual_seed(args.seed)
    pool = make_pool(args.scenes, args.seed, args.workers)
    drawn = time.time()
    model = new_model()
    worked = time.process_time()
    loss = fit(model, pool, args)
    worked = time.process_time() - worked
    trained = time.time()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(args.out, save(state_of(model)))

    from . import zeroshot  # the digits are looked at now that the weights are written
    record = {"model": MODEL, "dtype": "float32", "bytes": args.out.stat().st_size,
              "recipe": {**{k: v for k, v in vars(args).items() if k not in ("out", "workers")}, "mixture": MIXTURE},
              "final_loss": round(loss, 4), "logit_scale": round(model.logit_scale.exp().item(), 2),
              "seconds": {"drawing": round(drawn - started), "training": round(trained - drawn)},
              "cpu_seconds": {"training": round(worked)}, "torch": torch.__version__,
              "zero_shot_digits_percent": zeroshot.accuracies(zeroshot.build(state_of(model)))}
    atomic.write_file(args.out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
