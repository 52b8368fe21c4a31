"""CLIP weights as files: where they lie, and how they are read without running anything they contain."""
import difflib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from safetensors.torch import load_file

from ..errors import InputError
from ..utils import torch_archive
from ..utils.hashing import file_digest
from ..utils.paths import PACKAGE_ROOT
from ..utils.untrusted import read_untrusted

DEMO = PACKAGE_ROOT / "clip" / "demo" / "demo_clip.safetensors"
EMBEDDED = {"demo": DEMO, "study": PACKAGE_ROOT / "clip" / "study" / "study_clip.safetensors"}  # part of this package
COOP_NAMES = {"RN50": "RN50", "RN101": "RN101", "RN50x4": "RN50x4", "RN50x16": "RN50x16", "ViT-B/32": "ViT-B-32",
              "ViT-B/16": "ViT-B-16", "ViT-L/14": "ViT-L-14", "ViT-L/14@336px": "ViT-L-14-336"}
FINAL_NORMS = "ln_final.weight", "final_layer_norm.weight"  # of a text tower, whoever saved it
PARTS = {"visual.", "text.", "transformer.", "text_model.", "vision_model."}  # of a CLIP: no prefix of a wrapper
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def file_of(name: str) -> tuple[str, Path] | None:
    """Return (architecture, path) where MODEL.BACKBONE.NAME is a file's, None where it is a published model's name.

    Args:
        name: ``PATH`` or ``ARCH:PATH``, ARCH one of open_clip's or CoOp's names or ``openai``; or a name
            of ``EMBEDDED``. A path ends as weights do, or begins as paths do. What stands before a colon
            and is no architecture is the path's own (``C:\\clip.pt``); a file whose name begins with one is given
            as ``./RN50:x.pt``.

    Returns:
        The architecture is "" where the name does not say it.
    """
    if name in EMBEDDED:
        return "openai", EMBEDDED[name]
    arch, _, rest = name.partition(":")
    if is_architecture(arch) and (_is_path(rest) or "/" in rest):
        return arch, Path(rest).expanduser()
    return ("", Path(name).expanduser()) if _is_path(name) else None


def is_architecture(arch: str) -> bool:
    """Return whether ``arch`` may stand before the colon of ``ARCH:PATH``."""
    return arch == "openai" or arch in COOP_NAMES or arch in open_clip.list_models()


def _is_path(text: str) -> bool:
    return text.lower().endswith(SUFFIXES) or text.startswith(("/", "~", "./", "../")) or os.path.isabs(text)


def is_file_name(name: str) -> bool:
    """Return whether MODEL.BACKBONE.NAME is a file (or an embedded one's) rather than a published model's name."""
    return file_of(name) is not None


def split_name(name: str, fetching: bool = False) -> tuple[str, str]:
    """Split MODEL.BACKBONE.NAME into open_clip's (architecture, tag).

    Args:
        name: as it was given.
        fetching: whether it was given to be fetched, which files and the demo are not.

    Raises:
        InputError: neither one of CoOp's names nor ``ARCH:PRETRAINED`` of open_clip's.
    """
    arch, _, tag = (COOP_NAMES.get(name, name) + ("" if ":" in name else ":openai")).partition(":")
    arch = COOP_NAMES.get(arch, arch)
    if not get_pretrained_cfg(arch, tag):
        tags = list_pretrained_tags_by_model(arch)
        hint = f"{arch} has {', '.join(tags)}" if tags else f"known names are {', '.join(COOP_NAMES)}"
        key, also = ("NAME", " or open_clip's ARCH:PRETRAINED") if fetching else (
            "MODEL.BACKBONE.NAME", ", open_clip's ARCH:PRETRAINED, a file as ARCH:PATH (.pt or .safetensors), "
                                   f"{' or '.join(EMBEDDED)}")
        raise InputError(f"{key} {name!r} names no CLIP: give one of CoOp's names{also} ({_meant(arch)}{hint})")
    return arch, tag


def _meant(arch: str) -> str:
    """Return a suggestion for a name of no architecture, or nothing."""
    if is_architecture(arch):
        return ""
    names = {name.lower(): name for name in (*open_clip.list_models(), *COOP_NAMES)}
    near = difflib.get_close_matches(arch.lower(), names, 1, 0.8)
    return f"did you mean {names[near[0]]}? " if near else ""


def normalization(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Return (mean, std) of the images that a published model was trained on; None for a file, which does not tell."""
    if is_file_name(name):
        return None
    about = get_pretrained_cfg(*split_name(name))
    return about["mean"], about["std"]


def locate(name: str) -> Path:
    """Return the path of the weights that MODEL.BACKBONE.NAME stands for. Nothing is downloaded.

    Args:
        name: CoOp's name (``ViT-B/16``), open_clip's ``ARCH:PRETRAINED``, a file (``file_of``), ``demo`` or ``study``.

    Raises:
        InputError: the file is not there; says which, where it was looked for and the command that fetches it.
    """
    named = file_of(name)
    if named:
        _check_file(name, named[1])
        return named[1]
    arch, tag = split_name(name)
    source = get_pretrained_cfg(arch, tag)
    looked = []
    if source.get("url"):
        path = Path("~/.cache/clip").expanduser() / os.path.basename(source["url"])
        if path.is_file():
            return path
        looked.append(str(path))
    if source.get("hf_hub"):
        repository, wanted = os.path.split(source["hf_hub"])
        path = _in_hub_cache(repository, (wanted,) if wanted else HUB_FILES)
        if path:
            return Path(path)
        looked.append(f"{repository} in the model hub's cache")
    fetch = f"promptreg weights {name}"
    file = looked[0] if source.get("url") else (wanted or HUB_FILES[0])
    raise InputError(f"the weights of {name} ({os.path.basename(file)}) are not on this machine: looked for "
                     f"{' and '.join(looked)}; fetch them with: {fetch}")


def _check_file(name: str, path: Path) -> None:
    """Raise InputError where the file that MODEL.BACKBONE.NAME names is not there."""
    if path.is_file():
        return
    if path.is_dir():
        raise InputError(f"MODEL.BACKBONE.NAME names the folder {path}: name the file of weights in it")
    before, colon, _ = name.partition(":")
    meant = _meant(before) if colon else ""
    raise InputError(f"MODEL.BACKBONE.NAME names the file {path}, which does not exist: correct the path"
                     + (f" (before the colon, {meant.strip()})" if meant else ""))


def _in_hub_cache(repository: str, files: Iterable[str]) -> str | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((path for path in found if isinstance(path, str)), None)


def fingerprint(path: str | Path) -> str:
    """Return the hash of a file of weights, as FrozenCLIP, caches and results have it."""
    return file_digest(path, hashlib.blake2b(digest_size=16))


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict as data: safetensors, a PyTorch file, or a TorchScript archive as OpenAI publishes them.

    Returns:
        {name: tensor}, on the CPU, dtypes as stored.

    Raises:
        InputError: the file is damaged, or holds something other than the tensors of one model.
    """
    return read_untrusted(path, _state_dict, unclear="it is no plain file of tensors", refusal=lambda reason:
                          f"{path} cannot be read as CLIP weights ({reason}): fetch the file again")


def _state_dict(path: str | Path) -> dict:
    if str(path).endswith(".safetensors"):
        return _without_prefix(load_file(path))
    if torch_archive.is_torchscript(path):
        return torch_archive.module_parameters(torch_archive.read_archive(path))
    return _unwrapped(torch.serialization.load(path, map_location="cpu", weights_only=True))


def _unwrapped(content: dict) -> dict:
    """Return the one state dict in a training framework's file, under any key."""
    inner = {key: value for key, value in {"the file itself": content, **content}.items() if isinstance(value, dict)
             and any(str(name).endswith(FINAL_NORMS) for name in value)}
    if len(inner) > 1:
        raise InputError(f"several models are in it ({', '.join(map(str, inner))}): save the wanted one alone")
    content = next(iter(inner.values()), content.get("state_dict", content))
    return _without_prefix({name: value for name, value in content.items() if torch.is_tensor(value)})


def _without_prefix(state: dict) -> dict:
    """Drop the prefixes that wrapping modules give to all names (``module.``, ``model.``, ``_orig_mod.`` …)."""
    while state:
        first = next(iter(state)).partition(".")[0] + "."
        if first in PARTS or not all(name.startswith(first) for name in state):
            return state
        state = {name.removeprefix(first): value for name, value in state.items()}
    return state
