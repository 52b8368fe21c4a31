"""Frozen text features of class names: computed batched, once, and kept on disk."""
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save

from ..errors import PromptRegError
from ..utils import atomic
from ..utils.untrusted import read_untrusted
from . import template_tokens
from .load import FrozenCLIP
from .templates import fill

log = logging.getLogger("promptreg")
LIMIT_BYTES = 512 << 20


def template_features(clip: FrozenCLIP, classnames: Sequence[str], templates: Sequence[str],
                      normalize_each: bool = False, cache: bool = True, exact: bool = False) -> torch.Tensor:
    """Return the unit feature [C, E] of each class: the mean over templates of its text features, normalized.

    Args:
        clip: a ``FrozenCLIP``.
        classnames: C names.
        templates: sentences with ``{}`` for the name.
        normalize_each: normalize each sentence's feature before the mean (zero-shot CLIP's ensemble) or not
            (PromptSRC's textual diversity).
        cache: keep the result on disk, under a key made of the weights, precision, names and templates.
        exact: in float32, whatever the precision of ``clip``.
    """
    precision = "fp32" if exact else clip.precision
    path = _path(clip, precision, classnames, templates, normalize_each) if cache and clip.path else None
    found = _read(path) if path else None
    if found is not None:
        return found.to(clip.device)
    clip = clip.exact() if exact else clip
    with torch.no_grad():
        total = 0
        for template in templates:
            layout = clip.text.pack(template_tokens(fill(template, classnames), clip.tokenizer), grad=False)
            features = clip.text(layout).float()
            total = total + (F.normalize(features, dim=-1) if normalize_each else features)
        features = F.normalize(total / len(templates), dim=-1)
    if path:
        _keep(path, features)
    return features


def folder() -> Path:
    """Where features are kept: $PROMPTREG_CACHE, else promptreg in the user's cache folder."""
    chosen = os.environ.get("PROMPTREG_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "promptreg"


def _path(clip: "FrozenCLIP", precision: str, classnames: Sequence[str], templates: Sequence[str],
          normalize_each: bool) -> Path:
    key = json.dumps([clip.fingerprint, precision, clip.device.type, list(classnames), list(templates),
                      normalize_each, torch.__version__])
    return folder() / f"text-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def _read(path: Path) -> torch.Tensor | None:
    """Return the features in a file of the cache, or None where there is no file or a damaged one."""
    if not path.exists():
        return None
    try:
        features = read_untrusted(path, _cached, lambda reason: f"{path} cannot be read ({reason}): computing it again")
    except PromptRegError as error:  # a torn file of a full disk, say: it is written over
        log.warning("%s", error)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # recently used
    return features


def _cached(path: Path) -> torch.Tensor:
    with safe_open(path, "pt") as file:
        features, digest = file.get_tensor("features"), (file.metadata() or {}).get("sha256")
    if digest != _digest(features):
        raise ValueError("its content has changed since it was written")
    return features


def _digest(features: torch.Tensor) -> str:
    return hashlib.sha256(features.numpy().tobytes()).hexdigest()


def _keep(path: Path, features: torch.Tensor) -> None:
    """Write the file and make room for it. A cache may fail."""
    try:
        features = features.cpu().contiguous()
        atomic.write_file(path, save({"features": features}, {"sha256": _digest(features)}))
        _make_room(path)
    except OSError as error:
        log.warning("frozen text features are not kept (%s): %s", error, path)


def _make_room(newest: Path) -> None:
    """Drop the least recently used beyond LIMIT_BYTES; others may do the same at this moment."""
    files = {}
    for path in newest.parent.glob("text-*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            files[path] = path.stat()
    newest_first = sorted(files, key=lambda path: files[path].st_mtime, reverse=True)
    size = 0
    for path in newest_first:
        size += files[path].st_size
        if size > LIMIT_BYTES and path != newest:
            path.unlink(missing_ok=True)
