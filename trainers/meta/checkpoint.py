"""The meta-trained file: a start for the prompts and a regulating function, a safetensors of a few MB at most."""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from ..errors import InputError
from ..regulate.regulator import Regulator
from ..utils import atomic
from ..utils.paths import PACKAGE_ROOT
from ..utils.untrusted import read_untrusted

Meta = tuple[dict[str, torch.Tensor], Regulator, dict[str, Any]]
FORMAT = "promptreg gram 1"
DEMO = PACKAGE_ROOT / "meta" / "demo"


def write_meta(path: str | Path, start: Mapping[str, torch.Tensor], regulator: Regulator,
               about: Mapping[str, Any]) -> None:
    """Write a meta-trained file; the same arguments give the same bytes.

    Args:
        path: where to.
        start: {published name: tensor}.
        regulator: ``Regulator``.
        about: what made it, plain data: config, hashes of the CLIP and the corpus, figures.
    """
    tensors = {f"start/{name}": value for name, value in start.items()}
    tensors.update((f"regulator/{name}", value) for name, value in regulator.state_dict().items())
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # One metadata entry: safetensors writes several in an order of its own.
    content = {"format": FORMAT, "form": regulator.form, "rank": regulator.rank, "gate": regulator.gate,
               "names": list(start), **about}
    atomic.write_file(path, save(tensors, {"about": json.dumps(content, sort_keys=True)}))


def read_meta(path: str | Path, fetch: str = "bash scripts/gram/meta_train.sh CORPUS PROMPTS") -> Meta:
    """Return (start {name: tensor}, frozen ``Regulator``, about) of a meta-trained file.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"TRAINER.GRAM.META names {path}, which does not exist: correct it, or make one with {fetch}")
    return read_untrusted(path, _parse, lambda reason: f"{path} is no meta-trained file, or a damaged one ({reason}): "
                          f"make it again with {fetch}")


def _parse(path: Path) -> Meta:
    with safe_open(path, "pt") as file:
        about = json.loads((file.metadata() or {})["about"])
        if about["format"] != FORMAT:
            raise KeyError(f"format {about['format']}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    start = {name: tensors.pop(f"start/{name}") for name in about["names"]}
    shapes = {name: value.shape for name, value in start.items()}
    form = about.get("form", "bend")  # files from before there were two
    regulator = Regulator(shapes, about["rank"], gate=about.get("gate", 16), form=form)
    if not all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point()):
        raise ValueError("its regulator has entries that are not finite")
    if not all(torch.isfinite(value).all() for value in start.values()):
        raise ValueError("its start has entries that are not finite")
    regulator.load_state_dict({name.removeprefix("regulator/"): value for name, value in tensors.items()})
    return start, regulator.settle(), about
