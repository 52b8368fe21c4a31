"""promptreg init: our configs and scripts, written into a host repository."""
import argparse
import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError, SetupError
from ..utils import atomic
from ..utils.console import Parser
from ..utils.paths import PACKAGE, packaged


def parser() -> Parser:
    """Return the parser of the command."""
    p = Parser(prog="promptreg init", description=__doc__)
    p.add_argument("folder", nargs="?", default=".", help="the host repository (default: here)")
    p.add_argument("--force", action="store_true", help="replace files that are there and differ")
    p.add_argument("--dry-run", action="store_true", help="write nothing, only tell")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run(parser().parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Write what is missing; show how the rest differs, and replace it with --force alone. Returns the exit code."""
    host = Path(args.folder)
    if not host.is_dir():
        raise InputError(f"{host} is not a folder: name the host repository's root")
    new, same, kept, replaced = [], [], [], []
    for source, name in ours():
        target = host / name
        if target.is_dir():
            raise InputError(f"{target} is a folder where we have a file: rename it")
        if not target.exists():
            new.append((source, target))
        elif target.read_bytes() == source.read_bytes():
            same.append(target)
        else:
            show_difference(source, target)
            (replaced if args.force else kept).append((source, target))
    if not args.dry_run:
        for source, target in new + replaced:
            put(source, target)
    done = "would be " if args.dry_run else ""
    print(f"{len(new)} files {done}written, {len(replaced)} {done}replaced, {len(same)} there already, "
          f"{len(kept)} differ and are left as they are" + (" (--force replaces them)" if kept else ""))
    for line in advice(host):
        print(line)
    return 0


def ours() -> Iterator[tuple[Path, Path]]:
    """Yield (file, its name in the host): all configs, the scripts of the methods and what they share."""
    for folder in ("configs", "scripts"):
        root = packaged(folder)
        for file in sorted(root.rglob("*")):
            below = file.relative_to(root)
            of_a_method = folder == "configs" or len(below.parts) > 1 or below.name in ("common.sh", "python.sh")
            if file.suffix in (".yaml", ".sh") and of_a_method:
                yield file, Path(folder) / below


def show_difference(source: Path, target: Path) -> None:
    """Print how our file differs from the host's, as a unified diff."""
    one, other = (path.read_text(encoding="utf-8", errors="replace").splitlines() for path in (target, source))
    print("\n".join(difflib.unified_diff(one, other, str(target), f"PromptReg's {target.name}", lineterm="")))


def put(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    try:
        with atomic.atomic_open(target) as file:
            file.write(source.read_bytes())
            os.chmod(file.name, 0o755 if target.suffix == ".sh" else 0o644)
    except OSError as error:
        raise SetupError(f"{target} cannot be written ({error.strerror}): free some space or mend its folder's "
                         "permissions, and run the same command again") from error


def advice(host: Path) -> Iterator[str]:
    """Yield what is left for the user to do."""
    train = host / "train.py"
    if not train.is_file():
        yield (f"{host} has no train.py, which the scripts run: name the root of a CoOp-style repository, or use "
               "promptreg train")
    elif PACKAGE not in train.read_text(encoding="utf-8", errors="replace"):
        yield f"now add this line to {train}, above its other imports: import {PACKAGE}"
