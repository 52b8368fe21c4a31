"""The corpus that TRAINER.GRAM.CORPUS names; the demo's is drawn on first use."""
import io
import os
import tarfile
from pathlib import Path

from tqdm import tqdm

from ..training import distributed
from ..utils import atomic
from .pairs import Corpus

DEMO_PAIRS, DEMO_SEED = 6000, 31  # another seed than the demo CLIP's training scenes


def open_corpus(name: str, root: str | Path) -> Corpus:
    """Return the ``Corpus`` called ``name``: "demo", or a path.

    Args:
        root: folder for what is made: the demo's shard.
    """
    if name != "demo":
        return Corpus(name)
    path = Path(root) / "demo.tar"
    if not path.exists() and distributed.rank() == 0:
        draw_demo(path)
    distributed.barrier()
    return Corpus(path)


def draw_demo(path: Path, pairs: int = DEMO_PAIRS, seed: int = DEMO_SEED) -> None:
    """Draw captioned images as for the demo CLIP, every domain equally often, into one webdataset shard.

    A pair's key is its domain and number ("shapes-000012"): nothing reads the domain but people and benchmarks.
    The file appears whole or not at all, and is the same each time but for the libraries' drawing.
    """
    from ..clip.demo.render import render_pairs
    with atomic.atomic_open(path) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            scenes = tqdm(render_pairs(pairs, seed), "drawing the demo's pairs", pairs, unit="pair", mininterval=2)
            for i, (image, caption, domain) in enumerate(scenes):
                png = io.BytesIO()
                image.save(png, "PNG")
                for suffix, content in (("png", png.getvalue()), ("txt", caption.encode())):
                    member = tarfile.TarInfo(f"{domain}-{i:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        file.flush()
        os.utime(file.name, (0, 0))  # the corpus's fingerprint reads the time
