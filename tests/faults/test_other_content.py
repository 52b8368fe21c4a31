"""A run is known by what it was made of: other pictures, names or weights at the same path are another run."""
import json
import os
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.photos import CLASSES, evaluate, photos, result, train, words

from dassl.config import get_cfg_default
from trainers.clip.weights import DEMO
from trainers.errors import InputError, Interrupted
from trainers.meta.trainer import GRAM
from trainers.sweep import plan
from trainers.training import checkpoint, execution, identity, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder of pictures, folder of a finished run), to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    data = photos(folder / "data")
    assert train(data, folder / "run") == 0
    return folder


@pytest.fixture
def place(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "place")
    return tmp_path / "place"


def add_a_class(place):
    photos(place / "data", ["emu"])
    next((place / "data").glob("split_promptreg*.json")).unlink()
    shutil.rmtree(place / "data/split_fewshot")


def name_a_class(place):
    (place / "data/classnames.json").write_text(json.dumps({"cat": "house cat"}))


def split_anew(place):
    path = next((place / "data").glob("split_promptreg*.json"))
    splits = json.loads(path.read_text())
    splits["train"], splits["test"] = splits["test"], splits["train"]
    path.write_text(json.dumps(splits))
    shutil.rmtree(place / "data/split_fewshot")


def draw_anew(place):
    path = next((place / "data/split_fewshot").rglob("*.json"))
    sets, splits = json.loads(path.read_text()), json.loads(next((place / "data").glob("split_promptreg*")).read_text())
    drawn = {item[0] for item in sets["train"]}
    sets["train"] = [next(item for item in splits["train"] if item[1] == label and item[0] not in drawn)
                     for label in range(len(CLASSES))]
    path.write_text(json.dumps(sets))


def add_a_class_behind_the_split(place):
    photos(place / "data", ["emu"])


CHANGES = {"a class more": (add_a_class, "other class names"),
           "a class more than the split has": (add_a_class_behind_the_split, "was made before there was the class"),
           "a class renamed": (name_a_class, "other class names"), "another split": (split_anew, "other split"),
           "another few-shot set": (draw_anew, "other split")}


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_run_on_other_data_is_not_taken_for_this_one(change, place, capsys):
    alter, told = CHANGES[change]
    assert train(place / "data", place / "run") == 0
    assert "not run again" in capsys.readouterr().out
    alter(place)
    before = (place / "run/result.json").read_bytes()
    assert train(place / "data", place / "run") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and told in said
    assert told.startswith("was made") or " there, " in said and " here)" in said
    assert (place / "run/result.json").read_bytes() == before


def test_two_folders_of_one_name_are_two_collections(place, capsys):
    other = photos(place / "elsewhere/data", ["ant", "bee", "fly"])
    assert train(other, place / "run") == 2
    assert "other dataset" in capsys.readouterr().err


def test_a_collection_may_be_moved(place, capsys):
    shutil.move(place / "data", place / "pictures")
    assert train(place / "pictures", place / "run") == 0
    assert "not run again" in capsys.readouterr().out


def test_a_result_stands_where_its_data_are_gone(place, capsys):
    shutil.rmtree(place / "data")
    assert train(place / "data", place / "run") == 0
    assert "not run again" in capsys.readouterr().out


def other_weights(path, factor=1.0):
    state = load_file(DEMO)
    state["visual.proj"] *= factor
    save_file(state, path, metadata={"architecture": "openai"})


def test_other_weights_at_the_same_path_are_another_run(place, capsys):
    other_weights(place / "clip.safetensors")
    flags = ["--backbone", place / "clip.safetensors"]
    assert train(place / "data", place / "mine", flags=flags) == 0
    other_weights(place / "clip.safetensors", 1.5)
    assert train(place / "data", place / "mine", flags=flags) == 2
    assert "other CLIP weights" in capsys.readouterr().err


def interrupt_after_one_epoch(monkeypatch, *call, **options):
    """Leave an unfinished run: a signal comes after its first epoch."""
    from trainers.training import signals
    with monkeypatch.context() as patch:
        def release(what):
            raise Interrupted(what)
        patch.setattr(signals, "allow_signals", release)
        assert train(*call, epochs=3, **options) == 75


@pytest.mark.parametrize("change", CHANGES)
def test_an_unfinished_run_does_not_go_on_with_other_data(change, place, monkeypatch, capsys):
    alter, told = CHANGES[change]
    interrupt_after_one_epoch(monkeypatch, place / "data", place / "half")
    alter(place)
    before = {path: path.read_bytes() for path in (place / "half").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert train(place / "data", place / "half", epochs=3) == 2
    assert told in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_a_trainer_that_a_host_calls_looks_itself(place, monkeypatch):
    """A host has a main of its own: the comparison at resumption does not depend on ours."""
    interrupt_after_one_epoch(monkeypatch, place / "data", place / "half")
    name_a_class(place)
    monkeypatch.setattr(execution, "check_resumption", lambda trainer: None)
    with pytest.raises(InputError, match="other class names"):
        run.run(run.parser().parse_args(words(place / "data", place / "half", epochs=3)))


def test_weights_are_read_again_where_their_file_has_changed(tmp_path):
    path = tmp_path / "clip.safetensors"
    other_weights(path)
    before = identity.of_weights(str(path))
    assert identity.of_weights(str(path)) == before
    other_weights(path, 1.5)
    os.utime(path, ns=(0, 12345))
    assert identity.of_weights(str(path)) != before


def test_asking_whether_a_run_is_finished_writes_nothing(place, capsys):
    shutil.rmtree(place / "data/split_fewshot")
    next((place / "data").glob("split_promptreg*.json")).unlink()
    before = sorted((place / "data").rglob("*"))
    assert train(place / "data", place / "run") == 0
    assert "not run again" in capsys.readouterr().out and sorted((place / "data").rglob("*")) == before


def test_an_unfinished_run_does_not_go_on_with_other_weights(place, monkeypatch, capsys):
    other_weights(place / "clip.safetensors")
    flags = ["--backbone", place / "clip.safetensors"]
    interrupt_after_one_epoch(monkeypatch, place / "data", place / "half", flags=flags)
    other_weights(place / "clip.safetensors", 1.5)
    assert train(place / "data", place / "half", epochs=3, flags=flags) == 2
    assert "other CLIP weights" in capsys.readouterr().err


def test_what_an_older_version_left_is_read_with_one_note(place, monkeypatch, capsys):
    """Its result.json and checkpoints say nothing of data and weights."""
    done = result(place / "run")
    for key in ("identity", "notes", "dataset_label"):
        del done[key]
    (place / "run/result.json").write_text(json.dumps(done))
    assert train(place / "data", place / "run") == 0
    assert capsys.readouterr().out.count("an older version") == 1

    interrupt_after_one_epoch(monkeypatch, place / "data", place / "half")
    path = next((place / "half").glob("*/model.pth.tar-1"))
    content = checkpoint.read_checkpoint(path)
    del content["identity"]
    torch.save(content, path)
    assert train(place / "data", place / "half", epochs=3) == 0
    notes = result(place / "half")["notes"]
    assert len(notes) == 1 and "an older version" in notes[0]

    assert evaluate(place / "data", place / "test", place / "half", epochs=3) == 0
    path = next((place / "half").glob("*/model.pth.tar-3"))
    content = checkpoint.read_checkpoint(path)
    del content["identity"]
    torch.save(content, path)
    shutil.rmtree(place / "test")
    assert evaluate(place / "data", place / "test", place / "half", epochs=3) == 0
    assert len(result(place / "test")["notes"]) == 1


def test_a_result_says_what_it_was_made_of(place):
    found = result(place / "run")
    assert found["identity"].keys() == identity.PARTS.keys() - {"start"} and all(found["identity"].values())
    saved = checkpoint.read_checkpoint(next((place / "run").glob("*/model.pth.tar-1")))["identity"]
    assert saved == found["identity"]
    assert found["dataset_label"] == "data" and found["notes"] == []


@pytest.mark.parametrize("part, words", [("dataset", "other dataset"), ("weights", "other CLIP weights")])
def test_the_sweep_looks_at_the_recorded_command_s_own_words_too(part, words, place):
    command = ["--root", str(place / "data"), "--output-dir", str(place / "run")]
    done = {**result(place / "run"), "command": ["train.py", *command]}
    plan.check_result(command, done)
    with pytest.raises(InputError, match=words):
        plan.check_result(command, {**done, "identity": {**done["identity"], part: "0" * 32}})


def test_a_meta_training_knows_its_corpus(tmp_path):
    pairs = photos(tmp_path / "pairs", ["x"]) / "x"
    for path in pairs.glob("*.png"):
        path.with_suffix(".txt").write_text("a photo")
    cfg = get_cfg_default()
    cfg.TRAINER.GRAM.CORPUS = str(pairs)
    one = GRAM.data_identity(cfg)
    shutil.copytree(pairs, tmp_path / "copy")
    cfg.TRAINER.GRAM.CORPUS = str(tmp_path / "copy")
    assert identity.differences(one, GRAM.data_identity(cfg)) == []
    (tmp_path / "copy/0.txt").write_text("another caption")
    assert identity.differences(one, GRAM.data_identity(cfg))


def test_another_meta_trained_start_at_the_same_path_is_another_run(place, capsys):
    meta = shutil.copy(DEMO.parents[2] / "meta/demo/coop.safetensors", place / "meta.safetensors")
    options = dict(method="GRAMCoOp")
    assert train(place / "data", place / "gram", "TRAINER.GRAM.META", meta, **options) == 0
    assert train(place / "data", place / "gram", "TRAINER.GRAM.META", meta, **options) == 0
    tensors, about = load_file(meta), safe_open(meta, "pt").metadata()
    save_file({name: value * 1.1 for name, value in tensors.items()}, meta, metadata=about)
    assert train(place / "data", place / "gram", "TRAINER.GRAM.META", meta, **options) == 2
    assert "other meta-trained start" in capsys.readouterr().err


def test_a_start_that_was_meta_trained_on_another_clip(place, capsys):
    other_weights(place / "clip.safetensors", 1.5)
    options = dict(method="GRAMCoOp", flags=["--backbone", place / "clip.safetensors"])
    assert train(place / "data", place / "gram", "TRAINER.GRAM.META", "demo", **options) == 2
    assert "was meta-trained on another CLIP file" in capsys.readouterr().err
    allowed = "TRAINER.PROMPTREG.ALLOW_MISMATCH", True
    assert train(place / "data", place / "gram", "TRAINER.GRAM.META", "demo", *allowed, **options) == 0
    assert any("another CLIP file" in note for note in result(place / "gram")["notes"])
