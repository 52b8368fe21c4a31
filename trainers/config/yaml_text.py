"""Configs as YAML text and as dicts of dotted keys: reading, writing and comparing; nothing in a text is run."""
from collections.abc import Mapping
from typing import Any

import yaml

from ..utils.untrusted import parse_or_none

# What may differ between parts of one run: keys, and what they begin with.
RUN_ONLY_KEYS = ("OUTPUT_DIR", "RESUME", "VERBOSE", "DATASET.ROOT", "DATASET.ALLOW_INCOMPLETE",
                 "DATALOADER.NUM_WORKERS", "TRAIN.PRINT_FREQ", "TRAIN.CHECKPOINT_", "TRAIN.GRAPH",
                 "TRAINER.PROMPTREG.", "USE_CUDA")


class PlainLoader(yaml.SafeLoader):
    """YAML as configs need it: without aliases, a few of which can stand for gigabytes, and of no great depth."""

    DEEPEST = 50
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: *{event.anchor} is an alias: write out what it "
                                 "stands for")
        if self.depth == self.DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {self.DEEPEST} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {dotted key: value} of all leaves of a config."""
    found = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found.update(flatten(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def refuse_doubtful_keys(node: yaml.Node | None, section: str = "") -> None:
    """Raise ValueError where a YAML mapping has a key twice (the last would win), or one that no config has."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = {}
    for key, value in node.value:
        name, line = key.value, key.start_mark.line + 1
        if key.tag != "tag:yaml.org,2002:str" or "." in name:
            raise ValueError(f"line {line}: {name} is no key: write each section on a line of its own, what it holds "
                             "indented below it")
        if name in seen:
            raise ValueError(f"line {line}: {section}{name} is there twice, first in line {seen[name]}: keep one")
        seen[name] = line
        refuse_doubtful_keys(value, f"{section}{name}.")


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Python keeps equal constants once: they are not to come out as aliases, which nothing here reads."""
        return True


def dumped(cfg: Mapping[str, Any]) -> str:
    """Return a config as YAML that ``parsed`` reads."""
    def plain(node: Mapping[str, Any]) -> dict[str, Any]:
        return {key: plain(value) if isinstance(value, dict) else value for key, value in node.items()}
    return yaml.dump(plain(cfg), Dumper=_PlainDumper)


def parsed(text: Any) -> dict[str, Any] | None:
    """Return the config that ``text`` holds as YAML, as plain dicts; None where it holds none. Nothing in it is run."""
    found = parse_or_none(lambda text: yaml.load(text, PlainLoader), text)
    return found if isinstance(found, dict) else None


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return ["KEY: a here, b there", …] of two configs, but for what may differ between parts of one run."""
    a, b = ({k: list(v) if isinstance(v, tuple) else v for k, v in flatten(node).items()} for node in (one, other))
    for node in (a, b):  # as which earlier versions built every bare path
        node["MODEL.BACKBONE.NAME"] = str(node.get("MODEL.BACKBONE.NAME", "")).removeprefix("openai:")
    return [f"{k} is {b.get(k)} there, {a.get(k)} here" for k in sorted({*a, *b})
            if a.get(k) != b.get(k) and not k.startswith(RUN_ONLY_KEYS)]
