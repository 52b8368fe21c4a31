"""Lists what there is: promptreg ls methods|configs|datasets|weights|runs"""
import argparse
import ast
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..config import lookup
from ..utils.console import Parser, command, escape_control_chars
from ..utils.paths import PACKAGE_ROOT

KINDS = ("methods", "configs", "datasets", "weights", "runs")
PUBLISHED_WEIGHTS = {"RN50": "RN50.pt", "RN101": "RN101.pt", "RN50x4": "RN50x4.pt", "RN50x16": "RN50x16.pt",
                     "ViT-B/32": "ViT-B-32.pt", "ViT-B/16": "ViT-B-16.pt", "ViT-L/14": "ViT-L-14.pt",
                     "ViT-L/14@336px": "ViT-L-14-336px.pt"}  # CoOp's name: file in CLIP's cache


def parser() -> Parser:
    """Return the parser of the command; it needs no torch."""
    p = Parser(prog="promptreg ls", description=(__doc__ or "").partition(":")[0])
    p.add_argument("kind", choices=KINDS)
    p.add_argument("name", nargs="?", help="configs: of this method alone; runs: of this folder (default: output)")
    return p


def rows(kind: str, name: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield (name, what it is) of all there are of a kind."""
    if kind == "methods":
        yield from methods().items()
    elif kind == "configs":
        for method, configs in lookup.methods().items():
            if name is None or name.lower() == method.lower():
                yield from ((f"{method}/{config}", "") for config in configs)
    elif kind == "datasets":
        yield from lookup.datasets().items()
    elif kind == "weights":
        yield "demo", "part of this package: digits' words alone"
        yield "study", "part of this package: emoji's words alone"
        cache = Path("~/.cache/clip").expanduser()
        for model, file in PUBLISHED_WEIGHTS.items():
            there = (cache / file).is_file()
            yield model, f"in {cache}" if there else f"not in {cache}: promptreg weights {model}"
    else:
        yield from runs(name or os.environ.get("OUTPUT") or "output")


def methods() -> dict[str, str]:
    """Return {trainer: first line of its docstring} of the methods' files, yours too, read and not imported."""
    found = {}
    own = map(Path, os.environ.get("PROMPTREG_METHODS", "").split(os.pathsep))
    for path in [*sorted(PACKAGE_ROOT.glob("*.py")), *(path for path in own if path.is_file())]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(getattr(d, "id", "") == "register" for d in node.decorator_list):
                found[node.name] = (ast.get_docstring(node) or "").partition("\n")[0]
            if isinstance(node, ast.ClassDef) and any(isinstance(d, ast.Call) and getattr(d.func, "id", "") == "wrapper"
                                                      for d in node.decorator_list):
                found[f"{node.name}+METHOD"] = (ast.get_docstring(node) or "").partition("\n")[0]
            found |= composed(node)
    return found | {"GRAM": "GRAM's meta-training itself (promptreg gram meta-train)"}


def composed(node: ast.stmt) -> dict[str, str]:
    """Return {trainer: its doc} of a statement ``NAME = register(compose(WRAPPER, METHOD, doc=…))``, {} of others."""
    match node:
        case ast.Assign([ast.Name(name)], ast.Call(ast.Name("register"), [ast.Call(ast.Name("compose"), args, keys)])):
            docs = [key.value for key in keys if key.arg == "doc"] + args[3:]
            return {name: " ".join(doc.value for doc in docs if isinstance(doc, ast.Constant)
                                   and isinstance(doc.value, str))}
    return {}


def runs(folder: str) -> Iterator[tuple[str, str]]:
    """Yield (folder, state) of all runs below a folder: its accuracy, or that it is not finished."""
    for where, folders, files in os.walk(folder):
        folders.sort()
        if "result.json" in files:
            yield where, result(Path(where, "result.json"))
        elif "log.txt" in files:
            yield where, "not finished"


def result(path: Path) -> str:
    """Return a finished run in words."""
    try:
        done = json.loads(path.read_text(encoding="utf-8"))
        figures = done["results"].get("test") or next(iter(done["results"].values()))
        return (f"{done['trainer']} {done['dataset']} {done['classes']} seed {done['seed']}: "
                f"{float(figures['accuracy']):.2f} %" + " (has notes)" * bool(done.get("notes")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return "result.json is not a whole result"


def run(args: argparse.Namespace) -> int:
    """Print the list; returns the exit code."""
    found = list(rows(args.kind, args.name))
    width = min(max((len(name) for name, _ in found), default=0), 60)
    for name, what in found:
        print(escape_control_chars(f"{name:{width}}  {what}".rstrip()))
    if not found:
        print(f"no {args.kind}" + (f" in {args.name or 'output'}" if args.kind == "runs" else ""), file=sys.stderr)
    return 0


main = command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
