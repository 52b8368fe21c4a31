"""Draw the pictures of docs/img from finished runs: curves, scatter, gains, and screenshots of pages.

    python benchmarks/pictures.py [OUTPUT] [--html NAME=PAGE …] [--to docs/img]

OUTPUT is any folder of finished runs; what its settings give rise to is drawn. With Chromium also report.png, the top
of the report on a desk, report-phone.png, the same on a telephone in dark mode, and NAME.png of any other HTML page (a
hierarchy, a gallery). Files have at most 128 colours, to be small. The ones that docs show come from:

    python -m trainers.sweep --methods ZeroshotCLIP CoOp ProGrad PromptSRC --setting base2new --datasets digits \
        --seeds 1 2 3 --shots 16 --cfg demo --output OUTPUT
    python -m trainers.sweep --methods ZeroshotCLIP CoOp PromptSRC --setting few_shot --datasets digits \
        --seeds 1 2 3 --shots 1 4 16 --cfg demo --output OUTPUT

and, for --html fit=runs/photos/index.html, from

    python tests/support/digit_photos.py photos
    promptreg fit photos/ --backbone demo
"""
import argparse
import sys
import tempfile
from pathlib import Path

from common import ROOT
from PIL import Image

from trainers.results import plots, report
from trainers.results.collect import collect
from trainers.results.table import tables

COLOURS = 128
DESK, PHONE = (1200, 900), (390, 844)  # CSS pixels


def shrink(path: Path) -> None:
    """Reduce a PNG to a palette, in place."""
    Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def screenshots(pages: dict[str, Path], folder: Path) -> list[Path]:
    """Draw the top of each page on a desk, of the report also on a telephone; [] where there is no Chromium."""
    from support import browser
    if not browser.find():
        print("no Chromium is installed (apt-get install chromium): no page is drawn", file=sys.stderr)
        return []
    wanted = [(name, page, DESK, False) for name, page in pages.items()]
    wanted += [(f"{name}-phone", page, PHONE, True) for name, page in pages.items() if name == "report"]
    paths = []
    with tempfile.TemporaryDirectory() as profile:
        shown = browser.Browser(profile)
        try:
            for name, page, size, dark in wanted:
                shown.screen(*size, dark=dark)
                shown.open(page.resolve().as_uri())
                paths.append(folder / f"{name}.png")
                shown.screenshot(paths[-1])
        finally:
            shown.close()
    return paths


def draw(output: str | None, folder: Path, pages: dict[str, Path]) -> list[Path]:
    """Draw all pictures of the runs below ``output``, and other pages; returns their paths."""
    paths: list[Path] = []
    with tempfile.TemporaryDirectory() as scratch:
        if output:
            runs = collect([output])
            made = tables(runs)
            paths += plots.write_plots(runs, made, folder, ("png",))
            report.write_report(runs, made, Path(scratch) / "report.html")
            pages = {"report": Path(scratch) / "report.html", **pages}
        paths += screenshots(pages, folder)
    for path in paths:
        shrink(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", help="a folder of finished runs; without one, other pages alone")
    parser.add_argument("--html", nargs="*", default=[], metavar="NAME=PAGE", help="other pages to draw")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "img", help="the folder of the pictures")
    args = parser.parse_args()
    pages = dict(word.split("=", 1) for word in args.html)
    for path in draw(args.output, args.to, {name: Path(page) for name, page in pages.items()}):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
