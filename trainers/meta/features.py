"""Frozen features of a corpus, on disk in shards: made once, block by block, resumable, by any number of processes.

A shard holds what became of one block of the corpus: unit features of image and caption in float16, each pair's caption
and its image's place, and the list of pairs that could not be used. Shards are written whole, so a run that was killed
goes on with the blocks that have none.
"""
import concurrent.futures
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL.Image import Image
from safetensors import safe_open
from safetensors.torch import save
from tqdm import tqdm

from ..clip import FrozenCLIP
from ..errors import InputError
from ..training import distributed
from ..training.loader import num_cpus
from ..utils import atomic
from ..utils.untrusted import read_untrusted
from . import pairs
from .pairs import Corpus, Pair

Transform = Callable[[Image], torch.Tensor]
BLOCK = 4096  # pairs a shard
BATCH = 128  # images at a time
EARLY = 1000  # pairs after which a corpus that is bad throughout is given up


def extract(corpus: Corpus, clip: FrozenCLIP, transform: Transform, folder: str | Path, bad_limit: float = 0.05,
            block: int = BLOCK) -> "Features":
    """Make what is missing of a corpus's features; returns ``Features``.

    Args:
        corpus: ``pairs.Corpus``.
        clip: a ``FrozenCLIP``.
        transform: PIL image -> tensor [3, S, S].
        folder: where the shards are, or go.
        bad_limit: share of unusable pairs that is still accepted.

    Raises:
        InputError: more pairs are unusable, or there is none at all.
    """
    folder = Path(folder)
    if not (folder / "done.json").exists():
        seen = bad = 0
        with concurrent.futures.ThreadPoolExecutor(num_cpus()) as pool, \
                tqdm(unit="pair", desc="features", mininterval=2, disable=distributed.rank() > 0) as bar:
            for number, content in corpus.blocks(block):
                path = _shard(folder, number)
                if number % distributed.world_size() == distributed.rank():
                    if not path.exists():
                        atomic.write_file(path, _encode(content, corpus.root, clip, transform, pool))
                    with safe_open(path, "pt") as file:
                        faults = json.loads(file.metadata()["bad"])
                    seen, bad = seen + len(content), bad + len(faults)
                    if seen >= EARLY:
                        _limit(bad, seen, bad_limit, corpus, faults)
                bar.update(len(content))
        distributed.barrier()
        if distributed.rank() == 0:
            _finish(folder, corpus, bad_limit)
        distributed.barrier()
    return Features(folder, corpus.root)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def _encode(block: list[Pair], root: Path, clip: FrozenCLIP, transform: Transform,
            pool: concurrent.futures.Executor) -> bytes:
    """Return the shard of a block, as bytes."""
    def read(pair: Pair) -> tuple[str, torch.Tensor] | str:
        try:
            text = pair.text(root)
            return text, transform(pairs.picture(root, pair.image))
        except pairs.Bad as fault:
            return str(fault)

    images, texts, records, bad = [], [], [], []
    for start in range(0, len(block), BATCH):
        batch = block[start:start + BATCH]
        good = []
        for pair, answer in zip(batch, pool.map(read, batch), strict=True):
            if isinstance(answer, str):
                bad.append([pair.where, answer])
            else:
                good.append(answer)
                records.append(pairs.dump(answer[0], pair.image))
        if good:
            images.append(encode_images(clip, torch.stack([image for _, image in good])))
            texts.append(encode_captions(clip, [text for text, _ in good]))
    none = torch.empty(0, clip.embed_dim)
    tensors = {"image": torch.cat([none, *images]).half(), "text": torch.cat([none, *texts]).half(),
               "records": torch.frombuffer(bytearray(b"".join(records) or b" "), dtype=torch.uint8),
               "record_ends": torch.tensor([len(r) for r in records], dtype=torch.int64).cumsum(0)}
    # One metadata entry: safetensors writes several in an order of its own.
    return save(tensors, {"bad": json.dumps(bad)})


@torch.no_grad()
def encode_images(clip: FrozenCLIP, images: torch.Tensor) -> torch.Tensor:
    """Return frozen unit features [B, E], on the CPU, of images [B, 3, S, S]."""
    embedded = clip.vision.embed(images.to(clip.device))
    return F.normalize(clip.vision(embedded).float(), dim=-1).cpu()


@torch.no_grad()
def encode_captions(clip: FrozenCLIP, texts: Sequence[str]) -> torch.Tensor:
    """Return frozen unit features [B, E], on the CPU, of texts; a long one is cut to the context's length."""
    t = clip.tokenizer
    rows = [[(token, -1) for token in (t.sot_token_id, *t.encode(text)[:t.context_length - 2], t.eot_token_id)]
            for text in texts]
    return F.normalize(clip.text(clip.text.pack(rows, grad=False)).float(), dim=-1).cpu()


def _limit(bad: int, seen: int, limit: float, corpus: Corpus, faults: Sequence[Any]) -> None:
    if bad > limit * seen:
        where, reason = faults[0] if faults else ("", "")
        raise InputError(f"{corpus.path}: {bad} of {seen} pairs cannot be used, more than {limit:.0%} "
                         "(TRAINER.GRAM.BAD_LIMIT)" + (f", {where}: {reason}" if where else "") + "; mend the corpus")


def _finish(folder: Path, corpus: Corpus, limit: float) -> None:
    """Count, list the unusable pairs in bad.tsv, hash the rest, and mark the features as complete."""
    bad, good, digest = [], 0, hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            bad += json.loads(file.metadata()["bad"])
            good += file.get_slice("record_ends").get_shape()[0]
            digest.update(file.get_tensor("records").numpy().tobytes())
    if good == 0 and not bad:
        raise InputError(f"{corpus.path} holds no pairs: it needs images with captions")
    lines = "".join(f"{where}\t{reason}\n" for where, reason in bad)
    atomic.write_file(folder / "bad.tsv", lines.encode("utf-8", "replace"))
    _limit(len(bad), good + len(bad), limit, corpus, bad)
    done = {"pairs": good, "bad": len(bad), "digest": digest.hexdigest()}
    atomic.write_file(folder / "done.json", json.dumps(done).encode())


class Features:
    """Features of N pairs on disk, read by row; only what is asked for comes into memory.

    Attributes:
        pairs, bad: counts. digest: hash of the captions and places.

    Raises:
        InputError: a shard is missing or damaged.
    """

    def __init__(self, folder: str | Path, root: str | Path) -> None:
        self.folder, self.root = Path(folder), root
        about = json.loads((self.folder / "done.json").read_text())
        self.pairs, self.bad, self.digest = about["pairs"], about["bad"], about["digest"]
        self.paths = sorted(self.folder.glob("*.safetensors"))
        self._open = functools.lru_cache(maxsize=64)(self._open_shard)
        sizes = [self._open(i).get_slice("record_ends").get_shape()[0] for i in range(len(self.paths))]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        if self.starts[-1] != self.pairs:
            raise InputError(f"{self.folder} has shards for {self.starts[-1]} of its {self.pairs} pairs: delete the "
                             "folder and run again")

    def _open_shard(self, i: int) -> Any:
        path = self.paths[i]
        return read_untrusted(path, lambda path: safe_open(path, "pt"), lambda reason:
                              f"{path} is damaged ({reason}): delete it and {self.folder}/done.json, and run again")

    def __len__(self) -> int:
        return self.pairs

    def vectors(self, kind: str, rows: np.ndarray) -> torch.Tensor:
        """Return unit features float32 [R, E] of sorted rows (numpy int array); kind is "image" or "text"."""
        parts = []
        for i, wanted in self._by_shard(rows):
            piece = self._open(i).get_slice(kind)
            size = self.starts[i + 1] - self.starts[i]
            if len(wanted) > size // 8:
                parts.append(piece[:][torch.from_numpy(wanted)])
            else:
                parts += [piece[int(r):int(r) + 1] for r in wanted]
        return F.normalize(torch.cat(parts).float(), dim=-1)

    def records(self, rows: np.ndarray) -> list[tuple[str, Any]]:
        """Return [(caption, place of the image)] of sorted rows."""
        found = []
        for i, wanted in self._by_shard(rows):
            ends, raw = self._open(i).get_tensor("record_ends"), self._open(i).get_slice("records")
            for r in wanted.tolist():
                found.append(pairs.load(raw[int(ends[r - 1]) if r else 0:int(ends[r])].numpy()))
        return found

    def _by_shard(self, rows: np.ndarray) -> Iterator[tuple[int, Any]]:
        rows = np.asarray(rows)
        if len(rows) > 1 and (np.diff(rows) < 0).any():
            raise ValueError("rows must be sorted")
        shard = np.searchsorted(self.starts, rows, "right") - 1
        for i in np.unique(shard):
            yield int(i), rows[shard == i] - self.starts[i]


def write_shards(folder: Path, image: torch.Tensor, text: torch.Tensor, captions: Callable[[int], str],
                 block: int = BLOCK) -> None:
    """Write given features (tensors [N, E]) as shards, for benchmarks and tests: what ``extract`` would have left."""
    folder = Path(folder)
    os.makedirs(folder, exist_ok=True)
    digest = hashlib.blake2b(digest_size=16)
    for number, start in enumerate(range(0, len(image), block)):
        end = min(start + block, len(image))
        records = [pairs.dump(captions(i), f"{i}.png") for i in range(start, end)]
        raw = torch.frombuffer(bytearray(b"".join(records)), dtype=torch.uint8)
        digest.update(raw.numpy().tobytes())
        atomic.write_file(_shard(folder, number), save(
            {"image": image[start:end].half().contiguous(), "text": text[start:end].half().contiguous(), "records": raw,
             "record_ends": torch.tensor([len(r) for r in records]).cumsum(0)}, {"bad": "[]"}))
    done = {"pairs": len(image), "bad": 0, "digest": digest.hexdigest()}
    atomic.write_file(folder / "done.json", json.dumps(done).encode())
