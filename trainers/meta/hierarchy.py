"""Cross-modal hierarchical clustering: domains of pairs, and within each the pseudo-classes that tasks are made of.

The paper (arXiv 2303.06571) has such a hierarchy; how it is built is ours: domains cluster image and caption together,
pseudo-classes cluster captions and keep the pairs whose image agrees.
"""
import collections
import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from tqdm import tqdm

from ..errors import InputError
from ..training import distributed
from ..utils import atomic
from ..utils.untrusted import read_untrusted
from . import clustering
from .cluster_names import is_junk, name_clusters, stop_words
from .features import Features

CAPTIONS = 300  # of a pseudo-class, read for its name
FORMAT = "promptreg hierarchy 1"


@dataclass
class Hierarchy:
    """The tree over N pairs.

    Attributes:
        domain: int32 [N].
        pseudo: int32 [N], number of the pseudo-class, counted through all domains; -1 for pairs that were dropped.
        domains: for each domain, {"pairs": n, "agreement": share of the pairs whose image agrees, "classes": [{"name",
            "pairs", "agreement", "number"}]}.
        about: config and hashes it was made with.
    """

    domain: np.ndarray
    pseudo: np.ndarray
    domains: list
    about: dict

    def members(self) -> dict[int, np.ndarray]:
        """Return {pseudo-class number: its rows, sorted}."""
        order = np.argsort(self.pseudo, kind="stable")
        numbers, starts = np.unique(self.pseudo[order], return_index=True)
        return {int(n): rows for n, rows in zip(numbers, np.split(order, starts[1:]), strict=True) if n >= 0}


def _name(features: Features, rows: np.ndarray, cluster: np.ndarray, count: int, seed: int,
          stop: frozenset[str]) -> list[str]:
    captions = []
    for c in range(count):
        drawn = clustering.sample(rows[cluster == c], CAPTIONS, seed)
        captions.append([caption for caption, _ in features.records(drawn)])
    return name_clusters(captions, stop)


def _stop_words(features: Features, domain: np.ndarray, seed: int) -> frozenset[str]:
    samples = (clustering.sample(np.flatnonzero(domain == d), CAPTIONS, seed) for d in np.unique(domain))
    return stop_words([[caption for caption, _ in features.records(rows)] for rows in samples])


def junk(tree: Hierarchy) -> dict[str, Any]:
    """Return {"classes": how many, "junk": how many names are no class's, "examples": some of those}."""
    names = [c["name"] for d in tree.domains for c in d["classes"]]
    found = [name for name in names if is_junk(name, frozenset(tree.about.get("stop_words", ())))]
    return {"classes": len(names), "junk": len(found), "examples": found[:10]}


def held_out(tree: Hierarchy, share: float) -> tuple[list[int], list[int]]:
    """Split the domains that tasks can be drawn from, those of two pseudo-classes or more.

    The split belongs to the hierarchy, not to the seed: every run on it holds out the same.

    Args:
        share: of the domains, what only the final report sees (TRAINER.GRAM.HELD_OUT).

    Returns:
        (held-out domains, training domains), both sorted.

    Raises:
        InputError: no domain would be left to train on.
    """
    usable = [d for d, domain in enumerate(tree.domains) if len(domain["classes"]) > 1]
    order = torch.randperm(len(usable), generator=torch.Generator().manual_seed(0)).tolist()
    count = max(1, round(share * len(usable)))
    if len(usable) - count < 1:
        raise InputError(f"{len(usable)} of {len(tree.domains)} domains have two pseudo-classes, too few to hold "
                         f"{count} out: raise TRAINER.GRAM.DOMAINS or CLASSES, or give a larger corpus")
    held = sorted(usable[i] for i in order[:count])
    return held, [d for d in usable if d not in held]


def build(features: Features, path: str | Path, options: Mapping[str, Any],
          provenance: Mapping[str, Any] | None = None) -> Hierarchy:
    """Build the hierarchy, or read it where it is already there; goes on where a killed run stopped.

    Args:
        features: ``features.Features``.
        path: the ``.tree`` file; a ``.safetensors`` beside the features would be read as one of their shards.
        options: {"domains": K1, "classes": K2, "least": pairs of a pseudo-class, "sample": pairs that k-means is fitted
            on, "seed": …, "backend": …, "agreement": least share of a pseudo-class's pairs whose image agrees,
            "stop_words": whether names leave the corpus's stop words out; neither, by default}.
        provenance: hashes to keep in the file.

    Raises:
        InputError: no pseudo-class is left.
    """
    path = Path(path)
    about = {"format": FORMAT, "options": options, "pairs": len(features), **(provenance or {})}
    with contextlib.ExitStack() as stack:
        if distributed.rank() == 0 and not path.exists():  # another run on the same features waits, then finds it built
            stack.enter_context(atomic.exclusive_lock(path.with_suffix(".lock")))
        distributed.barrier()
        if not path.exists():
            _build(features, path, options, about)
        distributed.barrier()
        if distributed.rank() == 0:
            shutil.rmtree(path.with_suffix(".parts"), ignore_errors=True)
    return read_hierarchy(path)


def _build(features: Features, path: Path, options: Mapping[str, Any], about: dict[str, Any]) -> None:
    parts = path.with_suffix(".parts")
    first = parts / "domains.safetensors"
    seed, backend = options["seed"], clustering.chosen(options["backend"], len(features))
    if distributed.rank() == 0 and not first.exists():
        domain = clustering.split_domains(features, options["domains"], options["sample"], seed, backend)
        atomic.write_file(first, save({"domain": torch.from_numpy(domain)}))
    distributed.barrier()
    domain = load_file(first)["domain"].numpy()
    count, stop = int(domain.max()) + 1, _stop_words(features, domain, seed)
    about["stop_words"] = sorted(stop)  # of the corpus, whether names may have them or not
    left_out = stop if options.get("stop_words") else frozenset()
    for d in tqdm(range(distributed.rank(), count, distributed.world_size()), "pseudo-classes", unit="domain",
                  mininterval=2, disable=distributed.rank() > 0):
        part, rows = parts / f"domain-{d:05d}.safetensors", np.flatnonzero(domain == d)
        if part.exists() or not len(rows):
            continue
        cluster, rates, agreement = clustering.split_classes(
            features, rows, options["classes"], options["sample"], seed + d + 1, options["least"], backend,
            options.get("agreement", 0.0))
        names = _name(features, rows, cluster, len(rates), seed, left_out)
        found = {"names": names, "rates": rates, "agreement": agreement}
        atomic.write_file(part, save({"cluster": torch.from_numpy(cluster)}, {"about": json.dumps(found)}))
    distributed.barrier()
    if distributed.rank() == 0:
        _join(parts, domain, count, path, about)


def _join(parts: Path, domain: np.ndarray, count: int, path: Path, about: dict[str, Any]) -> None:
    pseudo, domains, number = np.full(len(domain), -1, np.int32), [], 0
    for d in range(count):
        rows, classes = np.flatnonzero(domain == d), []
        found = {"agreement": 0.0}
        if len(rows):
            with safe_open(parts / f"domain-{d:05d}.safetensors", "pt") as file:
                found, cluster = json.loads(file.metadata()["about"]), file.get_tensor("cluster").numpy()
            pseudo[rows] = np.where(cluster >= 0, cluster + number, -1)
            sizes = collections.Counter(cluster.tolist())
            classes = [{"name": name, "pairs": sizes[c], "agreement": rate, "number": number + c}
                       for c, (name, rate) in enumerate(zip(found["names"], found["rates"], strict=True))]
            number += len(classes)
        domains.append({"pairs": len(rows), "agreement": found["agreement"], "classes": classes})
    if number == 0:
        raise InputError(f"no pseudo-class of {about['options']['least']} agreeing pairs came out of {len(domain)} "
                         "pairs: lower TRAINER.GRAM.CLASSES, DOMAINS, SHOTS or QUERIES, or give a larger corpus")
    atomic.write_file(path, save({"domain": torch.from_numpy(domain), "pseudo": torch.from_numpy(pseudo)},
                           {"about": json.dumps({**about, "domains": domains}, sort_keys=True)}))


def read_hierarchy(path: str | Path) -> Hierarchy:
    """Return the ``Hierarchy`` of a file.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no hierarchy {path}: bash scripts/gram/meta_train.sh CORPUS PROMPTS makes one")
    return read_untrusted(path, _parse, lambda reason: f"{path} is no hierarchy, or a damaged one ({reason}): "
                          "delete it and run again")


def _parse(path: str | Path) -> Hierarchy:
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        if about["format"] != FORMAT:
            raise KeyError(f"format {about['format']}")
        return Hierarchy(file.get_tensor("domain").numpy(), file.get_tensor("pseudo").numpy(), about.pop("domains"),
                         about)
