"""The merged config as YAML, each value with where it came from beside it: what ``--print-cfg`` prints."""
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ..compat.registry import TRAINERS
from .defaults import HOUSE
from .yaml_text import dumped

COLUMN = 56  # where the origins begin, in lines that are not longer


def with_origins(cfg: Mapping[str, Any], origin: Mapping[str, str]) -> str:
    """Return a config as YAML with a comment beside each value: the file or flag it came from, else "default".

    Args:
        cfg: the merged config; of the methods' sections those of its trainer alone are shown.
        origin: {dotted key: source} of all that was set.
    """
    trainer = TRAINERS.entries.get(cfg["TRAINER"]["NAME"])
    own = getattr(trainer, "SECTION", None)  # None of a host's trainer, or a meta-training, which reads several
    others = {f"TRAINER.{name}" for name, node in cfg["TRAINER"].items() if isinstance(node, dict)
              and name not in (own, HOUSE) and not (name == "GRAM" and "GRAM" in cfg["TRAINER"]["NAME"])}
    return "\n".join(_lines(cfg, origin, "", others if own else set()))


def _lines(node: Mapping[str, Any], origin: Mapping[str, str], prefix: str, left_out: set[str]) -> Iterable[str]:
    indent = "  " * prefix.count(".")
    for key, value in sorted(node.items()):
        name = f"{prefix}{key}"
        if name in left_out:
            continue
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _lines(value, origin, f"{name}.", left_out)
            continue
        line = f"{indent}{key}: {_one_line(value)}"
        yield f"{line:{COLUMN}}  # {origin.get(name, 'default')}"


def _one_line(value: Any) -> str:
    plain = yaml.safe_load(dumped({"value": value}))["value"]
    written = yaml.safe_dump(plain, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return written.removesuffix("...\n").strip()
