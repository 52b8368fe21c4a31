"""Clustering of synthetic pairs with a planted hierarchy: recovery, time and memory against the number of pairs.

    python benchmarks/gram_clustering.py [--pairs 1000 10000 100000] [--threads 2] [--out NAME]

Each size runs in a process of its own, so that the peak of its memory is its own. The planted tree: 10 domains of 20
pseudo-classes, features of width 512 in both modalities, a tenth of the images in another class of their domain. What
is kept: benchmarks/results/gram_clustering.json.
"""
import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
DOMAINS, CLASSES, WIDTH, WRONG = 10, 20, 512, 0.1


def plant(folder, n, seed=0):
    """Write the features block by block; returns the truth (domain, class, class shown by the image), each [n]."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    from trainers.meta import features
    rng = np.random.default_rng(seed)
    domain, kind = rng.integers(DOMAINS, size=n), rng.integers(CLASSES, size=n)
    shown = np.where(rng.random(n) < WRONG, rng.integers(CLASSES, size=n), kind)
    places = rng.normal(size=(2, DOMAINS, WIDTH)).astype(np.float32)
    classes = 0.7 * rng.normal(size=(2, DOMAINS, CLASSES, WIDTH)).astype(np.float32)
    parts = []
    for modality, of in enumerate((shown, kind)):
        halves = torch.empty(n, WIDTH, dtype=torch.float16)
        for at in range(0, n, 8192):
            cut = slice(at, min(at + 8192, n))
            noise = 0.7 * rng.normal(size=(len(domain[cut]), WIDTH)).astype(np.float32)
            vectors = places[modality][domain[cut]] + classes[modality][domain[cut], of[cut]] + noise
            halves[cut] = F.normalize(torch.from_numpy(vectors), dim=-1).half()
        parts.append(halves)
    features.write_shards(folder, *parts, lambda i: f"a photo of thing {domain[i]} {kind[i]}")
    return domain, kind, shown


def measure(n, threads):
    import numpy as np
    import torch
    from sklearn.metrics import adjusted_rand_score
    from threadpoolctl import threadpool_limits

    import trainers  # noqa: F401
    from trainers.meta import features, hierarchy
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(threads):
        domain, kind, shown = plant(Path(folder) / "f", n)
        found = features.Features(Path(folder) / "f", folder)
        before, cpu = time.time(), time.process_time()
        tree = hierarchy.build(found, Path(folder) / "h.tree", {"domains": DOMAINS, "classes": CLASSES, "least": 2,
                                                               "sample": 32768, "seed": 1, "backend": "sklearn"})
        seconds, cpu = time.time() - before, time.process_time() - cpu
    kept = tree.pseudo >= 0
    planted = CLASSES * domain + kind
    return {"pairs": n, "domain_ari": adjusted_rand_score(domain, tree.domain),
            "class_ari": adjusted_rand_score(planted[kept], tree.pseudo[kept]), "kept": float(kept.mean()),
            "agreeing": float(np.mean(shown == kind)), "seconds": seconds, "cpu_seconds": cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "threads": threads}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="gram_clustering", help="name of the file of results; empty for none")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.threads)))
        return
    print("| pairs | ARI, domains | ARI, pseudo-classes | kept | seconds | CPU seconds | peak memory |")
    print("|---|---|---|---|---|---|---|")
    found = {}
    for n in args.pairs:
        command = [sys.executable, __file__, "--one", str(n), "--threads", str(args.threads)]
        r = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
        found[f"{n} pairs"] = r
        print(f"| {n:,} | {r['domain_ari']:.4f} | {r['class_ari']:.4f} | {r['kept']:.1%} of {r['agreeing']:.1%} "
              f"agreeing | {r['seconds']:.1f} | {r['cpu_seconds']:.1f} | {r['peak_mib']:.0f} MiB |", flush=True)
    if args.out:
        from common import keep  # not before: what is measured imports its own
        keep(args.out, found)


if __name__ == "__main__":
    main()
