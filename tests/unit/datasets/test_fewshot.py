"""Few-shot sets: the published draws, the caches, and what must not come out of a cache."""
import json
import multiprocessing
import pickle
import random
import sys
import types
from pathlib import Path

import pytest
from support import miniature
from support.paths import GOLDEN

import datasets
from datasets.fewshot import few_shot
from datasets.home import InputError
from datasets.splits import Item, Splits

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl
from dassl.data.datasets import Datum, build_dataset  # isort: skip
from dassl.utils import set_random_seed  # isort: skip

RECORDED = json.loads((GOLDEN / "fewshot_sampling.json").read_text())
CASES = RECORDED["cases"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data folder whose OxfordPets are the recorded split."""
    root = tmp_path_factory.mktemp("DATA")
    images = root / "oxford_pets" / "images"
    images.mkdir(parents=True)
    (root / "oxford_pets" / "split_zhou_OxfordPets.json").write_text(json.dumps(RECORDED["split"]))
    for rows in RECORDED["split"].values():
        for name, *_ in rows:
            (images / name).touch()
    return root


@pytest.fixture
def caches(root):
    """The folder of the caches, empty."""
    folder = root / "oxford_pets" / "split_fewshot"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


def load(root, shots, seed, classes="all"):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = "OxfordPets", str(root), shots, seed
    cfg.DATASET.SUBSAMPLE_CLASSES, cfg.DATASET.ALLOW_INCOMPLETE = classes, True
    cfg.VERBOSE = False
    return build_dataset(cfg)


def assert_recorded(dataset, case):
    for split, data in (("train", dataset.train_x), ("val", dataset.val), ("test", dataset.test)):
        assert [[Path(item.impath).name, item.label, item.classname] for item in data] == case[split]
    assert dataset.classnames == case["classnames"]


HOME_OF_DATUM = "dassl.data.datasets.base_dataset"


def write_pickle(path, monkeypatch, sets, module=HOME_OF_DATUM):
    """Write sets of Datum as CoOp does, under the name that Dassl's class, or minidassl's, has."""
    for name in (module, module.partition(".")[0]):  # pickle wants to find the class under its name
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(Datum=Datum))
    monkeypatch.setattr(Datum, "__module__", module)
    path.write_bytes(pickle.dumps(sets, protocol=pickle.HIGHEST_PROTOCOL))
    assert module.encode() in path.read_bytes()
    monkeypatch.undo()


def recorded_datums(root, rows, monkeypatch, folder="/home/someone/DATA/oxford_pets/images/"):
    """Datum of recorded rows, with the paths of another machine."""
    data = []
    for name, label, classname in rows:
        item = Datum(impath=str(root / "oxford_pets" / "images" / name), label=label, classname=classname)
        item._impath = folder + name
        data.append(item)
    return data


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['subsample']}-{case['shots']}-{case['seed']}")
def test_sets_are_the_recorded_ones(root, caches, case, monkeypatch):
    shots, seed = case["shots"], case["seed"]
    set_random_seed(seed)
    assert_recorded(load(root, shots, seed, case["subsample"]), case)  # drawn
    saved = caches / f"shot_{shots}-seed_{seed}.json"
    assert saved.exists()

    random.seed(0)
    state = random.getstate()
    assert_recorded(load(root, shots, seed, case["subsample"]), case)  # from our cache
    assert random.getstate() == state

    saved.unlink()
    of_all = next(other for other in CASES if other["subsample"] == "all" and (other["shots"], other["seed"]) ==
                  (shots, seed))
    write_pickle(saved.with_suffix(".pkl"), monkeypatch,
                 {split: recorded_datums(root, of_all[split], monkeypatch) for split in ("train", "val")})
    assert_recorded(load(root, shots, seed, case["subsample"]), case)  # from CoOp's cache
    assert random.getstate() == state and not saved.exists()


@pytest.mark.parametrize("folder", ["data/oxford_pets/images/", "C:\\DATA\\oxford_pets\\images\\", ""])
def test_pickled_paths_of_any_machine_are_found(root, caches, monkeypatch, folder):
    case = next(case for case in CASES if case["subsample"] == "all")
    write_pickle(caches / f"shot_{case['shots']}-seed_{case['seed']}.pkl", monkeypatch,
                 {split: recorded_datums(root, case[split], monkeypatch, folder or f"{root}/oxford_pets/images/")
                  for split in ("train", "val")})
    assert_recorded(load(root, case["shots"], case["seed"]), case)


@pytest.mark.parametrize("package", ["dassl", "minidassl", "promptreg.minidassl", "Dassl.dassl"])
def test_caches_written_on_any_dassl_are_read(root, caches, monkeypatch, package):
    """On Dassl, on minidassl from a checkout, on the installed one; and where Dassl's checkout is itself a package."""
    case = next(case for case in CASES if case["subsample"] == "all")
    write_pickle(caches / f"shot_{case['shots']}-seed_{case['seed']}.pkl", monkeypatch,
                 {split: recorded_datums(root, case[split], monkeypatch) for split in ("train", "val")},
                 f"{package}.data.datasets.base_dataset")
    assert_recorded(load(root, case["shots"], case["seed"]), case)


@pytest.mark.parametrize("module, name", [("dassl.data.datasets.base_dataset", "DatasetBase"), ("datasets", "Datum"),
                                          ("dassl.data.datasets.base_dataset.evil", "Datum")])
def test_other_names_of_dassls_are_refused(root, caches, module, name):
    path = caches / "shot_1-seed_1.pkl"
    path.write_bytes(b"\x80\x04}\x8c\x05train]" + f"c{module}\n{name}\n".encode() + b")\x81as.")
    rejects(root, path, "refused", f"{module}.{name}")


def test_imagenets_caches_hold_training_images_alone(tmp_path, monkeypatch):
    """CoOp keeps no validation images of ImageNet, and lists its images in the order of the file system."""
    miniature.build("ImageNet", tmp_path)
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = "ImageNet", str(tmp_path), 2, 1
    cfg.DATASET.ALLOW_INCOMPLETE = True
    folder = tmp_path / "imagenet" / "split_fewshot"
    folder.mkdir()
    wanted = [Datum(impath=str(path), label=label, classname=name)
              for label, (wnid, name) in enumerate(miniature.WNIDS.items())
              for path in sorted((tmp_path / "imagenet" / "images" / "train" / wnid).iterdir())[5:3:-1]]
    paths = [item.impath for item in wanted]
    for item in wanted:
        item._impath = item.impath.replace(str(tmp_path), "/elsewhere")
    write_pickle(folder / "shot_2-seed_1.pkl", monkeypatch, {"train": wanted})
    dataset = build_dataset(cfg)
    assert [item.impath for item in dataset.train_x] == paths
    assert [item.impath for item in dataset.val] == [item.impath for item in dataset.test]
    assert len(dataset.test) == len(miniature.WNIDS) * miniature.PER_CLASS


def rejects(root, path, *fragments):
    with pytest.raises(InputError) as caught:
        load(root, 1, 1)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and "delete it" in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize("content, fragment", [
    (pickle.dumps({"train": [Path("x")]}), "Path"),
    (pickle.dumps([1, 2]), "not a few-shot cache"),
    (pickle.dumps({"train": [3]}), "without a path"),
    (pickle.dumps({"train": []})[:-4], "refused"),
    (b"", "refused"),
], ids=["other class", "list", "number", "truncated", "empty"])
def test_pickles_that_are_no_caches_are_named(root, caches, content, fragment):
    path = caches / "shot_1-seed_1.pkl"
    path.write_bytes(content)
    rejects(root, path, fragment)


def test_a_pickle_of_another_split_is_named(root, caches, monkeypatch):
    path = caches / "shot_1-seed_1.pkl"
    strange = recorded_datums(root, RECORDED["split"]["test"][:2], monkeypatch)
    write_pickle(path, monkeypatch, {"train": strange})
    rejects(root, path, "not in the dataset's split")
    wrong = recorded_datums(root, RECORDED["split"]["train"][:2], monkeypatch)
    wrong[0]._label = 99
    write_pickle(path, monkeypatch, {"train": wrong})
    rejects(root, path, "label 99", "not in the dataset's split")


FIRST = RECORDED["split"]["train"][0]


@pytest.mark.parametrize("content, fragments", [
    ("{\"train\": [[\"images/", ["not valid JSON"]),
    ("[]", ["not a few-shot cache"]),
    ("{\"train\": {}}", ["train"]),
    (json.dumps({"train": [["../x.jpg", 0, "x"]]}), ["row 0"]),
    (json.dumps({"train": [["images/" + FIRST[0], 99, FIRST[2]]]}), ["99", "not in the dataset's split"]),
    (json.dumps({"train": [["images/x.jpg", 0, "abyssinian"]]}), ["images/x.jpg", "not in the dataset's split"]),
    (json.dumps({"train": [["images/" + FIRST[0], *FIRST[1:]]]}), ["no image of class"]),
], ids=["cut", "list", "no list", "outside", "label", "strange", "class"])
def test_damaged_caches_are_named(root, caches, content, fragments):
    path = caches / "shot_1-seed_1.json"
    path.write_text(content)
    rejects(root, path, *fragments)


ITEMS = [Item(f"{label}/{number}.jpg", label, str(label)) for label in range(20) for number in range(50)]
SPLITS = Splits(ITEMS[::2], ITEMS[1::4], ITEMS[3::4])


def ask(folder, seed, barrier, queue):
    random.seed(seed)
    for round_ in range(20):
        barrier.wait()
        queue.put((round_, few_shot(SPLITS, 16, round_, folder)[:2]))


def test_processes_that_ask_at_once_get_the_same_whole_set(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, queue, number = context.Barrier(4), context.Queue(), 4
    workers = [context.Process(target=ask, args=(str(tmp_path / "caches"), seed, barrier, queue))
               for seed in range(number)]  # each would draw another set
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=60) for _ in range(20 * number)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    for round_ in range(20):
        sets = [given for number_, given in answers if number_ == round_]
        assert len(sets[0][0]) == 20 * 16 and sets == [sets[0]] * number
    assert len(list((tmp_path / "caches").iterdir())) == 20  # nothing half written is left


def test_a_folder_that_cannot_be_written_still_gives_sets(tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainers.utils.atomic.temporary", full)
    random.seed(1)
    first = few_shot(SPLITS, 4, 1, str(tmp_path / "caches"))
    assert len(first.train) == 80 and "No space left" in caplog.text
    random.seed(1)
    assert few_shot(SPLITS, 4, 1, str(tmp_path / "caches")) == first


def test_a_dataset_of_one_class_has_no_new_ones():
    one = Splits(ITEMS[:5], [], ITEMS[5:9])
    with pytest.raises(InputError, match="one class only"):
        datasets.fewshot.choose_classes(one, "new")


def test_what_is_drawn_later_does_not_depend_on_the_cache(tmp_path):
    items = [Item(f"{label}/{n}.png", label, str(label)) for label in range(3) for n in range(9)]
    later = []
    for _ in range(2):  # drawn, then read
        random.seed(1)
        few_shot(Splits(items[::3], items[1::3], items[2::3]), 2, 1, str(tmp_path))
        later.append(random.random())
    assert later[0] == later[1] and len(list(tmp_path.iterdir())) == 1
