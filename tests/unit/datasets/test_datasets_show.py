"""The page of a few-shot set: the images that training gets, counted and named."""
import html.parser
import random
from collections import defaultdict

import pytest
from support import miniature

import datasets
from datasets import show

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl


class Page(html.parser.HTMLParser):
    """Reads a page back: images by section, the table's rows, text."""

    def __init__(self, text):
        super().__init__()
        self.images, self.halves, self.rows, self.tags, self.text = defaultdict(list), {}, [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag == "section":
            self.section = attributes["data-name"]
            self.halves[self.section] = attributes["class"]
        if tag == "img":
            assert attributes["src"].startswith("data:image/jpeg;base64,/9j/")
            self.images[self.section].append(attributes["title"])
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        self.text += data
        if self.tags and self.tags[-1] in ("td", "th") and data.strip() and self.rows:
            self.rows[-1].append(data.strip())


def test_the_page_shows_what_training_gets(tmp_path, capsys):
    root = tmp_path / "DATA"
    miniature.build("EuroSAT", root)
    out = tmp_path / "pages" / "page.html"
    assert show.main(["eurosat", "--root", str(root), "--shots", "2", "--seed", "3", "--out", str(out)]) == 0
    page = Page(out.read_text())

    for path in (root / "eurosat" / "split_fewshot").iterdir():
        path.unlink()  # drawn again, as training would
    cfg = get_cfg_default()
    cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = str(root), 2, 3
    cfg.DATASET.ALLOW_INCOMPLETE = True
    random.seed(3)
    dataset = datasets.CLASSES["EuroSAT"](cfg)
    expected = defaultdict(list)
    for item in dataset.train_x:
        expected[item.classname.lower()].append(item.impath)
    assert page.images == expected
    names = [name.lower() for name in dataset.classnames]
    assert page.halves == dict(zip(names, ["base"] * 5 + ["new"] * 5, strict=True))
    assert page.rows[1:] == [["all", "10", "20", "20", "50", "20", "30"], ["base", "5", "10", "10", "25", "10", "15"],
                             ["new", "5", "10", "10", "25", "10", "15"]]


def test_names_are_text_and_damaged_images_are_said(tmp_path):
    for name in ("a<script>b", "c"):
        for number in range(4):
            miniature._image(tmp_path / name / f"{number}.jpg")
    for path in (tmp_path / "c").iterdir():
        path.write_text("no image")
    out = tmp_path / "page.html"
    assert show.main(["ImageFolder", "--root", str(tmp_path), "--shots", "1", "--out", str(out)]) == 0
    page = Page(out.read_text())
    assert "script" not in page.tags and "a<script>b" in page.text
    assert "damaged or not an image" in page.text


@pytest.mark.parametrize("arguments, message", [
    (["nothing"], "no dataset 'nothing'"), (["all"], "one dataset a page"), (["Food101"], "data fetch Food101"),
    (["Digits", "--seed", "4294967296"], "--seed 4294967296: it must be below"),
    (["Digits", "--shots", "-3"], "NUM_SHOTS -3"), (["Digits", "--out", "{root}/file/page.html"], "cannot be written"),
])
def test_mistakes_are_one_line(tmp_path, capsys, arguments, message):
    (tmp_path / "file").write_text("")
    arguments = [argument.format(root=tmp_path) for argument in arguments]
    if "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "page.html")]
    assert show.main([*arguments, "--root", str(tmp_path)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line and "images/s" not in line]
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "page.html").exists()
