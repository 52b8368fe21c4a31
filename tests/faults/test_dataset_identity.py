"""Every dataset has a name of its own and a fingerprint of all that it holds, wherever it lies."""
import json
import random
import shutil

import pytest
from support import miniature

import datasets
from trainers.config.yaml_text import difference

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl


def build(root, name="ImageFolder", **changes):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), 2, 1
    cfg.DATASET.ALLOW_INCOMPLETE = True
    for key, value in changes.items():
        setattr(cfg.DATASET, key, value)
    random.seed(1)
    return datasets.CLASSES[name](cfg)


def own(root, *names):
    for name in names:
        for number in range(10):
            miniature._image(root / name / f"{number}.jpg")
    return root


@pytest.mark.parametrize("name", [*miniature.BUILDERS, "Digits"])
def test_registered_datasets_are_called_as_registered(tmp_path, name):
    if name != "Digits":
        miniature.build(name, tmp_path)
    dataset = build(tmp_path, name)
    assert dataset.label == name and len(bytes.fromhex(dataset.fingerprint)) == 16
    for changes in ({"NUM_SHOTS": -1}, {"SUBSAMPLE_CLASSES": "base"}):
        assert build(tmp_path, name, **changes).fingerprint == dataset.fingerprint


def test_ones_own_are_called_after_folder_or_table(tmp_path, monkeypatch):
    root = own(tmp_path / "birds", "owl", "emu")
    (root / "mine.csv").write_text("path,class\n" + "".join(f"owl/{n}.jpg,{'ab'[n % 2]}\n" for n in range(10)))
    assert build(root).label == "birds" == build(f"{root}/").label
    assert build(root / "mine.csv").label == "mine"
    monkeypatch.chdir(root)
    assert build(".").label == "birds"


def test_the_fingerprint_is_of_the_content_alone(tmp_path):
    first = build(own(tmp_path / "p1" / "data", "cat", "dog")).fingerprint
    shutil.copytree(tmp_path / "p1", tmp_path / "p2")
    assert build(tmp_path / "p2" / "data").fingerprint == first
    found = {first}
    (tmp_path / "p2" / "data" / "classnames.json").write_text(json.dumps({"dog": "hot dog"}))
    found.add(build(tmp_path / "p2" / "data").fingerprint)  # another name
    found.add(build(tmp_path / "p1" / "data", SPLIT_SEED=2).fingerprint)  # the same images, split otherwise
    found.add(build(own(tmp_path / "p3" / "data", "cat", "dog", "emu")).fingerprint)  # a class more
    found.add(build(own(tmp_path / "p4" / "data", "cow", "dog")).fingerprint)  # another class
    assert len(found) == 5


def test_configs_of_before_the_flag_are_the_same_config():
    cfg = get_cfg_default()
    old = cfg.clone()
    del old.DATASET["ALLOW_INCOMPLETE"]
    assert difference(cfg, old) == []
