"""CoOp's baseline, a linear probe on CLIP's features (arXiv 2109.01134, 4.1).

Logistic regression on frozen, unnormalized image features of the few-shot training images. Its regularization is sought
on the few-shot validation images as CoOp does: seven values of C over twelve decades, then a binary search around the
best; the test accuracy is of the C found. scikit-learn's L-BFGS, at most 1,000 iterations.
"""
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from yacs.config import CfgNode

from ..clip import FrozenCLIP, load_clip
from ..errors import InputError
from ..training import validation

SWEEP = (1e6, 1e4, 1e2, 1, 1e-2, 1e-4, 1e-6)


@torch.no_grad()
def features(clip: FrozenCLIP, loader: Any) -> tuple[Any, ...]:
    """Return (features [N, E], labels [N]) of all images of a Dassl test loader."""
    found = [(clip.vision(clip.vision.embed(batch["img"].to(clip.device))).float().cpu().numpy(),
              batch["label"].numpy()) for batch in loader]
    return tuple(map(np.concatenate, zip(*found, strict=True)))


def probe(train: tuple[Any, Any], other: tuple[Any, Any], c: float) -> float:
    """Return the accuracy (percent) on ``other`` of a probe with inverse regularization ``c`` trained on ``train``."""
    model = LogisticRegression(C=c, max_iter=1000, solver="lbfgs").fit(*train)
    return 100 * model.score(*other)


def search(train: tuple[Any, Any], val: tuple[Any, Any], steps: int = 8) -> float:
    """Return the C that does best on ``val``: the best of SWEEP, then ``steps`` halvings of the decades around it.

    Each step probes both ends of the range and keeps the half of the better one (the left at a tie).
    """
    best = SWEEP[int(np.argmax([probe(train, val, c) for c in SWEEP]))]
    left, right = np.log10(best) - 1, np.log10(best) + 1
    for _ in range(steps):
        middle, right_wins = (left + right) / 2, probe(train, val, 10 ** left) < probe(train, val, 10 ** right)
        best, left, right = (right, middle, right) if right_wins else (left, left, middle)
    return 10 ** best


def run(cfg: CfgNode) -> tuple[float, float, float]:
    """Return (C, validation accuracy, test accuracy) of a config's dataset and backbone."""
    from dassl.data import DataManager
    from dassl.data.data_manager import build_data_loader
    from dassl.data.transforms import build_transform
    from dassl.utils import set_random_seed
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)
    manager = DataManager(cfg)
    _check(manager, cfg.DATASET.NAME)
    clip = load_clip(cfg.MODEL.BACKBONE.NAME, device="cuda" if cfg.USE_CUDA and torch.cuda.is_available() else "cpu")
    clip.compare_normalization(cfg.INPUT)
    plain = build_data_loader(cfg, data_source=manager.dataset.train_x, batch_size=100,
                              tfm=build_transform(cfg, is_train=False), is_train=False)
    train, val, test = (features(clip, loader) for loader in (plain, manager.val_loader, manager.test_loader))
    c = search(train, val)
    return c, probe(train, val, c), probe(train, test, c)


def _check(manager: Any, name: str) -> None:
    """Raise InputError where there is nothing to learn, or to seek C on."""
    if manager.val_loader is None:
        raise InputError(f"no validation images in {name}: the probe's regularization is sought on them; add some")
    if manager.num_classes < 2:
        raise InputError(f"{name} has one class only: a probe tells classes apart, choose a dataset of two or more")
    for text in validation.remarks(manager.dataset, name, "linear probe"):
        print(f"note: {text}")
