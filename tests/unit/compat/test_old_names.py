"""Modules that were moved answer to their old names, imported or run, and say so once."""
import importlib
import os
import subprocess
import sys
import warnings

import pytest
from support.paths import ROOT

import trainers
from trainers.compat.old_names import MOVED


@pytest.mark.parametrize("name", MOVED)
def test_an_old_name_is_the_module_itself_and_says_so_once(name):
    sys.modules.pop(f"trainers.{name}", None)
    module = importlib.import_module(f"trainers.{MOVED[name].split()[0]}")
    spec = module.__spec__
    with pytest.warns(DeprecationWarning, match=f"trainers.{name} is now {module.__name__}") as told:
        assert importlib.import_module(f"trainers.{name}") is module
    assert module.__spec__ is spec and module.__name__ == spec.name == f"trainers.{MOVED[name].split()[0]}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert importlib.import_module(f"trainers.{name}") is module
    assert len([one for one in told if "is now" in str(one.message)]) == 1


def test_the_warning_is_of_the_line_that_imports():
    sys.modules.pop("trainers.atomic", None)
    if hasattr(trainers, "atomic"):
        del trainers.atomic
    with pytest.warns(DeprecationWarning) as told:
        from trainers import atomic
    assert told[0].filename == __file__ and atomic.__name__ == "trainers.utils.atomic"


def test_no_file_stands_where_an_old_name_was():
    for name in MOVED:
        assert not list((ROOT / "trainers").glob(f"{name.replace('.', '/')}.py")), name


def test_other_names_are_not_found():
    for name in ("trainers.no_such", "trainers.utils.answer", "tests.answer", "answer"):
        assert importlib.util.find_spec(name) is None, name


@pytest.mark.parametrize("old, new", [("config.setup_cfg", "config.build"), ("config.dumped", "config.yaml_text"),
                                     ("results.read", "training.result")])
def test_a_name_of_a_module_that_is_a_room_now(old, new):
    room, name = old.split(".")
    new_name = {"read": "read_result"}.get(name, name)
    with pytest.warns(DeprecationWarning, match=f"trainers.{old} is now in trainers.{new}") as told:
        found = getattr(importlib.import_module(f"trainers.{room}"), name)
    assert found is getattr(importlib.import_module(f"trainers.{new}"), new_name) and told[0].filename == __file__
    with pytest.raises(AttributeError, match=f"'trainers.{room}' has no attribute 'no_such'"):
        _ = importlib.import_module(f"trainers.{room}").no_such


def run(*words, path=ROOT / "dropin", folder=ROOT):
    return subprocess.run([sys.executable, *words], text=True, capture_output=True, timeout=120, cwd=folder,
                          env={**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("words, new, code, said", [
    ("main --trainer CoOp --config-file no.yaml", "training.run", 2, "error: there is no config file no.yaml"),
    ("load none x.png", "cli.classify", 2, "error: "), ("clip.fetch demo", "cli.weights", 0, "demo: nothing to fetch")])
def test_an_old_name_runs(words, new, code, said, tmp_path):
    """What scripts of before call, among them those that ``promptreg init`` has written into a host."""
    name, *rest = words.split()
    done = run("-m", f"promptreg.{name}", *rest, folder=tmp_path)
    assert done.returncode == code and said in done.stdout + done.stderr, done.stderr
    assert f"python -m promptreg.{name} is now python -m promptreg.{new}" in done.stderr


def test_a_checkouts_old_name_runs(tmp_path):
    done = run("-m", "trainers.meta.report", "none", path=ROOT, folder=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "python -m trainers.meta.report is now python -m trainers.cli.gram_report" in done.stderr
