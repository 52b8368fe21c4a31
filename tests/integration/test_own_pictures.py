"""One's own pictures in two commands, promptreg fit and promptreg classify, and the same in Python."""
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from support.digit_photos import NAMES, digit_photos, table
from support.photos import photos

import trainers
from trainers.classifier import page
from trainers.classifier.fit import fit, summary
from trainers.cli import classify
from trainers.cli.fit import main
from trainers.errors import InputError

QUICK = ["--backbone", "demo", "--method", "CoOp", "--epochs", "6"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return digit_photos(tmp_path_factory.mktemp("pictures") / "digits")


@pytest.fixture(scope="module")
def fitted(pictures, tmp_path_factory):
    """A finished fit's folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch, Captured() as said:
        patch.chdir(folder)
        assert main([str(pictures), *QUICK]) == 0
    return folder / "runs" / "digits", said


class Captured:
    """Keeps what is printed meanwhile, for a fixture that is shared."""

    def __enter__(self):
        import contextlib
        import io
        self.out, self.err = io.StringIO(), io.StringIO()
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(contextlib.redirect_stdout(self.out))
        self.stack.enter_context(contextlib.redirect_stderr(self.err))
        return self

    def __exit__(self, *error):
        self.stack.close()


def test_a_folder_becomes_a_classifier(fitted, pictures):
    folder, said = fitted
    counts, figures, following = said.out.getvalue().splitlines()
    assert counts == "digits: 6 classes, 126 images (train 60, val 24, test 42) · CoOp · demo"
    accuracy = float(re.match(r"accuracy ([\d.]+) %   ", figures)[1])
    assert accuracy > 70, "chance is 16.7"
    assert figures.endswith("page: runs/digits/index.html")
    assert following == "next: promptreg classify runs/digits new.jpg"
    assert "training" in said.err.getvalue() and "never seen" not in said.err.getvalue()
    assert accuracy == pytest.approx(figures_of(folder)["accuracy"], abs=0.05)
    assert {path.name for path in pictures.iterdir() if path.is_dir()} == {*NAMES, "split_fewshot"}


def figures_of(folder):
    return json.loads((folder / "result.json").read_text())["results"]["test"]


def test_the_page_says_what_the_result_says(fitted):
    folder, _ = fitted
    figures = figures_of(folder)
    text = (folder / "index.html").read_text()
    assert f"{figures['correct']} of {figures['total']} test images" in text
    wrong = figures["total"] - figures["correct"]
    assert text.count("<figure>") == wrong == sum(sum(times.values()) for times in figures["confusion"].values())
    shares = [int(share) for share in re.findall(r"</strong>\s+(\d+) %<br>", text)]
    assert shares == sorted(shares, reverse=True) and len(shares) == wrong, "the surest first"
    assert page.worst(figures) in summary(folder)


def test_the_interval_is_wilsons():
    for correct, total, low, high in ((51, 54, 84.9, 98.1), (0, 10, 0.0, 27.8), (10, 10, 72.2, 100.0)):
        assert page.interval(correct, total) == pytest.approx((low, high), abs=0.06)


def test_pictures_and_folders_are_classified(fitted, pictures, capsys):
    folder, _ = fitted
    assert classify.main([str(folder), str(pictures / "zero" / "00.png"), str(pictures / "three")]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == [str(pictures / "zero" / "00.png"),
                                        *(str(pictures / "three" / f"{n:02}.png") for n in range(21))]
    assert all(re.fullmatch(r"\w+ \d+ %", word) for row in rows for word in row[1:])
    assert {len(row) for row in rows} == {3}, "the path and two classes"
    assert rows[0][1].startswith("zero ")
    assert sum(row[1].startswith("three ") for row in rows[1:]) > 15


def test_what_cannot_be_read_is_said_after_all_others(fitted, pictures, tmp_path, capsys):
    folder, _ = fitted
    (tmp_path / "a.png").write_bytes(b"no picture")
    Image.open(pictures / "zero" / "00.png").save(tmp_path / "b.png")
    assert classify.main([str(folder), str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"{tmp_path}/b.png\tzero ") and said.out.count("\n") == 1
    assert said.err.count("\n") == 1 and f"{tmp_path}/a.png cannot be read as an image" in said.err
    assert classify.main([str(folder), str(tmp_path / "c.png")]) == 2
    assert "c.png: there is no such image" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert classify.main([str(folder), str(tmp_path / "empty")]) == 2
    assert "no pictures" in capsys.readouterr().err


def test_the_same_in_python(fitted, pictures):
    folder, _ = fitted
    model = trainers.load(folder)
    path = pictures / "four" / "02.png"
    best = model(path)
    assert best.image == path and [name for name, _ in best] != list(NAMES) and {name for name, _ in best} == set(NAMES)
    assert [share for _, share in best] == sorted((share for _, share in best), reverse=True)
    assert sum(share for _, share in best) == pytest.approx(1, abs=1e-5)
    picture = Image.open(path).convert("RGB")
    pixels = np.asarray(picture)
    for image in (str(path), picture, pixels, torch.from_numpy(pixels.copy()).permute(2, 0, 1),
                  model.clip.preprocess(picture)):
        assert close(model(image), best)
        several = model([image, image])
        assert len(several) == 2 and all(close(found, best) for found in several)
    assert all(close(found, best) for found in model(np.stack([pixels] * 3)))
    whole = model(pictures / "four", top=1)
    assert [(found.image.name, len(found)) for found in whole] == [(f"{n:02}.png", 1) for n in range(21)]
    for wrong in (None, 3, b"x", {}, "no such file.png"):
        with pytest.raises(InputError):
            model(wrong)
    assert model.to("cpu") is model and close(model(path), best)


def close(found, expected):
    return [name for name, _ in found] == [name for name, _ in expected] and np.allclose(
        [share for _, share in found], [share for _, share in expected], atol=1e-5)


def test_classes_may_be_others(fitted, pictures):
    folder, _ = fitted
    model = trainers.load(folder)
    assert re.fullmatch(r"<Classifier CoOp on demo, 6 classes \(five, four, one, three, two, zero\), cpu, "
                        r"accuracy [\d.]+ % of 42 test images>", repr(model))
    model.classes = ["zero", "circle"]
    assert model.classes == ["zero", "circle"] and len(model(pictures / "zero" / "00.png")) == 2
    assert "accuracy" not in repr(model) and model.to("cpu").classes == ["zero", "circle"]
    with pytest.raises(InputError):
        model.classes = "zero"


def test_the_same_call_again_trains_nothing(fitted, pictures, monkeypatch, capsys):
    folder, said = fitted
    monkeypatch.chdir(folder.parents[1])
    before = (folder / "result.json").stat().st_mtime_ns
    assert main([str(pictures), *QUICK]) == 0
    assert capsys.readouterr().out == said.out.getvalue() and (folder / "result.json").stat().st_mtime_ns == before
    assert main([str(pictures), *QUICK, "--seed", "2"]) == 2
    assert "another config" in capsys.readouterr().err


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_or_the_folder_that_holds_one(separator, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moved = tmp_path / "pictures"
    moved.symlink_to(pictures)
    csv = table(moved, tmp_path / "lists" / "mine.csv", separator)
    given = csv if separator == "," else csv.parent
    assert main([str(given), *QUICK, "--shots", "5"]) == 0
    counts, figures, _ = capsys.readouterr().out.splitlines()
    assert counts == f"{given.stem}: 6 classes, 126 images (train 60, val 24, test 42) · CoOp · demo"
    assert float(figures.split()[1]) > 50, "chance is 16.7"


def test_unknown_words_get_a_loud_note(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digit_photos(tmp_path / "land", each=8, names=("gravel", "grass"))
    assert main(["land", "--backbone", "demo", "--method", "CoOp", "--epochs", "1"]) == 0
    err = capsys.readouterr().err
    note = "has never seen words of 2 of the 2 class names ('grass', 'gravel'): these figures say nothing"
    assert note in err
    assert "promptreg fit land --shots 16 --backbone ViT-B/16 --output runs/land-vit" in err
    assert note.replace("'", "&#39;") in (tmp_path / "runs" / "land" / "index.html").read_text()


@pytest.mark.parametrize("flags, words", [
    ([], "promptreg weights ViT-B/16"), (["--shots", "0"], "shots must be at least 1"),
    (["--backbone", "demo", "--template", "a {} photo"], "template must end in {}"),
    (["--backbone", "demo", "--template", "no place"], "template must end in {}"),
    (["--backbone", "demo", "--template", "a picture of some kind of {}."], "starts from at most 4"),
    (["--backbone", "demo", "--method", "ZeroshotCLIP", "--template", "a photo of {}."], "has no context"),
    (["--method", "PromptSCR"], "did you mean PromptSRC?"),
    (["--output", "photos/run"], "lies in the pictures' folder"),
    (["--backbone", "demo", "--opts", "TRAINER.NOPE", "1"], "TRAINER.NOPE")])
def test_what_does_not_fit_is_one_line_and_writes_nothing(flags, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    photos("photos")
    before = sorted(map(str, tmp_path.rglob("*")))
    assert main(["photos", *flags]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_a_template_is_what_the_context_starts_from(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(pictures, 1, "IVLP", "demo", template="a scan of {}.", epochs=1)
    config = json.loads((tmp_path / "runs" / "digits" / "result.json").read_text())["config"]
    assert "CTX_INIT: a scan of" in config and "N_CTX_TEXT: 3" in config


def test_clip_as_it_is_may_be_fitted_and_used(pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(pictures), "--backbone", "demo", "--method", "ZeroshotCLIP"]) == 0
    assert float(capsys.readouterr().out.splitlines()[1].split()[1]) > 50, "chance is 16.7"
    assert classify.main(["runs/digits", str(pictures / "zero" / "00.png")]) == 0
    assert "\tzero " in capsys.readouterr().out
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "result.json").write_text(
        (tmp_path / "runs/digits/result.json").read_text().replace("ZeroshotCLIP", "CoOp"))
    with pytest.raises(InputError, match="no checkpoint of trained prompts in gone"):
        trainers.load("gone")


def test_the_package_shows_what_is_for_users():
    assert dir(trainers) == ["PromptedCLIP", "__version__", "fit", "load", "register", "results"]
    assert all(getattr(trainers, name) for name in dir(trainers))
