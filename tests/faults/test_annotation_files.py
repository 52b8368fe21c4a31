"""Annotation files that are empty or of another form: a line that names them, no traceback; and prepare's words."""
import json
import random

import numpy as np
import pytest
from scipy.io import savemat
from support import miniature

import datasets
from datasets import prepare
from datasets.home import InputError
from trainers.cli import weights

from dassl.config import get_cfg_default  # isort: skip  datasets has found Dassl


def build(root, name):
    cfg = get_cfg_default()
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.NUM_SHOTS, cfg.SEED = name, str(root), 2, 1
    cfg.DATASET.ALLOW_INCOMPLETE = True
    random.seed(1)
    return datasets.CLASSES[name](cfg)


def without_labels(path):
    """Stanford's cars_test_annos.mat: boxes and names, no field "class"."""
    fields = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "fname")]
    entries = np.zeros((1, 2), dtype=fields)
    for number in range(2):
        entries[0, number] = (1, 2, 3, 4, f"{number + 1:05d}.jpg")
    savemat(path, {"annotations": entries})


def mat(**content):
    return lambda path: savemat(path, content)


def text(content):
    return lambda path: path.write_text(content)


CARS, FLOWERS = "cars_test_annos_withlabels.mat", "imagelabels.mat"


@pytest.mark.parametrize(("name", "file", "write", "fragment"), [
    ("StanfordCars", CARS, without_labels, "have no labels"),
    ("StanfordCars", CARS, mat(annotations=np.zeros((0, 0))), "'annotations' in it is empty"),
    ("StanfordCars", CARS, mat(annotations=np.array([[1, 2]])), "have no labels"),
    ("StanfordCars", "devkit/cars_meta.mat", mat(class_names=np.zeros((0, 0))), "'class_names' in it is empty"),
    ("StanfordCars", "devkit/cars_meta.mat", mat(class_names=np.array([[1, 2]])), "label"),
    ("OxfordFlowers", FLOWERS, mat(labels=np.zeros((0, 0))), "'labels' in it is empty"),
    ("OxfordFlowers", FLOWERS, mat(labels=np.array([["a", "b"]])), "of another form"),
    ("OxfordFlowers", "cat_to_name.json", text("[1, 2]"), "not of the form"),
    ("OxfordFlowers", "cat_to_name.json", text(json.dumps({str(n): n for n in range(9)})), "no name for label 1"),
    ("OxfordPets", "annotations/trainval.txt", text(""), "no training image"),
    ("OxfordPets", "annotations/test.txt", text(""), "has no images"),
    ("FGVCAircraft", "variants.txt", text(""), "not in variants.txt"),
    ("SUN397", "ClassName.txt", text(""), "ClassName.txt"),
    ("SUN397", "Training_01.txt", text(""), "no training image"),
    ("UCF101", "ucfTrainTestlist/classInd.txt", text(""), "classInd.txt"),
    ("UCF101", "ucfTrainTestlist/trainlist01.txt", text(""), "no training image"),
    ("ImageNet", "classnames.txt", text(""), "no class name")])
def test_annotations_of_another_form_are_named(tmp_path, name, file, write, fragment):
    miniature.build(name, tmp_path)
    folder = tmp_path / miniature.FOLDERS[name]
    (folder / file).unlink()
    write(folder / file)
    with pytest.raises(InputError) as caught:
        build(tmp_path, name)
    assert fragment in str(caught.value) and "\n" not in str(caught.value)


def test_labels_in_a_column_or_as_floats_are_read(tmp_path):
    items, _ = miniature.build("OxfordFlowers", tmp_path)
    labels = np.array([[label + 1.0] for label, _ in items.values()])
    savemat(tmp_path / "oxford_flowers" / FLOWERS, {"labels": labels})
    assert build(tmp_path, "OxfordFlowers").classnames == ["pink primrose", "hard-leaved pocket orchid",
                                                           "canterbury bells", "sweet pea"]


def test_faults_stand_on_lines_of_their_own(tmp_path, capsys):
    miniature.build("Food101", tmp_path)
    assert prepare.main(["Food101", "--check", "--quick", "--root", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    at = lines.index("error: Food101: not as published:")
    assert not any("\\n" in line for line in lines)
    assert lines[at + 1] == "  train: 15 instead of the published 50,500"
    assert "promptreg data fetch Food101" in lines[-1]


def test_fetch_names_no_key_that_nobody_gave(capsys):
    assert weights.main(["demo"]) == 0
    assert "demo: nothing to fetch" in capsys.readouterr().out
    assert weights.main(["ViT-B16"]) == 2
    said = capsys.readouterr().err
    assert "'ViT-B16' names no CLIP" in said and "MODEL.BACKBONE" not in said
