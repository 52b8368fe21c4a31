"""Train the study's CLIP on captioned emoji and icons: ``python benchmarks/study/train_clip.py --corpus corpus.npz``.

Two transformers of six layers and width 128 (OpenAI's architecture, 48x48 pixels, patches of 8), trained with CLIP's
symmetric contrastive loss and two auxiliary heads on the image features (which emoji, which Unicode subgroup) that are
dropped at the end.  Everything follows from the seed.  Writes an OpenAI CLIP state dict in half precision, rows of
unused tokens left out, and beside it a record of the run with its zero-shot accuracies.  ``--resume`` goes on from the
last saved state.
"""
import argparse
import json
import math
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import emoji as emojis  # noqa: E402
import numpy as np  # noqa: E402
import packages  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from augment import augment  # noqa: E402
from corpus import CAPTIONS, Corpus  # noqa: E402
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # noqa: E402
from safetensors.torch import save  # noqa: E402
from tqdm import tqdm  # noqa: E402

from trainers.clip.demo import model as towers  # noqa: E402
from trainers.utils import atomic  # noqa: E402

MODEL = {"embed_dim": 128, "image_size": 48, "patch_size": 8, "width": 128, "layers": 6}
EMOJI_SHARE = 0.6  # of a batch
HEADS = {"emoji": 0.5, "subgroup": 0.25}  # weights of the auxiliary losses


def new_model(vocabulary: int) -> CLIP:
    """Return an untrained CLIP of the study's size with so many rows of token embeddings."""
    m = MODEL
    vision = CLIPVisionCfg(layers=m["layers"], width=m["width"], patch_size=m["patch_size"],
                           image_size=m["image_size"])
    text = CLIPTextCfg(vocab_size=vocabulary, width=m["width"], heads=m["width"] // 64, layers=m["layers"])
    return CLIP(m["embed_dim"], vision, text, quick_gelu=True)


class Optimizer:
    """Muon for the transformers' matrices, a thread a tower, AdamW for the rest."""

    def __init__(self, modules: torch.nn.Module, weight_decay: float) -> None:
        towers = {"visual": [], "text": [], "rest": []}
        for name, p in modules.named_parameters():
            matrix = p.ndim == 2 and "resblocks" in name
            towers["rest" if not matrix else "visual" if "visual" in name else "text"].append(p)
        self.parts = (*(torch.optim.Muon(towers[name], weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
                        for name in ("visual", "text")),
                      torch.optim.AdamW(towers["rest"], betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0))

    def step(self, lr: float, threads: ThreadPoolExecutor) -> None:
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
        for job in [threads.submit(part.step) for part in self.parts]:
            job.result()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()

    def state_dict(self) -> list[dict]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


class Training:
    """Model, heads, optimizer and the generators: all that a resumed run needs."""

    def __init__(self, corpus: Corpus, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.corpus, self.args, self.step = corpus, args, 0
        self.model = new_model(len(corpus.vocabulary))
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(MODEL["embed_dim"], int(labels.max()) + 1)
                                          for name, labels in corpus.labels.items()})
        self.optimizer = Optimizer(torch.nn.ModuleList([self.model, self.heads]), args.weight_decay)
        self.generator = torch.Generator().manual_seed(args.seed)
        self.threads, self.drawer = (ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))
                                     for n in (2, 1))
        self.next: Future | None = None  # the batch of the next step, drawn while this one is computed
        self.losses: list[float] = []

    def state(self) -> dict:
        return {"step": self.step, "model": self.model.state_dict(), "heads": self.heads.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": self.next.result()[0] if self.next else self.generator.get_state()}

    def load(self, state: dict) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])

    def rate(self) -> float:
        """Return the learning rate of the step: linear warm-up, then half a cosine."""
        args = self.args
        return args.lr * min((self.step + 1) / args.warmup,
                             0.5 * (1 + math.cos(math.pi * self.step / args.steps)))

    def batch(self) -> tuple[torch.Tensor, ...]:
        """Draw a batch: (the generator's state before it, row numbers, images, tokens, which captions are true)."""
        before, corpus = self.generator.get_state(), self.corpus
        emoji = round(self.args.batch * EMOJI_SHARE)  # a fixed share
        rows = torch.cat([rows[torch.randint(len(rows), (n,), generator=self.generator)] for rows, n in
                          ((corpus.of_emoji, emoji), (corpus.of_icons, self.args.batch - emoji))])
        which = torch.randint(CAPTIONS, (len(rows),), generator=self.generator)
        images = augment(corpus.pixels[rows], corpus.line[rows], self.generator)
        return (before, rows, images, corpus.tokens[rows, which],
                towers.applies(corpus.stated[rows, which], corpus.shown[rows]))

    def run_step(self) -> float:
        """Take one step; each of two threads has half of the pictures and half of the captions."""
        corpus = self.corpus
        _, rows, images, tokens, true = (self.next or self.drawer.submit(self.batch)).result()
        self.next = self.drawer.submit(self.batch)
        self.optimizer.zero_grad()
        jobs = [self.threads.submit(f, self.model, part) for f, whole in
                ((towers.encode_image, images), (towers.encode_text, tokens)) for part in whole.chunk(2)]
        parts = [job.result() for job in jobs]
        joints = [part.detach().requires_grad_() for part in parts]
        image, text = torch.cat(joints[:2]), torch.cat(joints[2:])
        loss = towers.contrastive_loss(F.normalize(image, dim=-1), F.normalize(text, dim=-1),
                                       self.model.logit_scale.exp(), true)
        whole = loss + sum(weight * F.cross_entropy(self.heads[name](image), corpus.labels[name][rows],
                                                    ignore_index=-1, label_smoothing=0.1)
                           for name, weight in HEADS.items())
        whole.backward()
        for job in [self.threads.submit(part.backward, j.grad) for part, j in zip(parts, joints, strict=True)]:
            job.result()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step(self.rate(), self.threads)
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.step += 1
        return loss.item()

    def run(self, saved: Path) -> None:
        """Train to the end; the state is saved every thousand steps."""
        torch.set_num_threads(1)
        bar = tqdm(range(self.step, self.args.steps), "training", unit="step", mininterval=10,
                   initial=self.step, total=self.args.steps)
        for _ in bar:
            self.losses.append(self.run_step())
            if self.step % 200 == 0:
                bar.set_postfix(loss=f"{np.mean(self.losses[-200:]):.3f}",
                                scale=f"{self.model.logit_scale.exp().item():.1f}")
            if self.step % 1000 == 0:
                with atomic.atomic_open(saved) as file:
                    torch.save(self.state(), file)


def state_of(model: CLIP, vocabulary: list[int]) -> dict[str, torch.Tensor]:
    """Return the state dict to store: half precision, and under `token_ids` (int32) the token of each embedding row."""
    state = {k: v.detach().half().contiguous() for k, v in model.named_parameters()}
    state["logit_scale"] = model.logit_scale.detach().clone()
    return {**state, "token_ids": torch.tensor(vocabulary, dtype=torch.int32)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="made by make_pictures.py --corpus")
    parser.add_argument("--packages", type=Path, required=True, help="the folder that make_pictures.py had")
    parser.add_argument("--out", type=Path, default=ROOT / "trainers/clip/study/study_clip.safetensors")
    parser.add_argument("--resume", action="store_true", help="go on from the state that is saved beside the output")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--warmup", type=int, default=500, help="steps")
    args = parser.parse_args(argv)
    started, worked = time.time(), time.process_time()
    emoji, _ = emojis.read(args.packages)
    with np.load(args.corpus) as made:
        corpus = Corpus(dict(made), emoji, args.seed)
    training = Training(corpus, args)
    saved = args.out.with_suffix(".state")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.resume:
        training.load(torch.load(saved, weights_only=True))
    training.run(saved)
    atomic.write_file(args.out, save(state_of(training.model.eval(), corpus.vocabulary)))

    import zero_shot  # the datasets' pictures are looked at now that the weights are written
    record = {"model": MODEL, "dtype": "float16", "bytes": args.out.stat().st_size,
              "recipe": {k: getattr(args, k) for k in ("seed", "steps", "batch", "lr", "weight_decay", "warmup")},
              "pictures": len(corpus.pixels), "of_emoji": len(corpus.of_emoji), "tokens": len(corpus.vocabulary),
              "final_loss": round(float(np.mean(training.losses[-500:])), 4),
              "logit_scale": round(training.model.logit_scale.exp().item(), 2),
              "seconds": round(time.time() - started), "cpu_seconds": round(time.process_time() - worked),
              "torch": torch.__version__,
              "hands": [name for name, hand in packages.HANDS.items() if hand.role == "clip"],
              "emoji": corpus.codes, "zero_shot_percent": zero_shot.accuracies(args.out)}
    atomic.write_file(args.out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
