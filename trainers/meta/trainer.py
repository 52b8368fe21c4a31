"""Trainer ``GRAM``: from image-text pairs to a meta-trained file, through features, hierarchy and the bi-level loop."""
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from dassl.data.transforms import build_transform

from ..clip import load_clip
from ..clip.weights import is_file_name
from ..compat.registry import TRAINERS
from ..config.defaults import GENERAL, section_cfg
from ..training import distributed
from ..training.machine import image_memory, text_memory
from ..training.result import peak_memory
from . import hierarchy, options
from .corpus import open_corpus
from .episodes import Episodes, Inputs
from .evaluation import arms, compare, describe
from .features import Features, extract
from .hierarchy import Hierarchy
from .learner import Learner
from .loop import BilevelLoop
from .pairs import Corpus


@TRAINERS.add
class GRAM:
    """Meta-learns a start and a regulating function for the prompts of TRAINER.GRAM.PROMPTS from a corpus of pairs.

    Leaves in OUTPUT_DIR: meta.safetensors (for TRAINER.GRAM.META), and result.json with the report on held-out domains.
    A run that was killed goes on where it stopped, and leaves the same file. With TRAINER.GRAM.META nothing is learned:
    the report is of that file.

    Raises:
        InputError: corpus or settings do not fit.
    """

    NEEDS_DATASET = False

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg, self.options, self.general_cfg = cfg, section_cfg(cfg, "GRAM"), section_cfg(cfg, GENERAL)
        self.results: dict[str, Any] = {}
        options.check(self.options)
        self.device = torch.device("cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu")
        distributed.start(self.device)
        self.clip = load_clip(cfg.MODEL.BACKBONE.NAME, self.options.PREC, self.device)
        self.clip.compare_normalization(cfg.INPUT)
        self.clip.text.budget = int(text_memory(self.general_cfg.TEXT_MEMORY, self.device) * 2 ** 30)
        self.learner = Learner(self.options.PROMPTS, cfg, self.clip)
        self.gram_folder = Path(cfg.DATASET.ROOT or ".") / "gram"

    def train(self) -> None:
        """Run all stages; what is on disk already is not made again."""
        own, seconds = self.options, {}
        with _timed(seconds, "features"):
            corpus = open_corpus(own.CORPUS, self.gram_folder)
            self.identity = {**self.data_identity(self.cfg), "weights": self.clip.fingerprint}
            features = self.extract(corpus)
        print(f"{features.pairs} pairs of {corpus.path}, {features.bad} unusable"
              + (f" (listed in {features.folder / 'bad.tsv'})" if features.bad else ""))
        with _timed(seconds, "clustering"):
            tree, tree_path = self.cluster(features)
        counts = {"domains": len(tree.domains), "classes": sum(len(d["classes"]) for d in tree.domains),
                  "kept": int((tree.pseudo >= 0).sum())}
        names = hierarchy.junk(tree)
        print(f"{counts['domains']} domains, {counts['classes']} pseudo-classes, {counts['kept']} pairs in them; "
              f"{names['junk']} names are no class's ({', '.join(names['examples']) or 'none'})")
        held_out, training = hierarchy.held_out(tree, own.HELD_OUT)
        inputs = Inputs(features, self.learner.sees, build_transform(self.cfg, is_train=False),
                        image_memory(self.general_cfg.IMAGE_MEMORY) * 2 ** 30)
        tasks = Episodes(tree, training, own.WAYS, own.SHOTS, own.QUERIES, max(self.cfg.SEED, 0), own.HORIZON > 0)
        with _timed(seconds, "meta-training"):
            loop = BilevelLoop(own, self.learner, inputs, self.cfg.OUTPUT_DIR, max(self.cfg.SEED, 0), self.device)
            if own.META:  # a file that is there, to be evaluated alone
                loop.take(own.META)
            else:
                loop.run(tasks, self.about(features, tree))
        with _timed(seconds, "evaluation"):
            report = self.evaluate(loop, Episodes(tree, held_out, own.WAYS, own.SHOTS, own.QUERIES, 0, True))
        report |= {"pairs": features.pairs, "bad": features.bad, **counts, "junk_names": names,
                   "held_out_domains": held_out, "stage_seconds": seconds,
                   "peak_memory_mib": peak_memory(), "hierarchy": str(tree_path)}
        self.results = {"held_out": report}
        print(describe([report]))
        print(f"Meta-trained file: {own.META or loop.path}")

    @staticmethod
    def data_identity(cfg: CfgNode) -> dict[str, str | None]:
        """Return what stands for the data in a meta-training's identity (see ``training.identity``): its corpus."""
        name = section_cfg(cfg, "GRAM").CORPUS
        return {"dataset": name if name == "demo" else Corpus(name).fingerprint(times=False)}

    def extract(self, corpus: Corpus) -> Features:
        """Return the corpus's ``Features``, from $DATASET.ROOT/gram."""
        inputs = [list(self.cfg.INPUT[key]) if isinstance(self.cfg.INPUT[key], (list, tuple)) else self.cfg.INPUT[key]
                  for key in ("SIZE", "INTERPOLATION", "PIXEL_MEAN", "PIXEL_STD")]
        key = _hash([self.clip.fingerprint, corpus.fingerprint(), inputs, self.options.PREC])
        return extract(corpus, self.clip, build_transform(self.cfg, is_train=False),
                       self.gram_folder / f"{corpus.name}-{key}", self.options.BAD_LIMIT)

    def cluster(self, features: Features) -> tuple[Hierarchy, Path]:
        """Return the ``Hierarchy`` of the features and its file, which lies beside them."""
        own = self.options
        how = {"domains": own.DOMAINS, "classes": own.CLASSES, "least": own.SHOTS + own.QUERIES, "sample": own.SAMPLE,
               "seed": 1, "backend": own.CLUSTER, "agreement": own.AGREEMENT, "stop_words": own.STOP_WORDS}
        provenance = {"clip": self.clip.fingerprint, "corpus": features.digest, "root": str(features.root),
                      "features": str(features.folder)}
        path = features.folder / f"hierarchy-{_hash(how)}.tree"
        return hierarchy.build(features, path, how, provenance), path

    def about(self, features: Features, tree: Hierarchy) -> dict[str, Any]:
        """Return what the meta-trained file says of itself."""
        passing = ("META", "CORPUS", "SAVE_EVERY", "EVALUATE")
        name = self.cfg.MODEL.BACKBONE.NAME
        return {"prompts": self.options.PROMPTS, "backbone": Path(name).name if is_file_name(name) else name,
                "clip": self.clip.fingerprint, "corpus": features.digest, "pairs": features.pairs,
                "seed": self.cfg.SEED, "domains": len(tree.domains),
                "config": {k: v for k, v in self.options.items() if k not in passing},
                "method": dict(section_cfg(self.cfg, self.learner.method.SECTION).items())}

    def evaluate(self, loop: BilevelLoop, tasks: Episodes) -> dict[str, Any]:
        """Tune on tasks of held-out domains, with start and function and with the controls: ``evaluation``'s report."""
        start = {name: value.detach() for name, value in loop.start.items()}
        ways = arms(self.options.PROMPTS, loop.plain, start, loop.regulator if self.options.REGULATE else None)
        return compare(loop, tasks, ways, self.options.EVALUATE)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.time()
    yield
    seconds[stage] = round(time.time() - begin, 2)


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=4).hexdigest()
