"""CLIP weights as files: where they lie, and how they are read without running anything they contain."""
import hashlib
import os
from pathlib import Path

import torch
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from safetensors.torch import load_file

from .. import archive
from ..errors import InputError

DEMO = Path(__file__).parent / "demo" / "demo_clip.safetensors"
COOP_NAMES = {"RN50": "RN50", "RN101": "RN101", "RN50x4": "RN50x4", "RN50x16": "RN50x16", "ViT-B/32": "ViT-B-32",
              "ViT-B/16": "ViT-B-16", "ViT-L/14": "ViT-L-14", "ViT-L/14@336px": "ViT-L-14-336"}
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


def is_file_name(name):
    """Whether MODEL.BACKBONE.NAME is a file (or the demo's) rather than a published model's name."""
    return name == "demo" or name.endswith((".pt", ".pth", ".bin", ".safetensors"))


def split_name(name):
    """Split MODEL.BACKBONE.NAME into open_clip's (architecture, tag).

    Raises:
        InputError: neither one of CoOp's names nor ``ARCH:PRETRAINED`` of open_clip's.
    """
    arch, _, tag = (COOP_NAMES.get(name, name) + ("" if ":" in name else ":openai")).partition(":")
    arch = COOP_NAMES.get(arch, arch)
    if not get_pretrained_cfg(arch, tag):
        tags = list_pretrained_tags_by_model(arch)
        hint = f"{arch} has {', '.join(tags)}" if tags else f"known names are {', '.join(COOP_NAMES)} and demo"
        raise InputError(f"MODEL.BACKBONE.NAME {name!r} names no CLIP: give one of CoOp's names, open_clip's "
                         f"ARCH:PRETRAINED, the path of a .pt or .safetensors file, or demo ({hint})")
    return arch, tag


def normalization(name):
    """Return (mean, std) of the images that a published model was trained on; None for a file, which does not tell."""
    if is_file_name(name):
        return None
    about = get_pretrained_cfg(*split_name(name))
    return about["mean"], about["std"]


def locate(name):
    """Return the path of the weights that MODEL.BACKBONE.NAME stands for. Nothing is downloaded.

    Args:
        name: CoOp's name (``ViT-B/16``), open_clip's ``ARCH:PRETRAINED``, a file's path, or ``demo``.

    Raises:
        InputError: the file is not there; says which, where it was looked for and the command that fetches it.
    """
    if is_file_name(name):
        path = DEMO if name == "demo" else Path(name)
        if not path.is_file():
            raise InputError(f"MODEL.BACKBONE.NAME names the file {path}, which does not exist: correct the path")
        return path
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
    fetch = f"python -m {__package__}.fetch {name}"
    file = looked[0] if source.get("url") else (wanted or HUB_FILES[0])
    raise InputError(f"the weights of {name} ({os.path.basename(file)}) are not on this machine: looked for "
                     f"{' and '.join(looked)}; fetch them with: {fetch}")


def _in_hub_cache(repository, files):
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((path for path in found if isinstance(path, str)), None)


def fingerprint(path):
    """Return a hash of a file."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def read(path):
    """Read a state dict as data: safetensors, a PyTorch file, or a TorchScript archive as OpenAI publishes them.

    Returns:
        {name: tensor}, on the CPU, dtypes as stored.

    Raises:
        InputError: the file is damaged or holds something other than tensors.
    """
    try:
        if str(path).endswith(".safetensors"):
            return load_file(path)
        if archive.is_torchscript(path):
            return archive.parameters(archive.read(path))
        found = torch.serialization.load(path, map_location="cpu", weights_only=True)
        found = found.get("state_dict", found)
        return {name.removeprefix("module."): value for name, value in found.items() if torch.is_tensor(value)}
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # every format has its own way to be broken
        reason = (str(error).strip().splitlines() or [""])[0]
        if " " not in reason or reason.startswith("Weights only load failed"):  # PyTorch's words, of half a page
            reason = "it is no plain file of tensors"
        raise InputError(f"{path} cannot be read as CLIP weights ({reason[:150]}): fetch the file again") from error
