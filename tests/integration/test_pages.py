"""Every HTML page in a real browser, on a desk and a telephone, light and dark: nothing is cut off or hard to read."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
from support import browser
from support.page_checks import low_contrast, off_screen, sorted_by
from support.photos import photos

from datasets import show
from trainers.classifier.fit import fit
from trainers.cli.results import main as results_main
from trainers.meta import hierarchy_page
from trainers.results.published import BENCHMARK_DATASETS, DATASETS

pytestmark = pytest.mark.skipif(not browser.find(), reason="no Chromium is installed (apt-get install chromium)")
CLASSES = ("Brick_Wall", "dog", "Anemone_of_a_name_that_is_far_too_long_for_a_telephone_and_has_no_blank_in_it")
NAMES = {key: name for name, (key, _) in DATASETS.items()}


def put(folder, method, dataset, classes, seed, accuracy, shots=16):
    """Write a run's result.json and log."""
    folder = folder / dataset / method / f"{classes}{shots}" / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("".join(
        f"epoch [{e}/3] batch [5/5] time 0.1 (0.1) data 0.0 (0.0) loss {3 / e:.4f} ({3 / e:.4f}) lr 1e-3 {'x' * 200}\n"
        for e in (1, 2, 3) if dataset in BENCHMARK_DATASETS[:2]))
    per_class = {name: {"correct": n + 2, "total": 9} for n, name in enumerate(CLASSES)}
    confusion = {name: {other: 2} for name, other in zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True)}
    (folder / "result.json").write_text(json.dumps({
        "trainer": method, "dataset": NAMES[dataset], "classes": classes, "shots": shots, "seed": seed,
        "backbone": "ViT-B/16", "seconds": 61.4, "peak_memory_mib": 900.0, "versions": {"python": "3.12"}, "git": "abc",
        "results": {"test": {"accuracy": accuracy, "per_class": per_class, "confusion": confusion}},
        "identity": {"dataset": f"content of {dataset}", "weights": "5be5880e" * 4}, "notes": ["a note " * 20],
        "config": "OPTIM:\n  LR: 0.1\n", "command": ["x", "--config-file", "a/vit_b16_c2_ep20_batch4_4+4ctx.yaml"]}))


def report_page(folder):
    draw = np.random.default_rng(1)
    for method in ("ZeroshotCLIP", "CoOp", "PromptSRC"):
        for dataset in BENCHMARK_DATASETS:
            for classes in ("base", "new"):
                put(folder / "runs", method, dataset, classes, 1, draw.uniform(40, 95))
    for shots in (1, 16):
        for dataset in BENCHMARK_DATASETS[:5]:
            put(folder / "runs", "CoOp", dataset, "all", 1, draw.uniform(40, 95), shots)
    assert results_main([str(folder / "runs"), "--html", str(folder / "page.html"), "--compare", "published"]) == 0
    return folder / "page.html"


def gallery_page(folder):
    photos(folder / "data", CLASSES)
    assert show.main(["ImageFolder", "--root", str(folder / "data"), "--shots", "4", "--out",
                      str(folder / "page.html")]) == 0
    return folder / "page.html"


def hierarchy_of_photos(folder):
    photos(folder / "data", ("cat",), 4)
    captions = ["a cat", "a_word_that_is_far_too_long_for_a_telephone_and_has_no_blank_in_it", "a dog, and more " * 9]
    domains = [{"pairs": 4, "agreement": 0.5, "classes": [
        {"number": d * 2 + n, "name": f"{kind} cats", "pairs": 2, "agreement": 1.0}
        for n, kind in enumerate(("grey", "red"))]} for d in (0, 1)]
    tree = SimpleNamespace(members=lambda: {n: np.arange(3) for n in range(4)}, pseudo=np.zeros(8), domain=np.zeros(8),
                           about={"options": {"least": 2}}, domains=domains)
    features = SimpleNamespace(root=folder / "data", records=lambda rows: [
        (caption, place) for caption, place in zip(captions, ("cat/0.png", "cat/1.png", "gone.png"), strict=True)])
    (folder / "page.html").write_text(hierarchy_page.page(tree, features, 3, [1], "the share 0.25."))
    return folder / "page.html"


def fit_page(folder):
    names = (*CLASSES[:2], "a cup of coffee, seen from above, on a wooden table")
    photos(folder / "data", names)
    fit(folder / "data", 2, "CoOp", "demo", folder / "run", epochs=1)
    return folder / "run" / "index.html"


MAKERS = {"report": report_page, "gallery": gallery_page, "hierarchy": hierarchy_of_photos, "fit": fit_page}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function: the address of a page, made once."""
    found = {}

    def address(name):
        if name not in found:
            found[name] = MAKERS[name](tmp_path_factory.mktemp(name)).as_uri()
        return found[name]
    return address


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    opened = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def visit(page, address, width, dark=False):
    """Open a page on such a screen, all that is folded unfolded."""
    page.screen(width, dark=dark)
    page.open(address)
    page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_cut_off_or_hard_to_read(name, width, dark, made, page):
    visit(page, made(name), width, dark)
    assert page.evaluate("innerWidth") == width, "a telephone shows more than its width where a page is wider"
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == dark
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (shade == "rgb(255, 255, 255)") != dark, "a page of its own in dark mode"
    assert off_screen(page) == []
    assert low_contrast(page) == []
    assert page.problems == []


def test_the_fit_pages_classes_sort(made, page):
    visit(page, made("fit"), 390)
    down, up = sorted_by(page, 0, 1)
    assert sorted(down, key=float) in (down, down[::-1]) and down == up[::-1]


@pytest.mark.parametrize("width", [1200, 390])
def test_the_reports_tables_sort(width, made, page):
    visit(page, made("report"), width)
    heads = page.evaluate("[...document.querySelectorAll('table')[0].tHead.rows[0].cells].map(c => c.textContent)")
    assert heads[:2] == ["Method", "Average"]
    down, up = sorted_by(page, 0, 1)
    values = list(map(float, down))
    assert len(set(values)) == 3 and values == sorted(values, reverse=True) and up == down[::-1]
    names, _ = sorted_by(page, 0, 0)
    assert names == ["CoOp", "PromptSRC", "ZeroshotCLIP"]


def test_the_first_column_stays_and_each_panel_has_a_row_on_a_telephone(made, page):
    visit(page, made("report"), 390)
    edges = page.evaluate("""(() => {
      const wide = document.querySelector('.wide'); wide.scrollLeft = 300;
      const [first, second] = wide.querySelector('tbody tr').cells;
      return [wide.scrollLeft, first.getBoundingClientRect().left - wide.getBoundingClientRect().left,
              second.getBoundingClientRect().left];
    })()""")
    assert edges[0] == 300 and edges[1] == 0 and edges[2] < 0
    shrunk = "[...document.querySelectorAll('img')].map(i => i.clientWidth / (i.naturalWidth * 110 / 180))"
    assert min(page.evaluate(shrunk)) > 0.6, "letters of a picture become too small to read"


def test_the_papers_averages_come_first_and_all_datasets_on_request(made, page):
    page.screen(1200)
    page.open(made("report"))
    block = ("[...document.querySelectorAll('h2')].find(h => h.textContent.includes('published'))"
             ".nextElementSibling.innerText")
    assert "84.26" in page.evaluate(block) and "Published, difference" in page.evaluate(block)
    folded = "document.querySelector('details').querySelector('table').checkVisibility()"
    assert page.evaluate(folded) is False
    page.click("details summary")
    assert page.evaluate(folded) is True and "DTD" in page.evaluate("document.querySelector('details').innerText")


def test_search_in_the_gallery_takes_a_blank_for_an_underscore(made, page):
    visit(page, made("gallery"), 1200)
    shown = "[...document.querySelectorAll('section')].filter(s => !s.hidden).map(s => s.querySelector('h2').innerText)"
    assert len(page.evaluate(shown)) == 3
    page.click("input")
    page.type("brick  wall")
    found, = page.evaluate(shown)
    assert "Brick_Wall" in found


@pytest.mark.parametrize("width,columns", [(1200, 2), (390, 1)])
def test_captions_stand_below_their_pictures_and_held_out_domains_are_marked(width, columns, made, page):
    visit(page, made("hierarchy"), width)
    gaps = page.evaluate("""[...document.querySelectorAll('figure')].map(figure => {
      const caption = figure.querySelector('figcaption').getBoundingClientRect();
      const above = figure.firstElementChild.getBoundingClientRect();
      return [caption.top - above.bottom, caption.left - above.left];
    })""")
    assert len(gaps) == 12 and all(-1 < down < 20 and abs(aside) < 1 for down, aside in gaps)
    lefts = page.evaluate("[...document.querySelectorAll('section')].map(s => s.getBoundingClientRect().left)")
    assert len(set(lefts)) == columns
    heads = page.evaluate("[...document.querySelectorAll('h2')].map(h => h.innerText)")
    assert heads[0].startswith("grey cats, red cats domain 0") and "grey cats, red cats held out" in heads[1]
