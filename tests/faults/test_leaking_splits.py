"""A test image is in the test alone, and no image is listed twice; few-shot sets have the shots they are named by."""
import json
import pickle
import random

import pytest
from support import miniature

import datasets
from datasets.home import InputError

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl


def build(root, name, shots=-1):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), shots, 1
    cfg.DATASET.ALLOW_INCOMPLETE = True
    random.seed(1)
    return datasets.CLASSES[name](cfg)


def rejects(root, name, *fragments, shots=-1):
    with pytest.raises(InputError) as caught:
        build(root, name, shots)
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert str(fragment) in str(caught.value)


@pytest.fixture
def food(tmp_path):
    """Food101 in miniature and its split, as a dict to change and ``save``."""
    miniature.build("Food101", tmp_path)
    build(tmp_path, "Food101")
    made = tmp_path / "food-101" / "split_promptreg_Food101.json"
    content = json.loads(made.read_text())

    def save(name="split_zhou_Food101.json"):
        (tmp_path / "food-101" / name).write_text(json.dumps(content))
        return tmp_path / "food-101" / name
    return tmp_path, content, save


@pytest.mark.parametrize("file", ["split_zhou_Food101.json", "split_promptreg_Food101.json"])
@pytest.mark.parametrize(("source", "target"), [("test", "train"), ("test", "val"), ("train", "val")])
def test_an_image_in_two_splits_is_refused(food, file, source, target):
    root, content, save = food
    leaked = content[source][:4]
    content[target] += [["./" + path, label, name] for path, label, name in leaked]
    path = save(file)
    named = sorted(path for path, *_ in leaked)
    first, second = [name for name in ("train", "val", "test") if name in (source, target)]
    rejects(root, "Food101", path, f"4 images are both in {first} and in {second}", ", ".join(named[:3]), "and 1 more")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_image_twice_in_a_split_is_refused(food, split):
    root, content, save = food
    content[split].append(content[split][0])
    rejects(root, "Food101", save(), f"1 image is listed twice in {split}: {content[split][0][0]};")


@pytest.mark.parametrize(("name", "one", "other"), [
    ("OxfordPets", "annotations/trainval.txt", "annotations/test.txt"), ("SUN397", "Training_01.txt", "Testing_01.txt"),
    ("FGVCAircraft", "images_variant_train.txt", "images_variant_test.txt"),
    ("UCF101", "ucfTrainTestlist/trainlist01.txt", "ucfTrainTestlist/testlist01.txt")])
def test_annotations_that_leak_are_refused(tmp_path, name, one, other):
    miniature.build(name, tmp_path)
    folder = tmp_path / miniature.FOLDERS[name]
    lines = (folder / one).read_text().splitlines()
    with open(folder / other, "a") as file:
        file.write("\n".join(lines) + "\n")
    rejects(tmp_path, name, folder, "images are both in", "and in test")
    assert not list(folder.glob("split_promptreg*"))


def test_images_of_ones_own_that_leak_are_refused(tmp_path):
    for number in range(10):
        miniature._image(tmp_path / "cat" / f"{number}.jpg")
    build(tmp_path, "ImageFolder")
    made = tmp_path / "split_promptreg_ImageFolder-seed_1.json"
    content = json.loads(made.read_text())
    content["train"] += content["test"]
    made.write_text(json.dumps(content))
    rejects(tmp_path, "ImageFolder", made, "3 images are both in train and in test")


@pytest.mark.parametrize("ending", ["json", "pkl"])
@pytest.mark.parametrize(("change", "fragment"), [
    (lambda rows: rows + rows[:1], "listed twice in train"), (lambda rows: rows[:-1], "1 images of class"),
    (lambda rows: rows, None)])
def test_few_shot_sets_hold_what_their_name_says(food, ending, change, fragment):
    root, content, _ = food
    build(root, "Food101", shots=2)
    kept = root / "food-101" / "split_fewshot" / "shot_2-seed_1.json"
    sets = json.loads(kept.read_text())
    sets["train"] = change(sets["train"])
    if ending == "json":
        kept.write_text(json.dumps(sets))
    else:
        kept.unlink()
        kept = kept.with_suffix(".pkl")
        kept.write_bytes(coops_cache(sets))
    if fragment:
        rejects(root, "Food101", kept, fragment, "delete it", shots=2)
    else:
        assert len(build(root, "Food101", shots=2).train_x) == 6


def coops_cache(sets):
    """Pickle few-shot sets as CoOp does: lists of Dassl's Datum with absolute paths."""
    class Datum:
        def __reduce_ex__(self, protocol):
            return (_new, (), vars(self))
    out = {name: [] for name in sets}
    for name, rows in sets.items():
        for path, label, classname in rows:
            item = Datum()
            item._impath, item._label, item._classname, item._domain = f"/there/{path}", label, classname, 0
            out[name].append(item)
    return pickle.dumps(out, protocol=0).replace(f"c{__name__}\n_new\n".encode(),
                                                 b"cdassl.data.datasets.base_dataset\nDatum\n")


def _new():
    raise AssertionError("stands for Dassl's class")


@pytest.mark.parametrize("name", ["ImageNet", "ImageNetV2", "ImageNetSketch", "ImageNetA", "ImageNetR"])
def test_published_test_sets_that_stand_in_for_others_still_do(tmp_path, name):
    miniature.build(name, tmp_path)
    dataset = build(tmp_path, name)
    if name == "ImageNet":
        assert [item.impath for item in dataset.val] == [item.impath for item in dataset.test]
    else:
        assert [item.impath for item in dataset.train_x] == [item.impath for item in dataset.test]
