"""The command line, when all goes well, and by the scripts; what it says to bad input is in test_faults."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from trainers.main import main

DEMO = ["--dataset-config-file", str(ROOT / "configs/datasets/digits.yaml"),
        "--config-file", str(ROOT / "configs/trainers/CoOp/demo.yaml"), "--seed", "1"]
QUICK = ["DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def test_run_finish_and_run_again(data, tmp_path, capsys):
    out = tmp_path / "out"
    command = [*DEMO, "--trainer", "CoOp", "--root", data, "--output-dir", str(out)]
    assert main([*command, *QUICK]) == 0
    log = (out / "log.txt").read_text()
    assert "Finish training" in log and "* accuracy: " in log and "TRAINER" in log
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    capsys.readouterr()
    assert main([*command, *QUICK]) == 0
    assert "not run again" in capsys.readouterr().out
    assert main([*command, "DATASET.NUM_SHOTS", "2", "OPTIM.MAX_EPOCH", "2"]) == 2
    assert "DATASET.NUM_SHOTS is 1 there, 2 here" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_print_cfg_says_where_values_come_from(data, capsys):
    assert main([*DEMO, "--trainer", "CoOp", "--root", data, "--print-cfg", "OPTIM.LR", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "# OPTIM.LR: from the command line" in said
    assert f"# OPTIM.MAX_EPOCH: from {ROOT / 'configs/trainers/CoOp/demo.yaml'}" in said
    assert "LR: 0.5" in said


@pytest.mark.parametrize("dataset, prepare, said", [
    ("imagenet", False, "ImageNet: no "),
    ("oxford_pets", False, "OxfordPets: no "),
    ("digits", True, "the weights of ViT-B/16 (ViT-B-16.pt) are not on this machine"),
])
def test_script_without_data_or_weights(dataset, prepare, said, data, tmp_path):
    env = {**os.environ, "PYTHON": sys.executable, "DATA": data if prepare else str(tmp_path / "none"),
           "OUTPUT": str(tmp_path / "out"), "HOME": str(tmp_path), "HF_HOME": str(tmp_path)}
    env.pop("CFG", None)
    done = subprocess.run(["bash", str(ROOT / "scripts/promptsrc/base2new_train.sh"), dataset, "1"], env=env,
                          capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if " repaired: " not in line]  # what Dassl needed, on Dassl
    assert len(lines) == 1 and lines[0].startswith(f"error: {said}")
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "out").exists()


def test_published_configs_parse():
    import trainers  # noqa: F401
    from dassl.config import get_cfg_default
    found = sorted(Path(ROOT / "configs" / "trainers").rglob("*.yaml"))
    assert len(found) > 40
    for path in found:
        get_cfg_default().merge_from_file(str(path))
