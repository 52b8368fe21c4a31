"""1, 2 and 4 gloo processes come to the same prompts, whatever the set's size, also where a run is killed between."""
import json
import os
import subprocess
import sys

import pytest
from support.paths import ROOT
from support.several_processes import EPOCHS, JOINT, KILLED_IN, SIZES, sizes_of

from dassl.config import get_cfg_default
from trainers.config.flags import parser
from trainers.config.yaml_text import dumped
from trainers.errors import InputError
from trainers.training import checkpoint, distributed, run

NAMES = ("CoOp", "CoCoOp", "PromptSRC", "ProGrad", "GRAMCoOp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    done = subprocess.run([sys.executable, "-m", "support.several_processes", folder, *NAMES], cwd=ROOT, timeout=1500,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def prompts(folder, name, size, how):
    path, = (folder / f"{name}-{size}-{how}").glob(f"*/model.pth.tar-{EPOCHS}")
    return checkpoint.read_checkpoint(path)["state_dict"]


def same(one, other):
    assert one.keys() == other.keys()
    return all((one[key] - other[key]).abs().max() < 1e-6 for key in one)


@pytest.mark.slow
@pytest.mark.parametrize("name, size", [(name, size) for name in NAMES for size in sizes_of(name)])
def test_prompts_are_the_same_for_any_number_of_processes(name, size, folder):
    one = prompts(folder, name, size, 1)
    assert same(one, prompts(folder, name, size, 2)) and same(one, prompts(folder, name, size, 4))
    other = prompts(folder, name, SIZES[0] if size != SIZES[0] else SIZES[1], 1)
    assert not same(one, other)  # the runs have learned something, which depends on the images


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_killed_on_two_processes_goes_on_with_one_or_four(name, world, folder):
    assert (folder / f"{name}-{KILLED_IN}-killed").is_dir()
    resumed = folder / f"{name}-{KILLED_IN}-resumed-{world}"
    assert all(json.loads(path.read_text())[0][:2] == [EPOCHS - 1, 1] for path in resumed.glob("steps.*"))
    assert same(prompts(folder, name, KILLED_IN, 1), prompts(folder, name, KILLED_IN, f"resumed-{world}"))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_each_step_has_the_same_pixels_for_any_number_of_processes(size, folder):
    def steps(world):
        parts = [json.loads((folder / f"CoOp-{size}-{world}/steps.{rank}").read_text()) for rank in range(world)]
        return [[same_step[0][:2], sum((shown for *_, shown in same_step), [])]
                for same_step in zip(*parts, strict=True)]
    one = steps(1)
    assert one == steps(2) == steps(4)
    assert len(one) == EPOCHS * max(1, size // JOINT) and one[0][1] != one[len(one) // 2][1]


# ---- without processes

class Launched:
    """Stands for torchrun with ``processes`` processes, before they have met."""

    def __init__(self, monkeypatch, processes):
        monkeypatch.setattr(distributed, "launched", lambda: (0, processes))


def config_of(batch):
    cfg = get_cfg_default()
    cfg.merge_from_list(["DATALOADER.TRAIN_X.BATCH_SIZE", batch, "OUTPUT_DIR", "out"])
    return cfg


@pytest.mark.parametrize("processes, batch", [(1, 8), (2, 4), (4, 2)])
def test_an_unfinished_run_is_the_same_by_its_joint_batch(processes, batch, monkeypatch):
    Launched(monkeypatch, processes)
    run.refuse_difference(config_of(batch), dumped(config_of(4)), "an unfinished run", "begin anew", joint=8)


@pytest.mark.parametrize("processes, batch, line", [
    (2, 8, "out is of a run with 8 images a step, and 2 processes with DATALOADER.TRAIN_X.BATCH_SIZE 8 have 16: set "
           "DATALOADER.TRAIN_X.BATCH_SIZE 4"),
    (1, 4, "1 process with DATALOADER.TRAIN_X.BATCH_SIZE 4 has 4: set DATALOADER.TRAIN_X.BATCH_SIZE 8"),
    (3, 4, "3 processes with DATALOADER.TRAIN_X.BATCH_SIZE 4 have 12: start a number of processes that divides 8")])
def test_another_joint_batch_is_one_line_that_says_what_to_set(processes, batch, line, monkeypatch):
    Launched(monkeypatch, processes)
    with pytest.raises(InputError, match=line):
        run.refuse_difference(config_of(batch), dumped(config_of(4)), "an unfinished run", "begin anew", joint=8)


def test_other_differences_are_refused_beside_the_same_joint_batch(monkeypatch):
    Launched(monkeypatch, 1)
    cfg = config_of(8)
    cfg.OPTIM.LR = 0.5
    with pytest.raises(InputError, match=r"with another config \(OPTIM.LR is 0.\d+ there, 0.5 here\): begin anew"):
        run.refuse_difference(cfg, dumped(config_of(4)), "an unfinished run", "begin anew", joint=8)
    with pytest.raises(InputError, match=r"\(DATALOADER.TRAIN_X.BATCH_SIZE is 4 there, 8 here\): begin anew"):
        run.refuse_difference(config_of(8), dumped(config_of(4)), "an evaluation", "begin anew")


def test_a_result_of_other_processes_is_the_same_by_its_joint_batch(monkeypatch):
    args, done = parser().parse_args([]), {"processes": 2, "config": dumped(config_of(4))}
    for processes, batch in ((1, 8), (4, 2)):
        Launched(monkeypatch, processes)
        run.check_finished(config_of(batch), args, done)
    with pytest.raises(InputError, match="out is of a run with 8 images a step, and 4 processes"):
        run.check_finished(config_of(4), args, done)
