"""Data that lack classes or images of what was published are refused, or noted where the flag says so."""
import json
import random
import shutil

import pytest
from support import miniature

import datasets
from datasets.home import InputError

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl

FOLDERS = {"Caltech101": "101_ObjectCategories", "Food101": "images", "DescribableTextures": "images",
           "EuroSAT": "2750", "ImageNetSketch": "images", "ImageNetA": "imagenet-a", "ImageNetR": "imagenet-r",
           "ImageNetV2": "imagenetv2-matched-frequency-format-val"}


def build(root, name, allowed=False):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), 2, 1
    if allowed:
        cfg.DATASET.ALLOW_INCOMPLETE = True
    random.seed(1)
    return datasets.CLASSES[name](cfg)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Build a dataset in miniature whose published counts are the miniature's; returns its folder."""
    def put(name):
        miniature.build(name, tmp_path)
        cls = datasets.CLASSES[name]
        splits = cls.whole(str(tmp_path))[1]
        counts = {split: len(items) for split, items in splits._asdict().items()}
        counts["classes"] = len({item.label for item in splits.train})
        monkeypatch.setattr(cls, "published", {key: counts[key] for key in cls.published})
        for made in (tmp_path / cls.folder).glob("split_promptreg*"):
            made.unlink()
        return tmp_path / cls.folder
    return put


def rejects(root, name, *fragments):
    with pytest.raises(InputError) as caught:
        build(root, name)
    message = str(caught.value)
    assert "\n" not in message and "DATASET.ALLOW_INCOMPLETE True" in message
    for fragment in fragments:
        assert str(fragment) in message
    assert not list(root.glob("*/split_fewshot/*"))


@pytest.mark.parametrize("name", miniature.BUILDERS)
def test_what_is_whole_is_taken_without_a_word(published, tmp_path, name):
    published(name)
    dataset = build(tmp_path, name)
    assert [note for note in dataset.notes if "of the published" in note] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_missing_class_folder_is_refused(published, tmp_path, name):
    folder = published(name)
    before = len(build(tmp_path, name).classnames)
    shutil.rmtree(folder / "split_fewshot", ignore_errors=True)
    for made in folder.glob("split_promptreg*"):
        made.unlink()
    shutil.rmtree(sorted(path for path in (folder / FOLDERS[name]).iterdir() if path.is_dir())[-1])
    rejects(tmp_path, name, f"{name} in {folder} has {before - 1} of the published {before} classes",
            f"promptreg data check {name} --root {tmp_path}")
    assert not list(folder.glob("split_promptreg*"))
    dataset = build(tmp_path, name, allowed=True)
    assert f"{name} has {before - 1} of the published {before} classes" in dataset.notes
    assert len(dataset.classnames) == before - 1


@pytest.mark.parametrize("split", ["train", "val", "both"])
def test_imagenet_with_a_class_missing_in_either_split_is_refused(published, tmp_path, split):
    folder = published("ImageNet")
    for part in ("train", "val") if split == "both" else (split,):
        shutil.rmtree(folder / "images" / part / list(miniature.WNIDS)[-1])
    if split == "train":
        with pytest.raises(InputError, match="has no training image"):
            build(tmp_path, "ImageNet")
    else:
        rejects(tmp_path, "ImageNet", "has 4 of the published 5 classes in test")


@pytest.mark.parametrize("name", ["ImageNetR", "ImageNetV2", "FGVCAircraft", "OxfordPets", "EuroSAT"])
def test_fewer_test_images_are_refused(published, tmp_path, name):
    folder = published(name)
    lists = {"FGVCAircraft": "images_variant_test.txt", "OxfordPets": "annotations/test.txt"}
    if name in lists:
        lines = (folder / lists[name]).read_text().splitlines(keepends=True)
        (folder / lists[name]).write_text("".join(lines[1:]))
    else:
        sorted(folder.rglob("*.jp*g"))[0].unlink()
    rejects(tmp_path, name, "of the published", "images")


def test_a_split_file_with_fewer_test_images_is_refused(published, tmp_path):
    folder = published("Food101")
    build(tmp_path, "Food101")
    shutil.rmtree(folder / "split_fewshot")
    content = json.loads((folder / "split_promptreg_Food101.json").read_text())
    removed = content["test"].pop()
    (folder / "split_zhou_Food101.json").write_text(json.dumps(content))
    rejects(tmp_path, "Food101", "has 8 of the published 9 images in test", "fetch it again")
    content["test"].append(removed)
    content["train"].pop()
    (folder / "split_zhou_Food101.json").write_text(json.dumps(content))
    assert "Food101 has 14 of the published 15 images in train" in build(tmp_path, "Food101").notes


def test_a_class_too_many_is_refused(published, tmp_path):
    folder = published("Food101")
    shutil.copytree(folder / "images" / "waffles", folder / "images" / "zebra")
    rejects(tmp_path, "Food101", "has 4 of the published 3 classes")


def test_an_own_split_of_incomplete_data_does_not_outlast_them(published, tmp_path):
    folder = published("Food101")
    (folder / "images" / "waffles").rename(tmp_path / "aside")
    build(tmp_path, "Food101", allowed=True)
    (tmp_path / "aside").rename(folder / "images" / "waffles")
    shutil.rmtree(folder / "split_fewshot")
    rejects(tmp_path, "Food101", "has 2 of the published 3 classes", "split_promptreg_Food101.json", "made anew")


def test_imagenetv2s_numbers_need_all_names(published, tmp_path):
    folder = published("ImageNetV2")
    path = folder / "classnames.txt"
    path.write_text("n00000001 intruder\n" + path.read_text())
    with pytest.raises(InputError, match=r"classnames.txt: 6 names instead of 5"):
        build(tmp_path, "ImageNetV2")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert build(tmp_path, "ImageNetV2").classnames == list(miniature.WNIDS.values())


def test_our_own_sets_are_nobodys_to_check(tmp_path):
    for name in ("cat", "dog"):
        for number in range(10):
            miniature._image(tmp_path / name / f"{number}.jpg")
    assert build(tmp_path, "ImageFolder").notes == []
