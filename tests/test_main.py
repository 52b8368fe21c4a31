"""The command line: one clear line and exit code 2 for what a user can mend, and nothing left behind."""
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


BAD = [
    (["--trainer", "CoOop"], "--trainer CoOop: did you mean CoOp?"),
    (["--trainer", ""], "--trainer (none): choose one of"),
    (["--config-file", "configs/none.yaml"], "there is no config file configs/none.yaml"),
    (["TRAINER.COOP.N_CTXX", "4"], "unknown key TRAINER.COOP.N_CTXX: did you mean TRAINER.COOP.N_CTX?"),
    (["TRAINER.COOP.N_CTX", "four"], "the command line: Type mismatch"),
    (["TRAINER.COOP.PREC", "fp8"], "PREC is 'fp8': it must be one of fp32, fp16, amp, bf16"),
    (["TRAINER.COOP.CLASS_TOKEN_POSITION", "back"], "CLASS_TOKEN_POSITION is 'back': it must be end, middle or front"),
    (["TRAINER.COOP.CTX_INIT", "a photo, of"], None),  # fine: a comma is a token, words are counted by spaces
    (["TRAINER.COOP.N_CTX", "90"], "tokens, CLIP reads at most 77"),
    (["DATASET.SUBSAMPLE_CLASSES", "some"], "SUBSAMPLE_CLASSES"),
    (["DATASET.NUM_SHOTS", "-5"], "NUM_SHOTS"),
    (["MODEL.BACKBONE.NAME", "ViT-B/17"], "MODEL.BACKBONE.NAME 'ViT-B/17' names no CLIP"),
    (["MODEL.BACKBONE.NAME", "nowhere.safetensors"], "names the file nowhere.safetensors, which does not exist"),
    (["MODEL.BACKBONE.NAME", "ViT-L/14"], "ViT-L-14.pt) are not on this machine"),
    (["--eval-only", "--model-dir", "nowhere", "--load-epoch", "7"],
     "there is no checkpoint nowhere/prompt_learner/model.pth.tar-7"),
    (["--dataset-config-file", str(ROOT / "configs/datasets/imagenet.yaml")], "ImageNet"),
    (["--trainer", "VPT", "MODEL.BACKBONE.NAME", "RN50.safetensors"], "names the file RN50.safetensors"),
]


@pytest.mark.parametrize("arguments, message", BAD, ids=[" ".join(a[-2:])[-40:] for a, _ in BAD])
def test_bad_input_gets_one_line_and_leaves_nothing(arguments, message, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    flags = [a for a in arguments if a.startswith("--")]
    head = arguments if flags and "." not in arguments[0] else []
    opts = [] if head else arguments
    if head and len(head) > 2 and head[-2].isupper():
        head, opts = head[:-2], head[-2:]
    code = main([*DEMO, "--trainer", "CoOp", "--root", data, "--output-dir", str(out), *head, *QUICK, *opts])
    said = capsys.readouterr().err
    if message is None:
        assert code == 0
        return
    assert code == 2
    assert said.startswith("error: ") and said.count("\n") == 1
    assert message in said
    assert not out.exists()


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


def test_read_only_output_folder(data, tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / "out"))
    monkeypatch.setattr("trainers.main.Log.open", refuse)
    assert main([*DEMO, "--trainer", "CoOp", "--root", data, "--output-dir", str(tmp_path / "out"), *QUICK]) == 3
    assert "Permission denied" in capsys.readouterr().err


def test_output_folder_that_is_a_file(data, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert main([*DEMO, "--trainer", "CoOp", "--root", data, "--output-dir", str(tmp_path / "out"), *QUICK]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "out").read_text() == "mine"


def test_published_configs_parse():
    import trainers  # noqa: F401
    from dassl.config import get_cfg_default
    found = sorted(Path(ROOT / "configs" / "trainers").rglob("*.yaml"))
    assert len(found) > 40
    for path in found:
        get_cfg_default().merge_from_file(str(path))
