"""The merged config as YAML, each value with where it came from beside it: what ``--print-cfg`` prints."""
import argparse
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ..compat.registry import TRAINERS
from .checks import COMMAND_LINE
from .defaults import GENERAL
from .flags import FLAGS, parser
from .yaml_text import dumped

NAMED = "promptreg train METHOD/CONFIG DATASET"  # what sets the flags that were not typed
COLUMN = 56  # where the origins begin, in lines that are not longer


def with_origins(cfg: Mapping[str, Any], origin: Mapping[str, str], args: argparse.Namespace) -> str:
    """Return a config as YAML with a comment beside each value: the file or flag it came from, else "default".

    Args:
        cfg: the merged config; of the methods' sections those of its trainer alone are shown.
        origin: {dotted key: source} of all that was set.
        args: the parsed flags, which tell more of what the command line set.
    """
    origin = {**origin, **of_command_line(args)}
    trainer = TRAINERS.entries.get(cfg["TRAINER"]["NAME"])
    own = getattr(trainer, "SECTION", None)  # None of a host's trainer, or a meta-training, which reads several
    wrappers = {name for cls in getattr(trainer, "METHOD", object).__mro__ for name in vars(cls).get("SECTIONS", ())}
    others = {f"TRAINER.{name}" for name, node in cfg["TRAINER"].items()
              if isinstance(node, dict) and name not in {own, GENERAL, *wrappers}}
    return "\n".join(_lines(cfg, origin, "", others if own else set()))


def of_command_line(args: argparse.Namespace) -> dict[str, str]:
    """Return {dotted key: the flag that set it, as typed; ``COMMAND_LINE`` for KEY VALUE pairs; else ``NAMED``}.

    Args:
        args: parsed flags. ``_typed`` holds the words typed, where names in front of the flags may stand for some.
    """
    typed = getattr(args, "_typed", [])
    named = bool(typed) and not typed[0].startswith("-")
    flags = [word.partition("=")[0] for word in typed if word.startswith("--")]
    found = {}
    for action in parser()._actions:
        key = FLAGS.get(action.dest)
        if key and getattr(args, action.dest, None) not in (None, ""):
            known = [*action.option_strings, *["--method"] * (action.dest == "trainer")]  # brings its trainer with it
            found[key] = next((flag for flag in sorted(known, key=len) if any(flag.startswith(word) for word in flags)),
                              NAMED if named else known[0])
    found |= {key: COMMAND_LINE if key in typed or not named else NAMED for key in args.opts[::2]}
    return found | ({f"TRAINER.{GENERAL}.CACHE": "--no-cache"} if args.no_cache else {})


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
