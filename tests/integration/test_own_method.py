"""A method of one's own from nothing to a row of a table: new-method, its test, a sweep, results, what is missing."""
import os
import re
import shutil
import subprocess
import sys

import pytest
from support.paths import ROOT

from trainers.cli import ls, new_method


def python(folder, *words):
    return subprocess.run([sys.executable, "-m", *map(str, words)], cwd=folder, capture_output=True, text=True,
                          timeout=300, env={
                               **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "dropin"), str(folder)]),
                               "PROMPTREG_METHODS": str(folder / "smooth.py"), "OMP_NUM_THREADS": "1",
                               "PROMPTREG_CACHE": str(folder / "cache")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which new-method has been called."""
    folder = tmp_path_factory.mktemp("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert new_method.main(["Smooth", "--from", "CoOp"]) == 0
    config = folder / "configs/trainers/Smooth/demo.yaml"
    config.write_text(re.sub("MAX_EPOCH: .*", "MAX_EPOCH: 1", config.read_text()))
    return folder


def test_what_it_writes_passes_its_own_test(folder):
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".py", ".yaml")} == {
        "smooth.py", "test_smooth.py", "configs/trainers/Smooth/demo.yaml", "configs/trainers/Smooth/study.yaml"}
    done = python(folder, "pytest", "-q", "-p", "no:cacheprovider", "test_smooth.py")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout[-2000:]
    assert subprocess.run([shutil.which("ruff") or "true", "check", "--config", ROOT / "pyproject.toml", folder],
                          capture_output=True).returncode == 0


def test_it_is_swept_beside_published_ones_and_in_their_table(folder):
    done = python(folder, "promptreg", "sweep", "--methods", "Smooth", "--setting", "base2new", "--datasets", "digits",
                  "--shots", "1", "--seeds", "1", "2", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Smooth" in done.stdout
    shutil.rmtree(next((folder / "output").glob("base2new/test_new/digits/shots_1/Smooth/demo/seed2")))
    missing = python(folder, "promptreg", "results", "output", "--missing")
    assert missing.stdout.strip().endswith("bash scripts/any/base2new_test.sh Smooth digits 2"), missing.stderr
    assert "CFG=demo" in missing.stdout


def test_the_study_knows_it(folder):
    """Without its config for the study: a line that names the file to make."""
    words = ("promptreg", "study", "--methods", "Smooth", "--against", "CoOp", "--quick", "--seeds", "1", "--dry-run")
    assert "bash scripts/any/xd_test.sh Smooth emoji_food" in python(folder, *words).stdout
    config = folder / "configs/trainers/Smooth/study.yaml"
    config.rename(folder / "aside")
    done = python(folder, *words)
    (folder / "aside").rename(config)
    assert done.returncode == 2 and "Smooth: there is no config file" in done.stderr and "make it" in done.stderr


def test_a_checkout_s_wrappers_take_it(folder):
    """Its file imports promptreg, and in a checkout's train.py the package is called trainers."""
    done = subprocess.run([sys.executable, ROOT / "train.py", "--trainer", "DePT+Smooth", "--config-file",
                           "configs/trainers/Smooth/demo.yaml", "--dataset-config-file",
                           ROOT / "configs/datasets/digits.yaml", "--print-cfg"], cwd=folder, capture_output=True,
                          text=True, env={
                              **os.environ, "PYTHONPATH": str(ROOT / "dropin"), "PROMPTREG_METHODS": "smooth.py"})
    assert done.returncode == 0 and "DePT+Smooth" in done.stdout, done.stderr


def test_ls_lists_it(folder, monkeypatch):
    monkeypatch.setenv("PROMPTREG_METHODS", str(folder / "smooth.py"))
    assert ls.methods()["Smooth"].startswith("CoOp's loss + PULL")


def test_a_word_that_is_no_method_is_still_told(folder):
    done = python(folder, "promptreg", "sweep", "--methods", "Smoth", "--setting", "base2new")
    assert done.returncode == 2 and "did you mean Smooth?" in done.stderr


def test_a_checkout_that_another_promptreg_is_called_in(tmp_path, monkeypatch, capsys):
    """Its files would lie beside trainers/, where this checkout's own command would not find them."""
    (tmp_path / "trainers" / "cli").mkdir(parents=True)
    (tmp_path / "trainers" / "cli" / "new_method.py").touch()
    monkeypatch.chdir(tmp_path)
    assert new_method.main(["Fresh"]) == 2 and "this folder is a checkout of PromptReg" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*fresh*"))


@pytest.mark.parametrize("words, said", [
    (["Smooth", "--from", "CoOp"], "smooth.py is there already"), (["CoOp"], "there is a method of this name"),
    (["smooth"], "with a capital first"), (["../Smooth"], "with a capital first"),
    (["Class"], "is a word of Python's"), (["None"], "is a word of Python's"),
    (["Coop"], "TRAINER.COOP is another method's config section"), (["Json"], "json.py would hide the module json")])
def test_nothing_is_overwritten(words, said, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.py")}
    assert new_method.main(words) == 2
    assert said in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.py")} == before


def test_in_a_checkout_it_does_not_hide_a_room(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert new_method.main(["Training"]) == 2
    assert "training.py would hide the module" in capsys.readouterr().err
    assert not (ROOT / "trainers/training.py").exists()


def test_nothing_is_written_where_a_folder_cannot_be_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").touch()
    assert new_method.main(["Rough"]) == 2 and "Not a directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]


@pytest.mark.parametrize("name, said", [("nothing.py", "is no Python file"), ("broken.py", "cannot be imported")])
def test_a_wrong_file_of_methods_is_one_line(name, said, tmp_path):
    (tmp_path / "broken.py").write_text("def wrong(:\n")
    done = subprocess.run([sys.executable, "-m", "trainers", "train", "CoOp/demo", "digits"], cwd=ROOT, text=True,
                          env={**os.environ, "PROMPTREG_METHODS": str(tmp_path / name)}, capture_output=True)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
