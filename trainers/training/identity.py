"""What a run is made of, as hashes: its dataset, class names, split and CLIP weights.

Every checkpoint and every result.json holds them, and they are compared wherever an output folder is found again: by
its path alone a run cannot be told from one on other data, for the data and the weights at a path may change. Hashed
are names, labels and paths below the images' common folder, so that the data may be moved; pixels are not.
"""
import contextlib
import functools
import hashlib
import io
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dassl.engine import TRAINER_REGISTRY

from ..clip import weights
from ..clip.load import fingerprint_of
from ..compat import engine
from ..errors import InputError

# part of an identity: in words, for messages
PARTS = {"dataset": "dataset", "classnames": "class names", "split": "split into training, validation and test images",
         "weights": "CLIP weights", "start": "meta-trained start"}
NOT_RECORDED = "what an older version left did not record its data and weights: these are not compared"


def digest(value: Any) -> str:
    """Return a hash of plain data."""
    return hashlib.blake2b(json.dumps(value).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def of_dataset(dataset: Any, classnames: Sequence[str]) -> dict[str, str | None]:
    """Return the identity of a Dassl dataset as it is used: {"dataset", "classnames", "split"}.

    Args:
        dataset: a ``DatasetBase``; ours have a ``fingerprint`` of the whole collection besides.
        classnames: of the classes that are told apart, in the order of the labels.
    """
    splits = [[(item.impath, item.label) for item in items or ()]
              for items in (dataset.train_x, dataset.val, dataset.test)]
    return _parts(getattr(dataset, "fingerprint", None), classnames, splits)


def _parts(fingerprint: str | None, classnames: Sequence[str],
           splits: Iterable[Sequence[tuple[str, int]]]) -> dict[str, str | None]:
    split = digest([_relative(items) for items in splits])
    return {"dataset": fingerprint, "classnames": digest(list(classnames)), "split": split}


def _relative(items: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return (path below the common folder, label) of (path, label) of images."""
    folder = os.path.commonpath([os.path.dirname(path) for path, _ in items]) if items else ""
    return [(path[len(folder):].replace(os.sep, "/").lstrip("/"), label) for path, label in items]


def of_trainer(trainer: Any) -> dict[str, str | None]:
    """Return the identity of a trainer that has its data and its method."""
    method = trainer.model
    found = of_dataset(trainer.dm.dataset, method.classnames) | method.method_identity(trainer.cfg)
    return {**found, "weights": method.clip.fingerprint if method.clip.path else None}


def of_config(cfg: Any) -> dict[str, str | None]:
    """Return the identity of the run that a config describes, without building its model.

    What is not on this machine any more is left out.

    Raises:
        InputError: the data or the weights are there, and cannot be read.
    """
    found, kind = of_weights(cfg.MODEL.BACKBONE.NAME), TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    of_files = getattr(kind, "data_identity", None) or getattr(kind, "method_identity", None)
    with contextlib.suppress(InputError, FileNotFoundError):  # a corpus or a meta-trained file
        found |= of_files(cfg) if of_files else {}
    if hasattr(kind, "data_identity") or not _are_there(cfg):  # a meta-training, or its data are gone
        return found
    with _draws_kept(), contextlib.redirect_stdout(io.StringIO()):
        return found | _build(cfg)


def _are_there(cfg: Any) -> bool:
    """Return whether the data that a config names are on this machine."""
    try:
        engine.sibling("datasets").check(cfg)
    except InputError:
        return False
    return True


def of_weights(backbone: str) -> dict[str, str | None]:
    """Return {"weights": hash} of MODEL.BACKBONE.NAME; {} where its file is not on this machine."""
    try:
        about = os.stat(weights.locate(backbone))
    except InputError:
        return {}
    return {"weights": _fingerprint(backbone, about.st_size, about.st_mtime_ns)}


@functools.lru_cache
def _fingerprint(backbone: str, size: int, time: int) -> str:
    """Return the hash of a CLIP, whose file is read again where its size or time has changed."""
    return fingerprint_of(backbone)


def of_collection(name: str, root: str, split_seed: int) -> dict[str, str | None]:
    """Return {"dataset": hash} of one of our datasets as a whole; {} of a host's, and where it is not on this machine.

    It is the same for all seeds and shots.
    """
    kind = engine.sibling("datasets").CLASSES.get(name)
    try:
        kind and kind.check(os.path.abspath(os.path.expanduser(root)))
    except InputError:
        return {}
    return {"dataset": kind.fingerprint_of(root, split_seed)} if kind else {}


def _build(cfg: Any) -> dict[str, str | None]:
    from dassl.data.datasets import DATASET_REGISTRY, build_dataset
    from dassl.utils import set_random_seed
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)
    kind = engine.sibling("datasets").CLASSES.get(cfg.DATASET.NAME)
    if kind and DATASET_REGISTRY.get(cfg.DATASET.NAME) is kind:
        dataset, splits = kind.peek(cfg)
        names = dict(sorted((item.label, item.classname) for item in splits.train))
        val = splits.test if kind.val_is_test else splits.val
        found = _parts(dataset.fingerprint, list(names.values()),
                       [[(item.path, item.label) for item in items] for items in (splits.train, val, splits.test)])
    else:
        dataset = build_dataset(cfg)
        found = of_dataset(dataset, dataset.classnames)
    return found if cfg.SEED >= 0 else {**found, "split": None}  # an unseeded run's split is its own


@contextlib.contextmanager
def _draws_kept() -> Iterator[None]:
    """Leave the random generators as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def differences(here: Mapping[str, Any], there: Mapping[str, Any] | None) -> list[str]:
    """Return ["PART: HASH there, HASH here", …] of two identities; what one of them does not say is not compared."""
    there = there if isinstance(there, Mapping) else {}
    return [f"other {words} ({str(there[part])[:12]} there, {str(here[part])[:12]} here)"
            for part, words in PARTS.items() if here.get(part) and there.get(part) and here[part] != there[part]]
