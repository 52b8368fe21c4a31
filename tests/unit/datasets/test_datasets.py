"""The datasets in their published layouts: items, labels, names, splits, shots, base and new, and their errors."""
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support import miniature
from support.paths import ROOT

import datasets
from datasets.home import InputError
from datasets.splits import Item, Splits, split_by_class

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl
from dassl.data.datasets import DATASET_REGISTRY, build_dataset  # isort: skip

SPLIT_FILES = {name: f"split_zhou_{name}.json" for name in (
    "Caltech101", "OxfordPets", "StanfordCars", "OxfordFlowers", "Food101", "SUN397", "DescribableTextures", "EuroSAT",
    "UCF101")}
IMAGE_FOLDERS = {"Caltech101": "101_ObjectCategories", "OxfordPets": "images", "StanfordCars": "",
                 "OxfordFlowers": "jpg", "Food101": "images", "SUN397": "SUN397", "DescribableTextures": "images",
                 "EuroSAT": "2750", "UCF101": "UCF-101-midframes"}
TEST_ONLY = ("ImageNetV2", "ImageNetSketch", "ImageNetA", "ImageNetR")
TRAINED = [name for name in miniature.BUILDERS if name not in TEST_ONLY]


def config(name, root, shots=-1, seed=1, classes="all"):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), shots, seed
    cfg.DATASET.SUBSAMPLE_CLASSES = classes
    cfg.DATASET.ALLOW_INCOMPLETE = True  # the miniatures have few of the published classes and images
    cfg.VERBOSE = False
    return cfg


def load(*args, **kwargs):
    cfg = config(*args, **kwargs)
    if cfg.SEED >= 0:
        random.seed(cfg.SEED)
    return build_dataset(cfg)


def described(data, folder):
    """Return ``[(path in the folder, label, class name)]`` of a list of Datum."""
    return [(Path(item.impath).relative_to(folder).as_posix(), item.label, item.classname) for item in data]


def as_dict(rows):
    return {path: (label, name) for path, label, name in rows}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Miniature trees of all datasets, made once; tests that write take a copy."""
    root = tmp_path_factory.mktemp("DATA")
    return root, {name: miniature.build(name, root) for name in miniature.BUILDERS}


@pytest.fixture
def tree(trees, tmp_path):
    def copy(name):
        shutil.copytree(trees[0] / miniature.FOLDERS[name], tmp_path / miniature.FOLDERS[name])
        return tmp_path, *trees[1][name]
    return copy


@pytest.mark.parametrize("name", miniature.BUILDERS)
def test_annotations_give_items_labels_and_names(tree, name):
    root, items, test = tree(name)
    folder = root / miniature.FOLDERS[name]
    random.seed(5)
    before = random.getstate()
    dataset = build_dataset(config(name, root))
    assert random.getstate() == before  # making a split leaves the draws of few-shot sets alone

    splits = [as_dict(described(data or [], folder)) for data in (dataset.train_x, dataset.val, dataset.test)]
    assert splits[0] | splits[1] | splits[2] == items
    names = dict(items.values())
    assert dataset.classnames == [names[label] for label in sorted(names)]
    assert dataset.num_classes == len(names)
    if name in TEST_ONLY:
        assert splits[0] == splits[2] == items and dataset.val is None
    elif name == "ImageNet":
        assert splits[1] == splits[2] and not set(splits[0]) & set(splits[2])
    else:
        assert sum(map(len, splits)) == len(items)
    if test is not None:
        assert set(splits[2]) == test


@pytest.mark.parametrize("name", SPLIT_FILES)
def test_own_split_has_the_published_shares_and_stays(tree, name, caplog):
    root, items, test = tree(name)
    folder = root / miniature.FOLDERS[name]
    first = load(name, root)
    assert "cannot be compared with published" in caplog.text
    per_class = Counter(label for label, _ in items.values())
    for label, count in per_class.items():
        sizes = [sum(item.label == label for item in data) for data in (first.train_x, first.val, first.test)]
        held_out = sum(items[path][0] == label for path in test) if test else round(0.3 * count)
        rest = count - held_out
        assert sizes == ([round(0.8 * rest), round(0.2 * rest), held_out] if test else
                         [round(0.5 * count), round(0.2 * count), held_out])
    saved = folder / f"split_promptreg_{name}.json"
    assert not (folder / SPLIT_FILES[name]).exists()
    again = load(name, root, seed=2)
    assert described(again.train_x, folder) == described(first.train_x, folder)
    whole = saved.read_text()
    saved.unlink()
    load(name, root, seed=3)
    assert saved.read_text() == whole  # a split made anew is the same one


@pytest.mark.parametrize("name", SPLIT_FILES)
def test_published_split_file_wins(tree, name):
    root, items, _ = tree(name)
    folder = root / miniature.FOLDERS[name]
    load(name, root)  # leaves a split of our own behind
    prefix = IMAGE_FOLDERS[name] + "/" if IMAGE_FOLDERS[name] else ""
    rows = [[path[len(prefix):], label, f"name {label}"] for path, (label, _) in items.items()]
    random.Random(3).shuffle(rows)
    published = {"train": rows[::2], "val": rows[1::4], "test": rows[3::4]}
    (folder / SPLIT_FILES[name]).write_text(json.dumps(published))
    dataset = load(name, root)
    for split, data in (("train", dataset.train_x), ("val", dataset.val), ("test", dataset.test)):
        assert described(data, folder) == [(prefix + path, label, cls) for path, label, cls in published[split]]


@pytest.mark.parametrize("name", SPLIT_FILES)
def test_annotations_are_not_needed_beside_a_split_file(tree, name):
    root, *_ = tree(name)
    folder = root / miniature.FOLDERS[name]
    first = load(name, root)
    (folder / f"split_promptreg_{name}.json").rename(folder / SPLIT_FILES[name])
    for annotation in datasets.CLASSES[name].annotations:
        (folder / annotation).unlink()
    assert described(load(name, root).test, folder) == described(first.test, folder)
    (folder / SPLIT_FILES[name]).unlink()
    if datasets.CLASSES[name].annotations:
        with pytest.raises(InputError, match=f"no .*{datasets.CLASSES[name].annotations[0]}.*data fetch {name}"):
            datasets.check(config(name, root))


@pytest.mark.parametrize("name", TRAINED)
def test_shots_seeds_and_the_cache(tree, name, tmp_path):
    root, items, _ = tree(name)
    folder = root / miniature.FOLDERS[name]
    whole = load(name, root)
    drawn = {}
    for seed in (1, 2):
        for shots in (1, 2, 4):
            dataset = load(name, root, shots=shots, seed=seed)
            count = Counter(item.label for item in dataset.train_x)
            assert count == {label: min(shots, sum(item.label == label for item in whole.train_x)) for label in count}
            assert set(count) == {label for label, _ in items.values()}
            assert set(described(dataset.train_x, folder)) <= set(described(whole.train_x, folder))
            if name == "ImageNet":
                assert described(dataset.val, folder) == described(whole.test, folder)
            else:
                held = Counter(item.label for item in whole.val)
                assert Counter(item.label for item in dataset.val) == {
                    label: min(shots, 4, number) for label, number in held.items()}
            assert described(dataset.test, folder) == described(whole.test, folder)
            drawn[seed, shots] = described(dataset.train_x, folder)
            cached = json.loads((folder / "split_fewshot" / f"shot_{shots}-seed_{seed}.json").read_text())
            assert [tuple(row) for row in cached["train"]] == drawn[seed, shots]
    assert drawn[1, 4] != drawn[2, 4]

    moved = tmp_path / "elsewhere"
    moved.mkdir()
    folder.rename(moved / folder.name)
    random.seed(77)  # a cached set is not drawn
    dataset = build_dataset(config(name, moved, shots=4, seed=2))
    assert described(dataset.train_x, moved / folder.name) == drawn[2, 4]


@pytest.mark.parametrize("name", miniature.BUILDERS)
def test_base_and_new_halve_the_classes(tree, name):
    root, *_ = tree(name)
    whole, base, new = (load(name, root, shots=2, classes=which) for which in ("all", "base", "new"))
    half = (whole.num_classes + 1) // 2
    assert base.classnames == whole.classnames[:half] and new.classnames == whole.classnames[half:]
    folder = root / miniature.FOLDERS[name]
    for data in ("train_x", "val", "test"):
        everything = described(getattr(whole, data) or [], folder)
        parts = described(getattr(base, data) or [], folder), described(getattr(new, data) or [], folder)
        assert parts[0] == [row for row in everything if row[1] < half]
        assert parts[1] == [(path, label - half, cls) for path, label, cls in everything if label >= half]


def test_imagenet_does_not_depend_on_the_order_of_the_file_system(tree, tmp_path, monkeypatch):
    root, *_ = tree("ImageNet")
    first = described(load("ImageNet", root, shots=4, seed=1).train_x, root / "imagenet")
    shutil.rmtree(root / "imagenet" / "split_fewshot")
    scandir = os.scandir

    class Reversed:
        def __init__(self, folder):
            self.entries = sorted(scandir(folder), key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert described(load("ImageNet", root, shots=4, seed=1).train_x, root / "imagenet") == first


def test_without_a_seed_nothing_is_kept(tree):
    root, *_ = tree("Food101")
    random.seed(1)
    first = described(build_dataset(config("Food101", root, shots=4, seed=-1)).train_x, root)
    assert described(build_dataset(config("Food101", root, shots=4, seed=-1)).train_x, root) != first
    assert not (root / "food-101" / "split_fewshot").exists()
    (root / "food-101" / "split_fewshot").mkdir()
    (root / "food-101" / "split_fewshot" / "shot_4-seed_-1.json").write_text("not read")
    assert len(build_dataset(config("Food101", root, shots=4, seed=-1)).train_x) == 12


def test_every_config_names_a_dataset():
    names = {yaml.safe_load(path.read_text())["DATASET"]["NAME"] for path in (ROOT / "configs/datasets").glob("*.yaml")}
    assert names == set(datasets.CLASSES)
    assert names >= set(miniature.BUILDERS) | {"Digits", "ImageFolder"}
    for path in (ROOT / "configs/datasets").glob("*.yaml"):
        cfg = get_cfg_default()
        cfg.merge_from_file(str(path))
        module = datasets.CLASSES[cfg.DATASET.NAME].__module__
        assert module == ("datasets.emoji" if path.stem.startswith("emoji_") else f"datasets.{path.stem}")


# ---------------------------------------------------------------- errors


def rejects(cfg, *fragments):
    """Assert that building fails with one line that holds all ``fragments``."""
    with pytest.raises(InputError) as caught:
        build_dataset(cfg)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert str(fragment) in message
    return message


def test_check_says_what_is_wrong(tmp_path):
    cases = [
        (config("OxfordPet", tmp_path), ["OxfordPet'", "did you mean OxfordPets"]),
        (config("oxford_pets", tmp_path), ["did you mean OxfordPets"]),
        (config("", tmp_path), ["there are", "Caltech101"]),
        (config("OxfordPets", ""), ["DATASET.ROOT is empty", "--root"]),
        (config("OxfordPets", tmp_path), [tmp_path / "oxford_pets", "images", "annotations/trainval.txt",
                                          f"promptreg data fetch OxfordPets --root {tmp_path}"]),
        (config("ImageNet", tmp_path / "no"), [tmp_path / "no" / "imagenet", "images/train", "classnames.txt"]),
        (config("OxfordPets", tmp_path, classes="old"), ["SUBSAMPLE_CLASSES old", "base"]),
        (config("OxfordPets", tmp_path, shots=-2), ["NUM_SHOTS -2"]),
    ]
    for cfg, fragments in cases:
        with pytest.raises(InputError) as caught:
            datasets.check(cfg)
        assert "\n" not in str(caught.value)
        for fragment in fragments:
            assert str(fragment) in str(caught.value)


def test_check_leaves_foreign_datasets_alone(monkeypatch):
    monkeypatch.setitem(DATASET_REGISTRY._obj_map, "TheirOwn", object)
    datasets.check(config("TheirOwn", ""))


def test_a_host_keeps_its_own_dataset():
    host = ("import trainers.compat.engine\n"
            "from dassl.data.datasets import DATASET_REGISTRY\n"
            "@DATASET_REGISTRY.register()\n"
            "class OxfordPets: pass\n"
            "import datasets\n"
            "assert DATASET_REGISTRY.get('OxfordPets') is OxfordPets\n"
            "assert DATASET_REGISTRY.get('Food101') is datasets.CLASSES['Food101']\n")
    subprocess.run([sys.executable, "-c", host], cwd=ROOT, check=True)


def write_split(folder, name, **changes):
    rows = {split: [[f"{label}.jpg", label, f"class {label}"] for label in range(3)] for split in Splits._fields}
    rows.update(changes)
    (folder / SPLIT_FILES[name]).write_text(json.dumps(rows))


@pytest.mark.parametrize("content, fragments", [
    ("{\"train\": [[", ["not valid JSON"]),
    ("[]", ["train, val and test"]),
    ("{\"train\": 1, \"val\": [], \"test\": []}", ["train", "a list of"]),
    ({"train": [["0.jpg", "0", "class 0"]]}, ["train", "row 0"]),
    ({"val": [["../0.jpg", 0, "class 0"]]}, ["val", "row 0", "out of the dataset's folder"]),
    ({"val": [["/etc/0.jpg", 0, "class 0"]]}, ["val", "row 0", "out of the dataset's folder"]),
    ({"test": [["7.jpg", 7, "class 7"]]}, ["test", "label 7 of 7.jpg is out of range 0..2"]),
    ({"test": [["7.jpg", -1, "class 7"]]}, ["test", "label -1 of 7.jpg is out of range"]),
    ({"train": [["0.jpg", 0, "class 0"], ["2.jpg", 2, "class 2"]]}, ["class 'class 1' (label 1) has no training"]),
    ({"train": [["0.jpg", 0, "0"], ["2.jpg", 2, "2"]], "val": [], "test": []}, ["label 2 of 2.jpg", "range 0..1"]),
    ({"train": [["0.jpg", 0, "class 0"], ["1.jpg", 1, "class 0"]], "val": [], "test": [["2.jpg", 1, "class 2"]]},
     ["label 1 is 'class 0' and, for 2.jpg, 'class 2'"]),
    ({"train": []}, ["no training image"]),
])
def test_corrupt_split_files_are_named(tmp_path, content, fragments):
    folder = tmp_path / "food-101"
    (folder / "images").mkdir(parents=True)
    if isinstance(content, str):
        (folder / SPLIT_FILES["Food101"]).write_text(content)
    else:
        write_split(folder, "Food101", **content)
    rejects(config("Food101", tmp_path), folder / SPLIT_FILES["Food101"], "data fetch Food101", *fragments)


def test_an_empty_class_folder_is_named(tree):
    root, *_ = tree("EuroSAT")
    (root / "eurosat" / "2750" / "Glacier").mkdir()
    rejects(config("EuroSAT", root), root / "eurosat" / "2750" / "Glacier", "without an image")


def test_a_missing_image_is_named(tree):
    root, *_ = tree("OxfordPets")
    lost = root / "oxford_pets" / "images" / "Bengal_17.jpg"
    lost.unlink()
    rejects(config("OxfordPets", root, shots=1), lost, "missing", "promptreg data check OxfordPets")


@pytest.mark.parametrize("name, file, content, fragments", [
    ("OxfordPets", "annotations/test.txt", "Bengal_1 x 1 1\n", ["Bengal_1 x 1 1", "NAME LABEL SPECIES BREED"]),
    ("StanfordCars", "devkit/cars_meta.mat", "no matlab", ["class_names"]),
    ("OxfordFlowers", "imagelabels.mat", "no matlab", ["labels"]),
    ("OxfordFlowers", "cat_to_name.json", "{\"1\": \"rose\"}", ["no name for label 2"]),
    ("FGVCAircraft", "images_variant_val.txt", "0001 Zeppelin\n", ["Zeppelin", "variants.txt"]),
    ("SUN397", "Training_01.txt", "/a/atlantis/1.jpg\n", ["a/atlantis", "ClassName.txt"]),
    ("UCF101", "ucfTrainTestlist/classInd.txt", "Archery\n", ["Archery"]),
    ("UCF101", "ucfTrainTestlist/testlist01.txt", "Flying/v_1.avi\n", ["Flying", "classInd.txt"]),
    ("ImageNet", "classnames.txt", "n01440764 tench\n", ["n01443537", "no class name"]),
    ("ImageNetV2", "classnames.txt", "n01440764 tench\n", ["imagenetv2-matched-frequency-format-val/1", "0..0"]),
    ("ImageNetA", "classnames.txt", "n01440764\n", ["n01440764", "not a WNID"]),
])
def test_corrupt_annotations_are_named(tree, name, file, content, fragments):
    root, *_ = tree(name)
    path = root / miniature.FOLDERS[name] / file
    path.write_text(content)
    rejects(config(name, root), path, f"data fetch {name}", *fragments)


# ---------------------------------------------------------------- Digits


def make_digits(root, queue):
    random.seed(1)
    dataset = datasets.CLASSES["Digits"](config("Digits", root, shots=2))
    queue.put([item.impath for item in dataset.train_x])


def test_digits_are_written_once_by_two_processes(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    left = tmp_path / "digits" / ".images-left"  # by a process that was killed
    left.mkdir(parents=True)
    (left / "zero.png").write_text("")
    workers = [context.Process(target=make_digits, args=(tmp_path, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    sets = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sets[0] == sets[1] == sets[2]
    assert not left.exists()
    dataset = load("Digits", tmp_path)
    assert dataset.classnames == ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert [len(data) for data in (dataset.train_x, dataset.val, dataset.test)] == [898, 359, 540]
    with Image.open(dataset.train_x[0].impath) as image:
        assert image.size == (32, 32) and image.mode == "RGB"
        assert image.getpixel((0, 0)) == (0, 0, 0) and image.getextrema()[0][1] > 200


def test_digits_show_their_labels(tmp_path):
    """Nearest class means on the pixels read most digits, so files, labels and names belong together."""
    import numpy as np

    dataset = load("Digits", tmp_path)

    def pixels(data):
        return np.stack([np.asarray(Image.open(item.impath).convert("L"), dtype=float).ravel() for item in data])

    train, labels = pixels(dataset.train_x), np.array([item.label for item in dataset.train_x])
    means = np.stack([train[labels == label].mean(0) for label in range(10)])
    distances = ((pixels(dataset.test)[:, None] - means) ** 2).sum(-1)
    assert (distances.argmin(1) == [item.label for item in dataset.test]).mean() > 0.85


@pytest.mark.parametrize("moment", ["while written", "when there"])
def test_digits_killed_at_any_moment_are_whole_or_not_there(tmp_path, moment):
    process = multiprocessing.get_context("fork").Process(target=load, args=("Digits", tmp_path))
    process.start()
    images, deadline = tmp_path / "digits" / "images", time.time() + 60
    while time.time() < deadline:
        if images.exists() if moment == "when there" else list(tmp_path.glob("digits/.images-*/three/*.png")):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert len(list(images.glob("*/*.png"))) == (1797 if moment == "when there" else 0)
    dataset = load("Digits", tmp_path)
    assert len(dataset.train_x + dataset.val + dataset.test) == 1797
    assert not list(tmp_path.glob("digits/.images-*"))


def test_digits_on_a_full_disk(tmp_path, monkeypatch):
    save, calls = Image.Image.save, []

    def failing(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 900:
            raise OSError(28, "No space left on device")
        save(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", failing)
    rejects(config("Digits", tmp_path), "Digits", tmp_path / "digits", "No space left")
    assert not (tmp_path / "digits" / "images").exists()
    monkeypatch.undo()
    assert len(load("Digits", tmp_path).test) == 540


# ---------------------------------------------------------------- ImageFolder


def own_images(root, classes=("cat", "dog", "owl"), each=10):
    for name in classes:
        for number in range(each):
            miniature._image(root / name / f"{number}.jpg")


def test_image_folder_splits_once_by_its_seed(tmp_path):
    own_images(tmp_path)
    (tmp_path / "classnames.txt").write_text("dog hot dog\n")
    first = load("ImageFolder", tmp_path, shots=2)
    assert first.classnames == ["cat", "hot dog", "owl"]
    assert Counter(item.label for item in first.test) == {0: 3, 1: 3, 2: 3}
    own_images(tmp_path, each=12)  # what comes later does not change the split
    assert described(load("ImageFolder", tmp_path).test, tmp_path) == described(first.test, tmp_path)
    cfg = config("ImageFolder", tmp_path)
    cfg.DATASET.SPLIT_SEED = 2
    assert described(build_dataset(cfg).test, tmp_path) != described(first.test, tmp_path)


def test_image_folder_takes_given_splits(tmp_path):
    own_images(tmp_path / "train")
    own_images(tmp_path / "test", classes=("dog", "owl"), each=2)  # labels are those of train
    (tmp_path / "classnames.json").write_text(json.dumps({"owl": "barn owl"}))
    dataset = load("ImageFolder", tmp_path)
    assert dataset.classnames == ["cat", "dog", "barn owl"] and dataset.val is None
    assert described(dataset.test, tmp_path) == [
        ("test/dog/0.jpg", 1, "dog"), ("test/dog/1.jpg", 1, "dog"),
        ("test/owl/0.jpg", 2, "barn owl"), ("test/owl/1.jpg", 2, "barn owl")]
    own_images(tmp_path / "test", classes=("emu",), each=1)
    rejects(config("ImageFolder", tmp_path), tmp_path / "test" / "emu", "no such class")


@pytest.mark.parametrize(("images", "named", "fragment"), [
    (("train/cat/0", "val/cat/0"), "", "train and val, but no test"),
    (("train/cat/0", "train/dog/0"), "train/cat", "ROOT/{train,test}/CLASS"),
    (("images/cat/0", "images/dog/0"), "images/cat", "ROOT/CLASS/"),
    (("cat/0", "dog/0", "dog/more/still/0"), "dog/more", "images in a folder of a class folder"),
    (("train/cat/0", "train/cat/more/0", "test/cat/0"), "train/cat/more", "images in a folder of a class folder")])
def test_image_folder_leaves_no_image_out_silently(images, named, fragment, tmp_path):
    for name in images:
        miniature._image(tmp_path / f"{name}.jpg")
    rejects(config("ImageFolder", tmp_path), tmp_path / named, fragment)


def test_image_folder_reads_a_table(tmp_path):
    own_images(tmp_path, classes=("all",), each=20)
    table = tmp_path / "mine.csv"
    table.write_text("path,class\n" + "".join(f"all/{n}.jpg,{'ab'[n % 2]}\n" for n in range(20)))
    dataset = load("ImageFolder", table, shots=1)
    assert dataset.classnames == ["a", "b"] and len(dataset.train_x) == 2 and len(dataset.test) == 6
    for item in dataset.test:
        assert int(Path(item.impath).stem) % 2 == item.label

    table.write_text("path,class,split\nall/0.jpg,a,train\nall/1.jpg,b,train\nall/2.jpg,a,test\n")
    assert described(load("ImageFolder", table).test, tmp_path) == [("all/2.jpg", 0, "a")]
    for text, fragment in (("path,class,split\nall/0.jpg,a,tset\n", "split 'tset'"), ("where,class\nx,a\n", "'path'"),
                           ("path,class\n/0.jpg,a\n", "line 2"),
                           ("path,name\n0.jpg,a\n", "no column 'class' (or label"),
                           ("path,class\n", "no rows"),
                           ("path,class\nall/0.jpg,a\nall/1.jpg\n", "line 3"), ("path,class\n0\0.jpg,a\n", "2"),
                           ("path,class\nall/0.jpg,a\nall/1.jpg,a\nall//./0.jpg,b\n", "lines 2 and 4 both name"),
                           ("path,class\nall/0.jpg,caf\xe9\n", "CSV file in UTF-8")):
        table.write_text(text, encoding="latin-1")
        rejects(config("ImageFolder", table), table, fragment)
    rejects(config("ImageFolder", tmp_path / "none"), tmp_path / "none", "neither")


def test_splits_of_one_folder_keep_few_shot_sets_of_their_own(tmp_path):
    own_images(tmp_path, classes=("all",), each=20)
    for name, seed in (("one", 1), ("one", 2), ("two", 1)):
        (tmp_path / f"{name}.csv").write_text(
            "path,class\n" + "".join(f"all/{n}.jpg,{'ab'[n % 2 if name == 'one' else n // 10]}\n" for n in range(20)))
        cfg = config("ImageFolder", tmp_path / f"{name}.csv", shots=2)
        cfg.DATASET.SPLIT_SEED = seed
        random.seed(1)
        first = described(build_dataset(cfg).train_x, tmp_path)
        assert len(first) == 4 and described(build_dataset(cfg).train_x, tmp_path) == first
    assert len(list(tmp_path.glob("split_fewshot/**/shot_2-seed_1.json"))) == 3


def test_class_names_may_change_after_the_split(tmp_path):
    own_images(tmp_path)
    first = load("ImageFolder", tmp_path, shots=2)
    (tmp_path / "classnames.txt").write_text("dog hot dog\n")
    second = load("ImageFolder", tmp_path, shots=2)
    assert first.classnames == ["cat", "dog", "owl"] and second.classnames == ["cat", "hot dog", "owl"]
    assert [item.impath for item in second.train_x] == [item.impath for item in first.train_x]
    (tmp_path / "classnames.txt").unlink()  # its names are no classes of the table
    table = tmp_path / "mine.csv"
    rows = [f"cat/{n}.jpg,{name}\n" for n, name in zip(range(10), "ab" * 5, strict=True)]
    table.write_text("path,class\n" + "".join(rows))
    load("ImageFolder", table)
    table.write_text("path,class\n" + "".join(rows[:-1]) + "cat/9.jpg,a\n")
    rejects(config("ImageFolder", table), tmp_path / "split_promptreg_mine-seed_1.json", "classes have changed")


def test_a_missing_image_of_ones_own_is_named_with_what_lists_the_others(tmp_path):
    own_images(tmp_path, classes=("cat",))
    table = tmp_path / "mine.csv"
    table.write_text("path,class\ncat/0.jpg,a\nno.jpg,b\n")
    rejects(config("ImageFolder", table), tmp_path / "no.jpg", f"promptreg data check ImageFolder --root {table}")


def test_split_by_class_keeps_a_training_image_of_small_classes():
    items = [Item(f"{label}/{number}", label, str(label)) for label, count in enumerate((1, 2, 3)) for number in
             range(count)]
    splits = split_by_class(items)
    assert {item.label for item in splits.train} == {0, 1, 2}
    assert sorted(splits.train + splits.val + splits.test) == items


# ---------------------------------------------------------------- damaged images


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_when_it_is_read(tree, workers):
    from dassl.data import DataManager
    from trainers.training.run import one_line

    root, *_ = tree("OxfordPets")
    damaged = root / "oxford_pets" / "images" / "Bengal_17.jpg"
    damaged.write_bytes(miniature.PICTURE[:-60])
    cfg = config("OxfordPets", root, shots=1)
    cfg.DATALOADER.NUM_WORKERS = workers
    with pytest.raises(InputError) as caught:
        list(DataManager(cfg).test_loader)
    assert one_line(caught.value).startswith(str(damaged))
    assert "truncated" in str(caught.value) and "delete it and fetch" in str(caught.value)
    damaged.write_text("no image")
    with pytest.raises(InputError, match=f"{damaged}: damaged or not an image"):
        list(DataManager(cfg).test_loader)
    cfg.DATALOADER.NUM_WORKERS = 0
    manager = DataManager(cfg)
    damaged.unlink()  # between listing and reading
    with pytest.raises(InputError, match=f"{damaged}: no such image"):
        list(manager.test_loader)


# ---------------------------------------------------------------- deep and odd images


def test_sixteen_bits_become_eight(tmp_path):
    from dassl.utils import read_image
    values = np.array([[0, 128, 129, 40000, 65535]])
    scaled = np.rint(values / 257).astype(np.uint8).tolist()
    stored = {"16.png": (np.uint16, scaled), "16.tif": (np.dtype(">u2"), scaled), "16.pgm": (np.uint16, scaled),
              "32.tif": (np.int32, scaled)}
    for name, (kind, expected) in stored.items():
        Image.fromarray(values.astype(kind)).save(tmp_path / name)
        image = read_image(str(tmp_path / name))
        assert image.mode == "RGB" and np.asarray(image)[..., 0].tolist() == expected
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name, kind in {"8.png": np.uint8, "8.tif": np.int32}.items():
        Image.fromarray(eight.astype(kind)).save(tmp_path / name)
        assert (np.asarray(read_image(str(tmp_path / name)))[..., 2] == eight).all()


@pytest.mark.parametrize("values", [np.float32([[0, 0.5, 1]]), np.int32([[0, 70000]]), np.int32([[-1, 5]])])
def test_values_without_a_meaning_in_eight_bits_are_refused(values, tmp_path, capsys):
    from dassl.utils import read_image
    from datasets import prepare
    own_images(tmp_path)
    path = tmp_path / "cat" / "deep.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(InputError, match=f"^{path}: its values are .*: convert it to 8 bits$"):
        read_image(str(path))
    assert prepare.main(["ImageFolder", "--check", "--root", str(tmp_path)]) == 2
    assert f"{path}: its values are" in capsys.readouterr().err


def test_odd_images_are_read_without_a_warning(tmp_path):
    """In a process of its own: pytest has filters of its own."""
    palette = Image.new("P", (4, 4))
    palette.info["transparency"] = bytes([0, 128, 255])
    palette.save(tmp_path / "palette.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "exif.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x0f\x01\x02\0")
    code = "import sys; from trainers.utils.images import read_image; [read_image(path) for path in sys.argv[1:]]"
    said = subprocess.run([sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))], cwd=ROOT, check=True,
                          capture_output=True, text=True).stderr
    assert said == ""
