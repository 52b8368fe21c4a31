"""Frozen text features of class names: computed batched, once, and kept on disk."""
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from .clip import arrange, plain_rows
from .templates import fill

log = logging.getLogger("promptreg")
LIMIT_BYTES = 512 << 20


def template_features(clip, classnames, templates, normalize_each=False, cache=True):
    """Return the unit feature [C, E] of each class: the mean over templates of its text features, normalized.

    Args:
        clip: a ``FrozenCLIP``.
        classnames: C names.
        templates: sentences with ``{}`` for the name.
        normalize_each: normalize each sentence's feature before the mean (zero-shot CLIP's ensemble) or not
            (PromptSRC's textual diversity).
        cache: keep the result on disk, under a key made of the weights, precision, names and templates.
    """
    path = _path(clip, classnames, templates, normalize_each) if cache and clip.path else None
    if path and path.exists():
        try:
            found = load_file(path)["features"]
            os.utime(path)  # recently used
            return found.to(clip.device)
        except Exception as error:  # a torn file of a full disk, say: compute again and write over it
            log.warning("%s cannot be read (%s): computing it again", path, error)
    with torch.no_grad():
        total = 0
        for template in templates:
            layout = arrange(plain_rows(fill(template, classnames), clip.tokenizer),
                             clip.text.chunk_tokens(grad=False)).to(clip.device)
            features = clip.text(layout).float()
            total = total + (F.normalize(features, dim=-1) if normalize_each else features)
        features = F.normalize(total / len(templates), dim=-1)
    if path:
        _keep(path, features)
    return features


def folder():
    """Where features are kept: $PROMPTREG_CACHE, else promptreg in the user's cache folder."""
    chosen = os.environ.get("PROMPTREG_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "promptreg"


def _path(clip, classnames, templates, normalize_each):
    key = json.dumps([clip.fingerprint, clip.precision, clip.device.type, list(classnames), list(templates),
                      normalize_each, torch.__version__])
    return folder() / f"text-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def _keep(path, features):
    """Write atomically, then drop the least recently used files beyond LIMIT_BYTES. A cache that fails is no failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".text-", suffix=".part")
        os.close(handle)
        try:
            save_file({"features": features.cpu().contiguous()}, name)
            os.replace(name, path)
        finally:
            if os.path.exists(name):
                os.unlink(name)
        kept = sorted(path.parent.glob("text-*.safetensors"), key=lambda p: p.stat().st_mtime)
        size = sum(p.stat().st_size for p in kept)
        for old in kept[:-1]:
            if size <= LIMIT_BYTES:
                break
            size -= old.stat().st_size
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("frozen text features are not kept (%s): %s", error, path)
