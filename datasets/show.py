"""A page of a dataset's few-shot set: ``python -m datasets.show NAME --shots 16 --seed 1 --out page.html``."""
import base64
import io
import os
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from dassl.config import get_cfg_default
from dassl.utils import read_image, set_random_seed

from .home import InputError, atomic, console, pages, startup
from .prepare import find_classes

THUMBNAIL = 96  # pixels of the longer side
COLUMNS = ("few-shot train", "few-shot val", "train", "val", "test")

def thumbnail(item) -> dict[str, str]:
    """Return the image of a Datum as data, or what keeps it from being read as ``fault``."""
    try:
        image = read_image(item.impath)
    except InputError as error:
        return {"path": item.impath, "data": "", "fault": str(error)}
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return {"path": item.impath, "data": f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"}


def page(cls, root, shots, seed) -> str:
    """Return the HTML page of ``shots`` training images a class, the set that training with this seed gets.

    Raises:
        InputError: the dataset cannot be loaded.
    """
    cfg = get_cfg_default()
    cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = root, shots, seed
    cfg.DATASET.ALLOW_INCOMPLETE = True  # to look at it is how to see what is missing
    if seed >= 0:
        set_random_seed(seed)
    dataset = cls(cfg)
    whole = cls.whole(root)[1]
    counts = {name: Counter(item.label for item in items) for name, items in whole._asdict().items()}
    counts["few-shot train"] = Counter(item.label for item in dataset.train_x)
    counts["few-shot val"] = Counter(item.label for item in dataset.val or ())
    images = thumbnails(dataset.train_x)
    half = (dataset.num_classes + 1) // 2
    classes = [{"half": "base" if label < half else "new", "name": name, "images": images[label],
                **{split: counts[split][label] for split in whole._fields}}
               for label, name in enumerate(dataset.classnames)]
    drawn = f"{shots} images a class, seed {seed}" if shots > 0 and not cls.test_only else "all images"
    return pages.render(__package__, "show.html", title=dataset.label, size=THUMBNAIL, classes=classes,
                        about=[f"{drawn}, from {dataset.dataset_dir}", *dataset.notes], columns=COLUMNS,
                        groups=count_rows(counts, dataset.num_classes, half))


def count_rows(counts, classes, half) -> list[tuple[str, int, list[int]]]:
    """Return the rows of the table of counts: (all, base or new; classes; images of each of ``COLUMNS``)."""
    groups = {"all": range(classes), "base": range(half), "new": range(half, classes)}
    return [(name, len(labels), [sum(counts[column][label] for label in labels) for column in COLUMNS])
            for name, labels in groups.items()]


def thumbnails(items) -> dict[int, list[dict[str, str]]]:
    """Return {label: [thumbnail, …]} of Datums."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = tqdm(pool.map(thumbnail, items), total=len(items), unit=" images", disable=None)
        images = defaultdict(list)
        for item, image in zip(items, done, strict=True):
            images[item.label].append(image)
    return images


def parser() -> console.Parser:
    """Return the parser of the command."""
    found = console.Parser(prog=f"python -m {__package__}.show", description=__doc__.partition(":")[0])
    found.add_argument("name", metavar="NAME", help="a dataset, as registered")
    found.add_argument("--root", default=os.environ.get("DATA", "data"), help="data folder (default: $DATA or data)")
    found.add_argument("--shots", type=int, default=16, help="training images a class; -1 for all")
    found.add_argument("--seed", type=int, default=1)
    found.add_argument("--out", default="page.html", help="the page to write")
    return found


def run(args) -> int:
    """Write the page; returns the exit code."""
    classes = find_classes([args.name])
    if len(classes) > 1:
        raise InputError("one dataset a page: name it")
    if args.seed >= 2 ** 32:
        raise InputError(f"--seed {args.seed}: it must be below {2 ** 32}, negative for none")
    root = os.path.abspath(os.path.expanduser(args.root))
    html = page(classes[0], root, args.shots, args.seed)
    try:
        atomic.write_file(os.path.abspath(args.out), html)
    except OSError as error:
        raise InputError(f"{args.out}: cannot be written ({error.strerror}): give another --out") from error
    print(f"{args.out}: {len(html) / 1e6:.1f} MB")
    return 0


@console.cli_errors
def main(argv=None) -> int:
    """Run the command line; return the exit code."""
    return run(parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(startup.as_module("data show", main))
