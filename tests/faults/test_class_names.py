"""Names of classes and splits as people write them: read as meant, or refused; never without effect."""
import json
import random
import unicodedata

import pytest
from support import miniature

import datasets
from datasets.home import InputError

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def build(root, name="ImageFolder"):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), -1, 1
    cfg.DATASET.ALLOW_INCOMPLETE = True
    random.seed(1)
    return datasets.CLASSES[name](cfg)


def own(root, *names, each=10):
    for name in names:
        for number in range(each):
            miniature._image(root / name / f"{number}.jpg")


def rejects(root, *fragments, name="ImageFolder"):
    with pytest.raises(InputError) as caught:
        build(root, name)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert str(fragment) in message
    assert not list(root.glob("split_promptreg*")) if root.is_dir() else True


# ---------------------------------------------------------------- folders of splits


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val", "VALIDATION"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "Test"), ("training", "testing")])
def test_usual_spellings_of_the_splits_are_read(tmp_path, train, val, test):
    own(tmp_path, f"{train}/cat", f"{train}/dog", each=3)
    own(tmp_path, f"{val}/cat", f"{val}/dog", each=2)
    own(tmp_path, f"{test}/cat", f"{test}/dog", each=1)
    dataset = build(tmp_path)
    assert [len(part) for part in (dataset.train_x, dataset.val, dataset.test)] == [6, 4, 2]
    assert dataset.classnames == ["cat", "dog"]


@pytest.mark.parametrize(("more", "fragments"), [
    ("valid/cat", ["both val and valid"]), ("test2/cat", ["test2", "looks like a split"]),
    ("val_new/cat", ["val_new", "looks like a split"]), ("Training/cat", ["both Training and train"])])
def test_folders_that_would_have_no_effect_are_refused(tmp_path, more, fragments):
    own(tmp_path, "train/cat", "val/cat", "test/cat", each=1)
    own(tmp_path, more, each=1)
    rejects(tmp_path, *fragments)


def test_flat_validation_images_are_refused_and_other_folders_noted(tmp_path):
    own(tmp_path, "train/cat", "test/cat", "unlabelled", each=1)
    assert any("unlabelled" in note and "not used" in note for note in build(tmp_path).notes)
    miniature._image(tmp_path / "valid" / "1.jpg")
    rejects(tmp_path, "valid", "looks like a split")


def test_classes_may_be_called_like_splits(tmp_path):
    own(tmp_path, "train", "boat", "test")
    assert build(tmp_path).classnames == ["boat", "test", "train"]


def test_classes_without_a_test_image_are_noted(tmp_path):
    own(tmp_path, "train/cat", "train/dog", "test/cat", each=1)
    assert any("1 classes have no test image: dog" in note for note in build(tmp_path).notes)


# ---------------------------------------------------------------- classnames.txt, classnames.json


@pytest.mark.parametrize("text", [
    "﻿n01 tench\nn02 kit fox\n", "n01,tench\nn02,kit fox\n", "n01, tench\nn02, kit fox\n", "n01: tench\nn02: kit fox\n",
    "n01\ttench\nn02\tkit fox\n", "n01=tench\nn02 = kit fox\n", "n01;tench\r\nn02;kit fox\r\n",
    "n01 tench\nn02 kit fox\nn03 of no folder\n"])
def test_lines_with_usual_separators_name_their_folders(tmp_path, text):
    own(tmp_path, "n01", "n02")
    (tmp_path / "classnames.txt").write_text(text, encoding="utf-8", newline="")
    assert build(tmp_path).classnames == ["tench", "kit fox"]


@pytest.mark.parametrize(("file", "text", "fragments"), [
    ("classnames.txt", "tench\nkit fox\n", ["'tench'", "match no class", "n01"]),
    ("classnames.txt", "n01 tench\nn20 kit fox\n", ["'n20 kit fox'", "n02"]),
    ("classnames.txt", "n01|tench\nn02|kit fox\n", ["'n01|tench'"]),
    ("classnames.txt", "n01 1 tench\nn02 2 kit fox\n", ["begin with a number", "n01 1 tench"]),
    ("classnames.txt", "n01 tench\nn01 shark\nn02 fox\n", ["n01", "both 'tench' and 'shark'"]),
    ("classnames.txt", "n01 fox\nn02 fox\n", ["n01 and n02 are both named 'fox'"]),
    ("classnames.json", '{"n01": "tench", "n3": "fox"}', ["'n3'", "match no class", "n02"]),
    ("classnames.json", '{"n01": "tench", "n02": " "}', ["'n02' has an empty name"]),
    ("classnames.json", '{"n01": "tench", "n01": "fox"}', ["'n01' occurs twice"]),
    ("class_names.txt", "n01 tench\n", ["class_names.txt is not read", "rename it"]),
    ("classnames.csv", "n01,tench\n", ["classnames.csv is not read"])])
def test_names_without_effect_are_refused(tmp_path, file, text, fragments):
    own(tmp_path, "n01", "n02")
    (tmp_path / file).write_text(text)
    rejects(tmp_path, tmp_path / file, *fragments)


def test_files_of_names_in_the_wrong_place_or_twice_are_refused(tmp_path):
    own(tmp_path, "train/n01", "test/n01", each=1)
    (tmp_path / "train" / "classnames.txt").write_text("n01 tench\n")
    rejects(tmp_path, tmp_path / "train" / "classnames.txt", "is not read: move it")
    (tmp_path / "train" / "classnames.txt").rename(tmp_path / "ClassNames.TXT")
    assert build(tmp_path).classnames == ["tench"]
    (tmp_path / "classnames.json").write_text('{"n01": "tench"}')
    rejects(tmp_path, "keep one")


def test_a_line_with_two_meanings_is_refused(tmp_path):
    own(tmp_path, "hot", "hot dog")
    (tmp_path / "classnames.txt").write_text("hot dog sausage\n")
    rejects(tmp_path, "hot dog sausage", "can mean")
    (tmp_path / "classnames.txt").write_text("hot warm\n")
    assert build(tmp_path).classnames == ["warm", "hot dog"]


def test_unicode_forms_are_one_name(tmp_path):
    own(tmp_path / "a", f"train/{DECOMPOSED}", f"test/{COMPOSED}", each=1)
    assert build(tmp_path / "a").classnames == [COMPOSED]
    own(tmp_path / "b", DECOMPOSED, "tea")
    (tmp_path / "b" / "classnames.json").write_text(json.dumps({COMPOSED: "coffee"}))
    assert build(tmp_path / "b").classnames == ["coffee", "tea"]
    own(tmp_path / "c", DECOMPOSED, COMPOSED)
    rejects(tmp_path / "c", "both named", "rename one")
    own(tmp_path / "d", "cat", "cat ")
    rejects(tmp_path / "d", "'cat' and 'cat ' are both named 'cat'")


@pytest.mark.parametrize("name", ["ImageNet", "ImageNetA", "ImageNetV2"])
@pytest.mark.parametrize(("line", "fragment"), [
    ("{} 1 {}", "begin with a number"), ("{},{}", "not a WNID and a class name"),
    ("{}: {}", "not a WNID and a class name"), ("{} {}, synonym", "synonyms")])
def test_imagenets_other_lists_are_refused(tmp_path, name, line, fragment):
    miniature.build(name, tmp_path)
    path = tmp_path / miniature.FOLDERS[name] / "classnames.txt"
    path.write_text("".join(line.format(*pair) + "\n" for pair in miniature.WNIDS.items()))
    rejects(tmp_path, path, fragment, name=name)


def test_imagenets_names_may_begin_with_a_byte_order_mark(tmp_path):
    miniature.build("ImageNet", tmp_path)
    path = tmp_path / "imagenet" / "classnames.txt"
    path.write_text("﻿" + path.read_text(), encoding="utf-8")
    assert build(tmp_path, "ImageNet").classnames == list(miniature.WNIDS.values())


def test_a_class_that_came_after_the_split_is_not_left_out(tmp_path):
    own(tmp_path, "cat", "dog")
    build(tmp_path)
    own(tmp_path, "emu")
    with pytest.raises(InputError, match="made before there was the class emu: delete it"):
        build(tmp_path)


# ---------------------------------------------------------------- tables


def table(folder, text):
    own(folder, "all", each=8)
    (folder / "mine.csv").write_text(text, encoding="utf-8")
    return folder / "mine.csv"


def test_blanks_and_unicode_forms_make_no_classes(tmp_path, caplog):
    path = table(tmp_path, f" Path ,CLASS, Split\nall/0.jpg,cat,train\n ./all/1.jpg ,cat , Test\n"
                           f"all/2.jpg,{COMPOSED},training\nall/3.jpg,{DECOMPOSED},valid\nall/4.jpg,Cat,TRAIN\n,,\n")
    dataset = build(path)
    assert dataset.classnames == ["Cat", COMPOSED, "cat"]
    assert [len(part) for part in (dataset.train_x, dataset.val, dataset.test)] == [3, 1, 1]
    said = "class names that differ in case alone, each a class of its own: 'Cat' and 'cat'"
    assert any(said in note for note in dataset.notes) and said in caplog.text


@pytest.mark.parametrize(("text", "fragments"), [
    ("path,class,subset\nall/0.jpg,a,train\nall/1.jpg,a,test\n", ["'subset'", "name it 'split'"]),
    ("path,class,class\nall/0.jpg,a,b\n", ["two columns 'class'"]),
    ("path,class\nall/0.jpg,hot dog, large\n", ["line 2", "3 cells", "quotes"]),
    ("path,class\nall/0.jpg,a\n./all//0.jpg,a\n", ["lines 2 and 3 both name all/0.jpg"]),
    ("path,class\nall/0.jpg,a\n.,a\n", ["line 3"])])
def test_tables_that_say_something_else_than_is_read_are_refused(tmp_path, text, fragments):
    path = table(tmp_path, text)
    rejects(path, path, *fragments)


def test_two_spellings_of_one_file_are_refused(tmp_path):
    path = table(tmp_path, "path,class\nall/0.jpg,a\nall/0.JPG,a\n")
    (tmp_path / "all" / "0.JPG").symlink_to(tmp_path / "all" / "0.jpg")  # as on a disk that knows no case
    rejects(path, "all/0.jpg, all/0.JPG are one image")


def test_the_table_itself_may_be_called_like_a_file_of_names(tmp_path):
    path = table(tmp_path, "path,class\n" + "".join(f"all/{n}.jpg,{'ab'[n % 2]}\n" for n in range(8)))
    dataset = build(path.rename(tmp_path / "class_names.csv"))
    assert dataset.classnames == ["a", "b"] and dataset.label == "class_names"
