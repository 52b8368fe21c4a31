"""Cross-modal hierarchical clustering: domains of pairs, and within each the pseudo-classes that tasks are made of.

The paper (arXiv 2303.06571) has such a hierarchy; how it is built is ours: domains cluster image and caption together,
pseudo-classes cluster captions and keep the pairs whose image agrees.
"""
import collections
import contextlib
import importlib.util
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from tqdm import tqdm

from ..errors import InputError
from ..training import distributed
from ..utils import atomic
from ..utils.untrusted import read_untrusted
from .cluster_names import name_clusters

CHUNK = 16384  # pairs in memory at a time, beyond the sample
CAPTIONS = 300  # of a pseudo-class, read for its name
MANY = 50_000  # pairs from which faiss is worth its start
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

    def members(self):
        """Return {pseudo-class number: its rows, sorted}."""
        order = np.argsort(self.pseudo, kind="stable")
        numbers, starts = np.unique(self.pseudo[order], return_index=True)
        return {int(n): rows for n, rows in zip(numbers, np.split(order, starts[1:]), strict=True) if n >= 0}


def chosen(backend, pairs):
    """Return what TRAINER.GRAM.CLUSTER stands for: "auto" is faiss where it is installed and pairs are many."""
    if backend != "auto":
        return backend
    return "faiss" if pairs >= MANY and importlib.util.find_spec("faiss") else "sklearn"


def kmeans(x, k, seed, backend="sklearn"):
    """Return k-means centroids [k, D] of the rows of ``x`` float32 [n, D] (k is cut down to n).

    Args:
        backend: "sklearn" (MiniBatchKMeans) or "faiss".
    """
    k = min(k, len(x))
    if backend == "faiss":
        import faiss
        model = faiss.Kmeans(x.shape[1], k, niter=25, nredo=4, seed=seed, max_points_per_centroid=1024)
        model.train(x)
        return model.centroids
    from sklearn.cluster import MiniBatchKMeans
    model = MiniBatchKMeans(k, batch_size=2048, n_init=4, init_size=max(1024, 8 * k), max_iter=30, random_state=seed)
    return model.fit(x).cluster_centers_.astype(np.float32)


def nearest(x, centroids):
    """Return int32 [n], the number of the nearest of the ``centroids`` [k, D] for each row of ``x`` [n, D]."""
    return (x @ centroids.T - 0.5 * np.square(centroids).sum(1)).argmax(1).astype(np.int32)


def chunks(rows):
    return (rows[i:i + CHUNK] for i in range(0, len(rows), CHUNK))


def sample(rows, size, seed):
    """Return at most ``size`` of the rows, drawn evenly, sorted."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def _joint(features, rows):
    return np.concatenate([features.vectors(kind, rows).numpy() for kind in ("image", "text")], 1)


def split_domains(features, k, size, seed, backend):
    """Return the domain int32 [N] of each pair: clusters of [v; t], fitted on a sample."""
    rows = np.arange(len(features))
    centroids = kmeans(_joint(features, sample(rows, size, seed)), k, seed, backend)
    return np.concatenate([nearest(_joint(features, part), centroids)
                           for part in tqdm(list(chunks(rows)), "domains", unit="chunk", mininterval=2)])


def split_classes(features, rows, k, size, seed, least, backend):
    """Cluster one domain's captions and keep the pairs whose image agrees.

    Args:
        rows: of the domain, sorted.
        least: pairs that a pseudo-class needs.

    Returns:
        (cluster int32 [R] per row, -1 where the image disagrees or the cluster is too small; agreement of each cluster
        that is left, and of the domain.)
    """
    centroids = kmeans(features.vectors("text", sample(rows, size, seed)).numpy(), k, seed, backend)
    cluster = np.concatenate([nearest(features.vectors("text", part).numpy(), centroids) for part in chunks(rows)])
    sums = np.zeros((len(centroids), centroids.shape[1]), np.float64)
    counts = np.bincount(cluster, minlength=len(centroids))
    at = 0
    for part in chunks(rows):
        np.add.at(sums, cluster[at:at + len(part)], features.vectors("image", part).numpy())
        at += len(part)
    means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    means[counts == 0] = 1e3  # an empty cluster attracts nothing
    nearest_mean = [nearest(features.vectors("image", part).numpy(), means) for part in chunks(rows)]
    agrees = np.concatenate(nearest_mean) == cluster
    kept = np.bincount(cluster[agrees], minlength=len(centroids))
    alive = kept >= least
    renumber = np.where(alive, np.cumsum(alive) - 1, -1).astype(np.int32)
    rates = [float(kept[c] / counts[c]) for c in np.flatnonzero(alive)]
    return np.where(agrees, renumber[cluster], -1), rates, float(agrees.mean()) if len(rows) else 0.0


def _name(features, rows, cluster, count, seed):
    captions = []
    for c in range(count):
        captions.append([caption for caption, _ in features.records(sample(rows[cluster == c], CAPTIONS, seed))])
    return name_clusters(captions)


def held_out(tree, share):
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


def build(features, path, options, provenance=None):
    """Build the hierarchy, or read it where it is already there; goes on where a killed run stopped.

    Args:
        features: ``features.Features``.
        path: the ``.tree`` file; a ``.safetensors`` beside the features would be read as one of their shards.
        options: {"domains": K1, "classes": K2, "least": pairs of a pseudo-class, "sample": pairs that k-means is fitted
            on, "seed": …, "backend": …}.
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
    return read(path)


def _build(features, path, options, about):
    parts = path.with_suffix(".parts")
    first = parts / "domains.safetensors"
    seed, backend = options["seed"], chosen(options["backend"], len(features))
    if distributed.rank() == 0 and not first.exists():
        domain = split_domains(features, options["domains"], options["sample"], seed, backend)
        atomic.write_file(first, save({"domain": torch.from_numpy(domain)}))
    distributed.barrier()
    domain = load_file(first)["domain"].numpy()
    count = int(domain.max()) + 1
    for d in tqdm(range(distributed.rank(), count, distributed.world_size()), "pseudo-classes", unit="domain",
                  mininterval=2, disable=distributed.rank() > 0):
        part, rows = parts / f"domain-{d:05d}.safetensors", np.flatnonzero(domain == d)
        if part.exists() or not len(rows):
            continue
        cluster, rates, agreement = split_classes(features, rows, options["classes"], options["sample"], seed + d + 1,
                                                  options["least"], backend)
        names = _name(features, rows, cluster, len(rates), seed)
        found = {"names": names, "rates": rates, "agreement": agreement}
        atomic.write_file(part, save({"cluster": torch.from_numpy(cluster)}, {"about": json.dumps(found)}))
    distributed.barrier()
    if distributed.rank() == 0:
        _join(parts, domain, count, path, about)


def _join(parts, domain, count, path, about):
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


def read(path):
    """Return the ``Hierarchy`` of a file.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no hierarchy {path}: bash scripts/gram/meta_train.sh CORPUS PROMPTS makes one")
    return read_untrusted(path, _parse, lambda reason: f"{path} is no hierarchy, or a damaged one ({reason}): "
                          "delete it and run again")


def _parse(path):
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        if about["format"] != FORMAT:
            raise KeyError(f"format {about['format']}")
        return Hierarchy(file.get_tensor("domain").numpy(), file.get_tensor("pseudo").numpy(), about.pop("domains"),
                         about)
