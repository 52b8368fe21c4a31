"""A page of a dataset's few-shot set: ``python -m datasets.show NAME --shots 16 --seed 1 --out page.html``."""
import base64
import io
import os
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from html import escape

from tqdm import tqdm

from dassl.config import get_cfg_default
from dassl.utils import read_image, set_random_seed

from .home import InputError, atomic, console
from .prepare import find_classes

THUMBNAIL = 96  # pixels of the longer side

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin: 0; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .15rem .9rem .15rem 0; text-align: right; font-variant-numeric: tabular-nums; }}
th:first-child {{ text-align: left; font-weight: 400; }}
thead th {{ font-weight: 600; border-bottom: 1px solid #8886; }}
section {{ border-top: 1px solid #8884; padding: .6rem 0; }}
h2 {{ font-size: 1rem; margin: 0 0 .3rem; }}
h2 small {{ font-weight: 400; opacity: .7; margin-left: .6rem; }}
.base b {{ color: #1670c4; }} .new b {{ color: #c2600a; }}
.images {{ display: flex; flex-wrap: wrap; gap: 4px; }}
img {{ height: {size}px; border-radius: 3px; }}
.bad {{ color: #c22; }}
input {{ font: inherit; padding: .2rem .5rem; width: 18rem; }}
</style></head><body>
<h1>{title}</h1>
<p>{about}</p>
<table><thead><tr><th></th><th>classes</th><th>few-shot train</th><th>few-shot val</th><th>train</th><th>val</th>
<th>test</th></tr></thead><tbody>{rows}</tbody></table>
<p><input type="search" placeholder="find a class" aria-label="find a class" oninput="
const wanted = this.value.toLowerCase();
for (const s of document.querySelectorAll('section')) s.hidden = !s.dataset.name.includes(wanted)"></p>
{sections}
</body></html>
"""

SECTION = """<section class="{half}" data-name="{key}"><h2>{label}. {name} <small><b>{half}</b> · train {train},
val {val}, test {test} images</small></h2><div class="images">{images}</div></section>"""


def _thumbnail(item):
    """Return the ``<img>`` of a Datum, or what keeps it from being read."""
    try:
        image = read_image(item.impath)
    except InputError as error:
        return f'<span class="bad">{escape(str(error))}</span>'
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="" title="{escape(item.impath, quote=True)}">'


def page(cls, root, shots, seed):
    """Return the HTML page of ``shots`` training images a class, the set that training with this seed gets.

    Raises InputError where the dataset cannot be loaded.
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
    columns = ("few-shot train", "few-shot val", "train", "val", "test")
    half = (dataset.num_classes + 1) // 2
    groups = {"all": range(dataset.num_classes), "base": range(half), "new": range(half, dataset.num_classes)}
    rows = "".join(
        f"<tr><th>{name}</th><td>{len(labels):,}</td>"
        + "".join(f"<td>{sum(counts[column][label] for label in labels):,}</td>" for column in columns) + "</tr>"
        for name, labels in groups.items())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = tqdm(pool.map(_thumbnail, dataset.train_x), total=len(dataset.train_x), unit=" images")
        images = defaultdict(list)
        for item, image in zip(dataset.train_x, done, strict=True):
            images[item.label].append(image)
    sections = "\n".join(
        SECTION.format(half="base" if label < half else "new", label=label, name=escape(name),
                       key=escape(name.lower(), quote=True), images="".join(images[label]),
                       **{split: counts[split][label] for split in whole._fields})
        for label, name in enumerate(dataset.classnames))
    drawn = f"{shots} images a class, seed {seed}" if shots > 0 and not cls.test_only else "all images"
    about = "<br>".join([f"{drawn}, from {escape(dataset.dataset_dir)}", *map(escape, dataset.notes)])
    return PAGE.format(title=escape(dataset.label), about=about, size=THUMBNAIL,
                       rows=rows, sections=sections)


@console.answered
def main(argv=None):
    """Run the command line; return the exit code."""
    parser = console.Parser(prog=f"python -m {__package__}.show", description=__doc__.partition(":")[0])
    parser.add_argument("name", metavar="NAME", help="a dataset, as registered")
    parser.add_argument("--root", default=os.environ.get("DATA", "data"), help="data folder (default: $DATA or data)")
    parser.add_argument("--shots", type=int, default=16, help="training images a class; -1 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="page.html", help="the page to write")
    arguments = parser.parse_args(argv)
    classes = find_classes([arguments.name])
    if len(classes) > 1:
        raise InputError("one dataset a page: name it")
    if arguments.seed >= 2 ** 32:
        raise InputError(f"--seed {arguments.seed}: it must be below {2 ** 32}, negative for none")
    root = os.path.abspath(os.path.expanduser(arguments.root))
    html = page(classes[0], root, arguments.shots, arguments.seed)
    try:
        atomic.write(os.path.abspath(arguments.out), html)
    except OSError as error:
        raise InputError(f"{arguments.out}: cannot be written ({error.strerror}): give another --out") from error
    print(f"{arguments.out}: {len(html) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
