"""How the code is built: sizes, imports between rooms, annotations, duplicates, words of documentation.

    python benchmarks/house.py [--compare REVISION …] [--out benchmarks/results/house.json]

Reads the sources of this folder and of the given commits and imports none of them. A room is a folder of trainers/ or
one of the files beside these; an import counts once for two files of different rooms, and climbs where .importlinter of
this folder lists the imported room above. The package's __init__ and all __main__ are left out: they are entrances.
"""
import argparse
import ast
import configparser
import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WINDOW = 6  # lines that make a duplicate
LABELS = {
    "files_side_by_side": "files side by side in trainers/",
    "python_lines": "lines of Python in trainers/",
    "arrows": "imports between rooms",
    "climbing": "of these, against the order of .importlinter",
    "longest_class": "longest class, lines",
    "functions": "functions",
    "functions_over_40": "functions over 40 lines",
    "files_over_250": "files over 250 lines",
    "try_per_1000": "try statements per 1,000 lines",
    "longest_except": "longest tuple of exceptions",
    "annotated_percent": "annotated public functions, percent",
    "duplicate_pairs": f"duplicate pairs of {WINDOW} lines",
    "doc_words": "words in docs/",
}


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


def layers() -> dict[str, int]:
    """Return each room's height, from the contract of layers; rooms on one line are equally high."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter")
    lines = contract["importlinter:contract:rooms"]["layers"].split("\n")
    return {room.strip().removeprefix("trainers."): -number for number, line in enumerate(lines)
            for room in re.split("[|:]", line) if room.strip()}


def room(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def imported(path: Path, tree: ast.AST, files: set[Path]) -> Iterator[Path]:
    """Yield the files of the package that a file imports, by relative or absolute name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = (path.parents[node.level - 1] if node.level else Path()) / (node.module or "").replace(".", "/")
            if not node.level and base.parts[:1] != ("trainers",):
                continue
            base = base if node.level else base.relative_to("trainers")
            targets = [base / alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [Path(*name.name.split(".")[1:]) for name in node.names if name.name.startswith("trainers.")]
            base = None
        else:
            continue
        for target in targets:
            places = [target.with_suffix(".py"), target / "__init__.py"]
            if base is not None and base != Path():
                places += [base.with_suffix(".py"), base / "__init__.py"]
            found = next((place for place in places if place in files), None)
            if found:
                yield found


def arrows(trees: dict[Path, ast.AST]) -> tuple[int, int]:
    """Return how many imports lead from one room to another, and how many of these climb."""
    found = {(path, target) for path, tree in trees.items() for target in imported(path, tree, set(trees))
             if room(path) != room(target) and path.stem != "__main__" and path != Path("__init__.py")}
    height = layers()
    climbing = [(a, b) for a, b in found if {room(a), room(b)} <= height.keys() and height[room(a)] < height[room(b)]]
    return len(found), len(climbing)


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    """Yield the public functions and methods of a module's or a class's body; none within functions."""
    for node in body:
        if isinstance(node, FUNCTIONS) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, (ast.If, ast.Try)):
            yield from public_functions(node.body)


def annotated(function: ast.FunctionDef) -> bool:
    """Whether a function's result and all parameters but self and cls carry a type."""
    a = function.args
    parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])]
    return function.returns is not None and all(p.annotation or p.arg in ("self", "cls") for p in parameters)


def exceptions(tree: ast.Module) -> int:
    """Return the most exceptions that one handler names, directly or by a tuple of the same file."""
    sizes = {target.id: len(node.value.elts) for node in tree.body if isinstance(node, ast.Assign)
             and isinstance(node.value, ast.Tuple) for target in node.targets if isinstance(target, ast.Name)}

    def size(kind: ast.expr | None) -> int:
        if isinstance(kind, ast.Tuple):
            return sum(size(e.value if isinstance(e, ast.Starred) else e) for e in kind.elts)
        return sizes.get(kind.id, 1) if isinstance(kind, ast.Name) else 1

    return max((size(node.type) for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)), default=0)


def duplicates(texts: dict[Path, str]) -> int:
    """Return how many pairs of places share WINDOW lines or more; blank lines, comments and imports are left out."""
    places = defaultdict(list)
    for path, text in texts.items():
        lines = [line.strip() for line in text.split("\n")]
        lines = [line for line in lines if line and not line.startswith(("#", "import ", "from "))]
        for i in range(len(lines) - WINDOW + 1):
            places[tuple(lines[i:i + WINDOW])].append((str(path), i))
    pairs = {pair for found in places.values() for pair in combinations(found, 2)}
    begins = [(a, b) for a, b in pairs if ((a[0], a[1] - 1), (b[0], b[1] - 1)) not in pairs]
    return sum(a[0] != b[0] or abs(a[1] - b[1]) >= WINDOW for a, b in begins)


def measure(root: Path) -> dict[str, float]:
    """Return the numbers of a checkout, by the names of LABELS."""
    package = root / "trainers"
    texts = {path.relative_to(package): path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    functions = [length(node) for node in nodes if isinstance(node, FUNCTIONS)]
    public = [annotated(f) for tree in trees.values() for f in public_functions(tree.body)]
    lines = {path: text.count("\n") for path, text in texts.items()}
    between, climbing = arrows(trees)
    return {
        "files_side_by_side": sum(len(path.parts) == 1 for path in texts),
        "python_lines": sum(lines.values()),
        "arrows": between,
        "climbing": climbing,
        "longest_class": max(length(node) for node in nodes if isinstance(node, ast.ClassDef)),
        "functions": len(functions),
        "functions_over_40": sum(n > 40 for n in functions),
        "files_over_250": sum(n > 250 for n in lines.values()),
        "try_per_1000": round(1000 * sum(isinstance(node, ast.Try) for node in nodes) / sum(lines.values()), 1),
        "longest_except": max(map(exceptions, trees.values())),
        "annotated_percent": round(100 * sum(public) / len(public), 1),
        "duplicate_pairs": duplicates(texts),
        "doc_words": sum(len(page.read_text(encoding="utf-8").split()) for page in (root / "docs").rglob("*.md")),
    }


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def measure_revision(revision: str) -> dict[str, float]:
    """Return the numbers of a commit, unpacked into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(git("archive", revision, "trainers", "docs"))) as archive:
            archive.extractall(folder, filter="data")
        return measure(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", nargs="*", default=[], metavar="REVISION", help="commits, shown first")
    parser.add_argument("--out", default=str(ROOT / "benchmarks/results/house.json"), help="'' keeps none")
    args = parser.parse_args()
    columns = {git("rev-parse", "--short", name).decode().strip(): measure_revision(name) for name in args.compare}
    columns["this folder"] = measure(ROOT)
    print(" " * 46 + "".join(f"{name:>13}" for name in columns))
    for key, label in LABELS.items():
        print(f"{label:46}" + "".join(f"{numbers[key]:>13,}" for numbers in columns.values()))
    if args.out:
        commit = git("rev-parse", "--short", "HEAD").decode().strip()
        Path(args.out).write_text(json.dumps({"commit": commit, "labels": LABELS, "numbers": columns}, indent=1) + "\n")


if __name__ == "__main__":
    main()
