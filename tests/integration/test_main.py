"""The command line, when all goes well, and by the scripts; what it says to bad input is in test_faults."""
import argparse
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from trainers.cli.train import main as train
from trainers.config.build import setup_cfg
from trainers.config.flags import parser
from trainers.errors import InputError, SetupError
from trainers.training import distributed
from trainers.training.run import main
from trainers.utils import console

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
    assert re.search(r"^  LR: 0\.5 +# the command line$", said, re.M)
    assert re.search(rf"^  MAX_EPOCH: \d+ +# {ROOT / 'configs/trainers/CoOp/demo.yaml'}$", said, re.M)
    assert re.search(r"^    W: 8\.0 +# default$", said, re.M)
    assert re.search(rf"^  ROOT: {data} +# --root$", said, re.M)
    assert re.search(r"^  NAME: CoOp +# --trainer$", said, re.M)
    values = yaml.safe_load(said)
    assert set(values["TRAINER"]) == {"NAME", "PROMPTREG", "COOP"}, "this method's keys alone"
    assert values["OPTIM"]["LR"] == 0.5 and values["INPUT"]["SIZE"] == [32, 32]


NAMES = "promptreg train METHOD/CONFIG DATASET"


@pytest.mark.parametrize("words, lines", [
    ("CoOp/demo digits --print-cfg --output=x",
     {"  NUM_SHOTS: 16": NAMES, "SEED: 1": NAMES, "OUTPUT_DIR: x": "--output", "  NAME: CoOp": NAMES}),
    ("CoOp/demo digits --print-cfg --no-cache --see 1 DATASET.NUM_SHOTS 16",
     {"  NUM_SHOTS: 16": "the command line", "SEED: 1": "--seed", "    CACHE: false": "--no-cache"}),
    ("--method CoOp/demo --dataset digits --print-cfg --seed 3 SEED 4 OPTIM.GAMMA 0.1",
     {"  NAME: CoOp": "--method", "SEED: 4": "the command line", "  GAMMA: 0.1": "the command line",
      "  NAME: Digits": str(ROOT / "configs" / "datasets" / "digits.yaml")})])
def test_print_cfg_tells_flags_from_what_names_stand_for(words, lines, capsys):
    assert train(words.split()) == 0
    found = dict(line.split(" # ") for line in capsys.readouterr().out.splitlines() if " # " in line)
    found = {value.rstrip(): origin for value, origin in found.items()}
    assert {value: found.get(value) for value in lines} == lines


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


def flags(*words):
    return parser().parse_args([*DEMO, "--trainer", "CoOp", *map(str, words)])


@pytest.mark.parametrize("key,values", [
    ("OPTIM.WEIGHT_DECAY", [-1.0]), ("OPTIM.MOMENTUM", [-0.1, "float('nan')"]), ("OPTIM.WARMUP_TYPE", ["cosine"]),
    ("INPUT.RRCROP_SCALE", ["(0.5,)", "(0.9, 0.1)", "(0.0, 1.0)", "(0.5, 3.0)"]), ("INPUT.NO_TRANSFORM", [True]),
    ("INPUT.PIXEL_MEAN", ["['a', 'b', 'c']", "[0.5, 0.5]"]), ("INPUT.CROP_PADDING", [-4]), ("INPUT.GB_K", [2, -1]),
    ("INPUT.COLORJITTER_B", [-1.0]), ("INPUT.COLORJITTER_H", [0.6]), ("DATALOADER.K_TRANSFORMS", [0, 2]),
    ("DATALOADER.TRAIN_X.N_INS", [0]), ("TRAIN.CHECKPOINT_MINUTES", [-1]), ("TRAIN.COUNT_ITER", ["foo"])])
def test_values_that_nothing_could_be_done_with(key, values):
    for value in values:
        with pytest.raises(InputError, match=rf"^the command line: {key} is .*: it must be "):
            setup_cfg(flags(key, value))


@pytest.mark.parametrize("text,said", [
    ("OPTIM:\n  LR: 0.1\nOPTIM:\n  MAX_EPOCH: 1\n", "line 3: OPTIM is there twice, first in line 1"),
    ("OPTIM:\n  LR: 0.1\n  MAX_EPOCH: 1\n  LR: 0.2\n", "line 4: OPTIM.LR is there twice, first in line 2"),
    ("OPTIM.LR: 0.1\n", "line 1: OPTIM.LR is no key: write each section"), ("1: 2\n", "line 1: 1 is no key"),
    ("OPTIM:\n", "OPTIM is 'None': it is a section"), ("OPTIM: [1, 2]\n", r"OPTIM is '\[1, 2\]': it is a section"),
    ("OPTIM:\n  LR: .nan\n", "OPTIM.LR is nan: it must be a positive number")])
def test_what_a_config_file_must_not_say(text, said, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{path}: {said}"):
        setup_cfg(argparse.Namespace(dataset_config_file="", config_file=str(path), trainer="CoOp", opts=[],
                                     no_cache=False))


def test_pairs_behind_a_flag_of_several_words():
    cfg, _ = setup_cfg(flags("--transforms", "random_flip", "normalize", "OPTIM.MAX_EPOCH", 3, "DATASET.NUM_SHOTS", 2))
    assert list(cfg.INPUT.TRANSFORMS) == ["random_flip", "normalize"]
    assert cfg.OPTIM.MAX_EPOCH == 3 and cfg.DATASET.NUM_SHOTS == 2
    with pytest.raises(InputError, match="unknown key FOO.BAR"):
        setup_cfg(flags("--source-domains", "a", "FOO.BAR", 1))
    with pytest.raises(InputError, match="unknown key OPTIM.LR.X: OPTIM.LR has no keys below it"):
        setup_cfg(flags("OPTIM.LR.X", 1))


# ---- what is finished, and of what

def test_a_result_of_other_prompts_is_not_taken_for_these(data, tmp_path, capsys):
    train, test = tmp_path / "train", tmp_path / "test"
    base = [*DEMO, "--trainer", "CoOp", "--root", data]
    assert main([*base, "--output-dir", str(train), *QUICK, "TRAIN.CHECKPOINT_FREQ", "1"]) == 0
    evaluate = [*base, "--output-dir", str(test), "--eval-only", "--model-dir", str(train)]
    assert main([*evaluate, "--load-epoch", "2"]) == 0 and main([*evaluate, "--load-epoch", "2"]) == 0
    assert "not run again" in capsys.readouterr().out
    assert main([*evaluate, "--load-epoch", "1"]) == 2
    said = capsys.readouterr().err
    assert f"{test} holds the result of other prompts than {train}/prompt_learner/model.pth.tar-1: choose" in said
    shutil.rmtree(train)
    assert main([*evaluate, "--load-epoch", "2"]) == 0, "prompts may be deleted once they are evaluated"


# ---- streams, signals, what a launcher leaves in the environment

def test_a_reader_that_has_gone_stops_nothing(data, tmp_path, monkeypatch):
    """``| head -1``."""
    def broken():
        reader, writer = os.pipe()
        os.close(reader)
        return os.fdopen(writer, "w", buffering=1)
    for words in (["--print-cfg"], ["--output-dir", str(tmp_path / "out"), *QUICK]):
        with broken() as pipe:
            monkeypatch.setattr(sys, "stdout", pipe)
            assert main([*DEMO, "--trainer", "CoOp", "--root", data, *words]) == 0
    assert "* accuracy: " in (tmp_path / "out" / "log.txt").read_text()
    with broken() as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert console.cli_errors(lambda _: print("a figure"))() == 0


def test_a_broken_pipe_of_another_kind_is_no_success():
    def command(_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    with pytest.raises(BrokenPipeError):
        console.cli_errors(command)()


def test_streams_that_are_closed_or_know_ascii_alone(monkeypatch, tmp_path):
    @console.cli_errors
    def command(_):
        print("ü \udce4")
        print("ü", file=sys.stderr)
        return 0
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    assert command() == 0
    with open(tmp_path / "ascii", "w", encoding="ascii") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert command() == 0
    assert (tmp_path / "ascii").read_text() == "\\xfc \\udce4\n"


def test_ctrl_c_is_one_line_or_none(capsys):
    def stopped(_):
        raise KeyboardInterrupt
    assert console.cli_errors(stopped)() == 130 and capsys.readouterr().err == "interrupted\n"
    command = subprocess.Popen([sys.executable, "-m", "trainers.results", "nowhere"], cwd=ROOT, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    time.sleep(1.2)  # amid the imports
    command.send_signal(signal.SIGINT)
    said = command.communicate(timeout=60)[1]
    assert command.returncode == -signal.SIGINT and b"Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_amid_the_imports_is_an_interruption(number):
    command = subprocess.Popen([sys.executable, ROOT / "train.py", "--print-cfg"], stdout=subprocess.DEVNULL)
    time.sleep(1)
    command.send_signal(number)
    assert command.wait(60) == 75


@pytest.mark.parametrize("given,found", [
    ({}, (0, 1)), ({"RANK": "1"}, (0, 1)), ({"RANK": "", "WORLD_SIZE": "2"}, None),
    ({"RANK": "abc", "WORLD_SIZE": "2"}, None), ({"RANK": "0", "WORLD_SIZE": "2"}, None),
    ({"RANK": "3", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, None),
    ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, None),
    ({"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, (1, 2))])
def test_what_launchers_leave_in_the_environment(given, found, monkeypatch, capsys):
    for name in distributed.NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if found:
        assert distributed.launched() == found
        return
    with pytest.raises(SetupError, match="not by torchrun: start with torchrun, or unset them"):
        distributed.launched()
    assert main([*DEMO, "--trainer", "CoOp", "--root", "nowhere"]) == 3
    assert capsys.readouterr().err.startswith("error: RANK is ")
