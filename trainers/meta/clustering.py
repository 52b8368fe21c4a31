"""Clusters of a corpus's features: domains of pairs, and within each the captions' clusters whose images agree."""
import importlib.util
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from .features import Features

CHUNK = 16384  # pairs in memory at a time, beyond the sample
MANY = 50_000  # pairs from which faiss is worth its start


def chosen(backend: str, pairs: int) -> str:
    """Return what TRAINER.GRAM.CLUSTER stands for: "auto" is faiss where it is installed and pairs are many."""
    if backend != "auto":
        return backend
    return "faiss" if pairs >= MANY and importlib.util.find_spec("faiss") else "sklearn"


def kmeans(x: np.ndarray, k: int, seed: int, backend: str = "sklearn") -> np.ndarray:
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


def nearest(x: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return int32 [n], the number of the nearest of the ``centroids`` [k, D] for each row of ``x`` [n, D]."""
    return (x @ centroids.T - 0.5 * np.square(centroids).sum(1)).argmax(1).astype(np.int32)


def chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows in chunks that fit the memory."""
    return (rows[i:i + CHUNK] for i in range(0, len(rows), CHUNK))


def sample(rows: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return at most ``size`` of the rows, drawn evenly, sorted."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def _joint(features: Features, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([features.vectors(kind, rows).numpy() for kind in ("image", "text")], 1)


def split_domains(features: Features, k: int, size: int, seed: int, backend: str) -> np.ndarray:
    """Return the domain int32 [N] of each pair: clusters of [v; t], fitted on a sample."""
    rows = np.arange(len(features))
    centroids = kmeans(_joint(features, sample(rows, size, seed)), k, seed, backend)
    return np.concatenate([nearest(_joint(features, part), centroids)
                           for part in tqdm(list(chunks(rows)), "domains", unit="chunk", mininterval=2)])


def split_classes(features: Features, rows: np.ndarray, k: int, size: int, seed: int, least: int,
                  backend: str, agreement: float = 0.0) -> tuple[np.ndarray, list[float], float]:
    """Cluster one domain's captions and keep the pairs whose image agrees.

    Args:
        rows: of the domain, sorted.
        least: pairs that a pseudo-class needs.
        agreement: share of a cluster's pairs whose image must agree, or the cluster is no class.

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
    alive = (kept >= least) & (kept >= agreement * counts)
    renumber = np.where(alive, np.cumsum(alive) - 1, -1).astype(np.int32)
    rates = [float(kept[c] / counts[c]) for c in np.flatnonzero(alive)]
    return np.where(agrees, renumber[cluster], -1), rates, float(agrees.mean()) if len(rows) else 0.0
