"""What srun says of its processes becomes what torchrun would have said; one process alone stays one."""
import os

import pytest

from trainers.errors import SetupError
from trainers.training import distributed, srun

STEP = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in (*srun.TORCHRUN, *distributed.NAMES):
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what is set is gone after the test


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\ncase "$2" in\n'
                       'hostnames) [ "$3" = "n[1-2]" ] && printf "n1\\nn2\\n" ;;\n'
                       'node) [ "$3" = n1 ] && echo "   NodeAddr=10.0.0.7 NodeHostName=n1 Version=22" ;;\nesac\n')
    program.chmod(0o755)
    monkeypatch.setitem(os.environ, "PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_several_processes(scontrol):
    os.environ.update(STEP)
    srun.set_variables()
    assert distributed.launched() == (3, 4)
    assert (os.environ["LOCAL_RANK"], os.environ["MASTER_ADDR"]) == ("1", "10.0.0.7")
    other = srun.variables({**STEP, "SLURM_STEP_ID": "1"})
    assert other["MASTER_PORT"] != os.environ["MASTER_PORT"], "two steps of a job do not meet"


def test_the_callers_address_and_port_win():
    given = srun.variables({**STEP, "MASTER_ADDR": "head", "MASTER_PORT": "29500"})
    assert (given["MASTER_ADDR"], given["MASTER_PORT"]) == ("head", "29500")


@pytest.mark.parametrize("without", [{"SLURM_STEP_NUM_TASKS": "1"},
                                     {"SLURM_STEP_ID": None, "SLURM_STEP_NUM_TASKS": None}])
def test_one_process_stays_one(without):
    """A task of srun's alone, as a sweep's element is, or a batch script without srun."""
    os.environ.update({name: value for name, value in {**STEP, **without}.items() if value is not None})
    srun.set_variables()
    assert distributed.launched() == (0, 1) and "RANK" not in os.environ


def test_torchrun_below_srun_wins():
    os.environ.update({**STEP, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "h",
                       "MASTER_PORT": "1"})
    srun.set_variables()
    assert distributed.launched() == (0, 2)


def test_unknown_nodes_are_one_line(scontrol):
    with pytest.raises(SetupError, match=r"does not know the nodes x\[1-2\]: set MASTER_ADDR"):
        srun.variables({**STEP, "SLURM_STEP_NODELIST": "x[1-2]"})
