"""Fetch, arrange and check datasets: ``python -m datasets.prepare NAME… [--root DATA] [--check] [--dry-run]``."""
import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path

from tqdm import tqdm

from .base import CLASSES, FewShotDataset, prepare_command
from .download import Dead, Source, fetch, full_disk, link
from .home import InputError, PromptRegError, SetupError, atomic, console, images, startup, untrusted
from .manifest import Manifest
from .splits import Splits
from .unpack import put_in_place

LISTED = 20  # bad images named in a report
OWN = ("Digits", "ImageFolder")  # nothing to fetch


def wanted(cls: type[FewShotDataset], root: str) -> list[str]:
    """Return the names of what is still to be fetched: what the dataset needs, and the published split."""
    names = cls.missing(root)
    if cls.split_file and not os.path.exists(os.path.join(root, cls.folder, cls.split_file)):
        names = [cls.split_file, *names]
    return names


def in_order(cls: type[FewShotDataset]) -> list[Source]:
    """Return the dataset's sources, the split first: with it at hand, annotations need not be fetched."""
    return sorted(cls.sources, key=lambda source: source.file != cls.split_file)


class Faults(InputError):
    """Several things are wrong: a heading, a line each, and what to do."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def prepare(cls: type[FewShotDataset], root: str, mirror: str | None = None) -> None:
    """Fetch and put in place what ``root`` lacks of the dataset ``cls``.

    Raises InputError saying what has to be fetched by hand, and where to put it, for what no link gives.
    """
    folder = os.path.join(root, cls.folder)
    store = os.path.join(root, ".promptreg", "downloads", cls.folder)
    manifest = Manifest(root)
    dead = []

    def obtain(source):
        if not source.covers(wanted(cls, root)):
            return
        try:
            path, origin = fetch(source, store, mirror)
        except Dead as error:
            dead.append((source, error))
            return
        key = f"{cls.folder}/{source.file}"
        entry = manifest.verify(key, path, source.checksum, origin)
        try:
            put_in_place(source, path, folder)
        except InputError:
            os.unlink(path)  # of no use: the next call fetches it anew
            raise
        manifest.record(key, entry)
        if os.path.exists(path):
            os.unlink(path)

    for source in in_order(cls):
        if source.file == "classnames.txt":
            _share_classnames(root, folder)
        obtain(source)
    if cls.copy and any(source.covers(cls.needs) for source, _ in dead):
        obtain(cls.copy)
    lacking = wanted(cls, root)
    if cls.split_file and cls.split_file not in lacking:
        _forget_own_split(cls, folder)
    if lacking:
        raise Faults(f"{cls.__name__}: still missing in {folder}: {', '.join(lacking)}",
                     *_by_hand(cls, dead, lacking, store))


def _forget_own_split(cls, folder):
    """Delete the split that was made here for want of the published one, and the few-shot sets drawn from it."""
    own = os.path.join(folder, cls.own_split_file())
    if not os.path.exists(own):
        return
    for drawn in Path(folder, "split_fewshot").glob("shot_*-seed_*.json"):
        drawn.unlink()
    os.unlink(own)
    print(f"{cls.__name__}: the published split is here, so {own} and the few-shot sets drawn from it are deleted")


def _share_classnames(root, folder):
    """Take ImageNet's classnames.txt from another of its family, where one has it."""
    place = os.path.join(folder, "classnames.txt")
    for cls in CLASSES.values():
        other = os.path.join(root, cls.folder, "classnames.txt")
        if "classnames.txt" in cls.needs and os.path.exists(other) and not os.path.exists(place):
            with open(other, encoding="utf-8-sig") as file:
                atomic.write_file(place, file.read())


def _by_hand(cls, dead, lacking, store):
    for source, error in dead:
        if source.covers(lacking):
            yield (f"{source.file}: {error}; download it by hand, put it into {store} under this "
                   "name and run the same command again")
    yield from cls.by_hand


def plan(cls: type[FewShotDataset], root: str, mirror: str | None = None) -> list[str]:
    """Return lines that say what `prepare` would do; nothing is written or fetched."""
    lacking = wanted(cls, root)
    if not lacking:
        return ["nothing to do"]
    lines = []
    for source in in_order(cls):
        if source.covers(lacking):
            places = ", ".join(source.places().values())
            condition = "" if source.covers([cls.split_file or "", *cls.needs]) else "without a split file: "
            lines.append(f"{condition}{source.file} from {link(source.addresses(mirror)[0], source.file)} for {places}")
    if cls.copy and cls.copy.covers(lacking):
        lines.append(f"where links for images are dead: {link(cls.copy.addresses(mirror)[0], cls.copy.file)}")
    return lines + [f"by hand: {step}" for step in cls.by_hand]


def _fault(path):
    """Return what is wrong with the image ``path``, or None."""
    if not os.path.exists(path):
        return "missing"
    try:
        untrusted.read_untrusted(path, _decode, lambda reason: f"unreadable ({reason})")
    except PromptRegError as error:
        return str(error)
    return None


def _decode(path):
    with images.opened(path) as image:
        image.draft("RGB", (64, 64))  # decodes a JPEG whole, but cheaply
        images.rgb(image)


def examine(cls: type[FewShotDataset], root: str, decode: bool = True) -> tuple[str, list[str]]:
    """Count images and classes of each split against the published figures, and look at every image.

    Returns a line for the table and a list of faults. With ``decode`` unset images are only asked for, not read.
    """
    folder, splits = cls.whole(root)
    counts = {name: len(items) for name, items in splits._asdict().items()}
    if cls.test_only:
        counts = {"test": counts["test"]}
    counts["classes"] = len({item.label for item in splits.train})
    cells = [f"{name} {count:,}" + (f" of {cls.published[name]:,}" if name in cls.published else "")
             for name, count in counts.items()]
    faults = [f"{name}: {count:,} instead of the published {cls.published[name]:,}" for name, count in counts.items()
              if cls.published.get(name, count) != count]
    paths = sorted({os.path.join(folder, *item.path.split("/")) for items in Splits(*splits) for item in items})
    look = _fault if decode else lambda path: None if os.path.exists(path) else "missing"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = tqdm(pool.map(look, paths), total=len(paths), desc=f"look at {cls.__name__}", unit=" images")
        bad = [f"{path}: {fault}" for path, fault in zip(paths, found, strict=True) if fault]
    faults += bad[:LISTED] + ([f"and {len(bad) - LISTED:,} more images"] if len(bad) > LISTED else [])
    return f"{cls.__name__}: " + ", ".join(cells), faults


def find_classes(names: Sequence[str]) -> list[type[FewShotDataset]]:
    """Return the classes of datasets named as registered, as their config file or as their folder, in any case.

    "all" stands for all with something to fetch. Raises InputError.
    """
    known = {name.lower(): cls for cls in CLASSES.values()
             for name in (cls.folder, cls.__module__.rpartition(".")[2], cls.__name__)}
    found = []
    for name in names:
        if name.lower() == "all":
            found += [cls for name, cls in CLASSES.items() if name not in OWN]
        elif name.lower() in known:
            found.append(known[name.lower()])
        else:
            near = get_close_matches(name.lower(), known, 1, 0.5)
            hint = f"did you mean {known[near[0]].__name__}?" if near else f"there are {', '.join(CLASSES)}"
            raise InputError(f"no dataset '{name}'; {hint}")
    return found


def work(cls: type[FewShotDataset], root: str, arguments: argparse.Namespace) -> None:
    """Do for one dataset what the command line asks for. Raises PromptRegError."""
    if arguments.dry_run:
        print(f"{cls.__name__} in {os.path.join(root, cls.folder)}:", *plan(cls, root, arguments.mirror), sep="\n  ")
        return
    if not arguments.check and cls.__name__ not in OWN:
        with atomic.exclusive_lock(os.path.join(root, ".promptreg", ".lock")):
            prepare(cls, root, arguments.mirror)
    line, faults = examine(cls, root, decode=arguments.check and not arguments.quick)
    print(line)
    if faults:
        remedy = (f"delete what is damaged or incomplete under {os.path.join(root, cls.folder)} and run: "
                  f"{prepare_command(cls.__name__, root)}")
        raise Faults(f"{cls.__name__}: not as published:", *faults, remedy)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = console.Parser(prog=f"python -m {__package__}.prepare", description=__doc__.partition(":")[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{', '.join(CLASSES)}; or all")
    parser.add_argument("--root", default=os.environ.get("DATA") or "data", help="data folder (default: $DATA or data)")
    parser.add_argument("--check", action="store_true", help="fetch nothing; count and read every image")
    parser.add_argument("--quick", action="store_true", help="with --check: only see whether the images are there")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    parser.add_argument("--mirror", metavar="URL", help="try URL/FILE before the published places")
    arguments = parser.parse_args(argv)
    root = os.path.abspath(os.path.expanduser(arguments.root))
    code = 0
    try:
        if not arguments.root:
            raise InputError("--root is empty: say where the data are to lie, with --root DATA")
        for cls in find_classes(arguments.names):
            try:
                work(cls, root, arguments)
            except PromptRegError as error:
                first, *more = getattr(error, "lines", [str(error)])
                for line in [f"error: {first}", *(f"  {line}" for line in more)]:
                    console.print_stderr(line)
                code = max(code, error.exit_code)
            except OSError as error:
                fault = full_disk(root) if error.errno == 28 else SetupError(console.one_line(error))
                console.print_stderr(f"error: {fault}")
                code = max(code, console.exit_code(error) or fault.exit_code)
    except PromptRegError as error:
        console.print_stderr(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; run the same command again, it continues", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(startup.as_module("data fetch|check", main))
