"""Where validation images are asked for and there are none: nothing is trained, no test figure passes for theirs."""
import json
import shutil

import pytest
from support import miniature
from support.paths import ROOT

from trainers.cli import linear_probe
from trainers.training import validation
from trainers.training.run import main

from dassl.engine import SimpleTrainer  # isort: skip  trainers has found Dassl

CONFIGS = ROOT / "configs"
BEST = ["TEST.FINAL_MODEL", "best_val"]


@pytest.fixture
def place(tmp_path):
    """A folder with images of one's own in train and test, and what to train on them with: ``run(flags, options)``."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(2):
                miniature._image(tmp_path / "data" / split / name / f"{number}.jpg")

    def words(flags=(), options=(), dataset="image_folder", trainer="CoOp", out="out"):
        return ["--root", str(tmp_path / "data"), "--seed", "1", "--trainer", trainer, "--output-dir",
                str(tmp_path / out), "--dataset-config-file", str(CONFIGS / f"datasets/{dataset}.yaml"),
                "--config-file", str(CONFIGS / f"trainers/{trainer}/demo.yaml"), *flags, "OPTIM.MAX_EPOCH", "1",
                "DATASET.NUM_SHOTS", "1", "DATALOADER.NUM_WORKERS", "0", *options]
    words.folder = tmp_path
    return words


def refused(code, capsys, *fragments):
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and line.startswith("error: ") and all(fragment in line for fragment in fragments), line


@pytest.mark.parametrize(("flags", "options"), [
    ((), BEST), ((), ["TEST.SPLIT", "val"]), (("--eval-only",), ["TEST.SPLIT", "val"])])
def test_without_validation_images_nothing_begins(place, flags, options, capsys):
    refused(main(place(flags, options)), capsys, "no validation images", " ".join(options))
    assert not (place.folder / "out").exists()


def test_an_evaluation_alone_needs_none_for_best_val(place):
    assert main(place(["--eval-only"], BEST, trainer="ZeroshotCLIP")) == 0


def test_dassls_own_fallback_is_not_reached(place, capsys, monkeypatch):
    """Real Dassl's ``test`` takes the test set where there is no validation set."""
    monkeypatch.setattr(SimpleTrainer, "test", lambda self, split=None: 79.4)
    monkeypatch.setattr(SimpleTrainer, "train", lambda self: self.test("val"))
    for options in (BEST, ["TEST.SPLIT", "val"], ["TEST.NO_TEST", "True"]):
        refused(main(place((), options)), capsys, "no validation images")


def test_validation_images_that_are_test_images_are_noted(place, caplog):
    """As ImageNet's, whose published test split is its validation set."""
    miniature.build("ImageNet", place.folder / "data")
    options = [*BEST, "DATASET.ALLOW_INCOMPLETE", "True"]
    assert main(place((), options, dataset="imagenet")) == 0
    assert "50 of ImageNet's 50 validation images are test images" in caplog.text


def test_validation_images_of_some_classes_only_are_noted(place, caplog):
    miniature._image(place.folder / "data" / "val" / "cat" / "0.jpg")
    assert main(place((), BEST)) == 0
    assert "no validation images of 1 of its 2 classes" in caplog.text


@pytest.mark.parametrize(("classes", "code"), [("base", 0), ("new", 2)])
def test_the_chosen_classes_need_some_of_their_own(place, classes, code, capsys):
    miniature._image(place.folder / "data" / "val" / "cat" / "0.jpg")
    assert main(place((), [*BEST, "DATASET.SUBSAMPLE_CLASSES", classes])) == code
    assert ("no validation images" in capsys.readouterr().err) == (code == 2)


def test_nothing_is_trained_on_test_images(place, capsys):
    miniature.build("ImageNetA", place.folder / "data")
    options = ["DATASET.ALLOW_INCOMPLETE", "True"]
    refused(main(place((), options, dataset="imagenet_a")), capsys, "ImageNetA has test images only", "--eval-only")
    assert main(place(["--eval-only"], options, dataset="imagenet_a")) == 0
    result = json.loads((place.folder / "out" / "result.json").read_text())
    assert result["config"]


def test_the_linear_probe_asks_for_validation_images_and_two_classes(place, capsys):
    refused(linear_probe.main(place(trainer="ZeroshotCLIP")), capsys, "no validation images in ImageFolder")
    miniature._image(place.folder / "data" / "val" / "cat" / "0.jpg")
    base = place((), ["DATASET.SUBSAMPLE_CLASSES", "base"], trainer="ZeroshotCLIP")
    # it was drawn before
    refused(linear_probe.main(base), capsys, "shot_1-seed_1.json", "val: no image of class 'cat'")
    shutil.rmtree(place.folder / "data" / "split_fewshot")
    refused(linear_probe.main(base), capsys, "one class only")


def test_a_host_without_our_keys_is_understood():
    dataset = type("Hosts", (), {"val": None, "test": []})
    assert validation.remarks(dataset, "Theirs", "TEST.SPLIT val") == []
