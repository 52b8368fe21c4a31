"""A true training that meets its time limit on a true SLURM: saved, put back into the queue, resumed, the same bits."""
import sys

import pytest
import torch

from trainers.training import checkpoint

pytestmark = pytest.mark.slow
# Read by each run (PROMPTREG_METHODS): a step takes two seconds until the gate is open.
SLOW_STEPS = """
import os, time
from trainers.coop import CoOp

plain = CoOp.loss

def loss(self, images, labels):
    begin = time.time()
    while not os.path.exists({gate!r}) and time.time() < begin + 2:
        time.sleep(0.1)
    return plain(self, images, labels)

CoOp.loss = loss
"""


def prompts(folder):
    path, = folder.rglob("model.pth.tar-8")
    return checkpoint.read_checkpoint(path)


def test_time_limit(sweeps, cluster):
    method = sweeps.folder / "slow_steps.py"
    method.write_text(SLOW_STEPS.format(gate=str(sweeps.gate)))
    given = {"PYTHON": sys.executable, "PROMPTREG_METHODS": str(method), "OMP_NUM_THREADS": "1"}
    quick = ["--root", str(sweeps.folder / "data"), "--opts", "OPTIM.MAX_EPOCH", "8",
             "DATALOADER.TRAIN_X.BATCH_SIZE", "1"]
    sweep = sweeps.begin(1, "--time", "2", "--slurm", "signal=USR2@40", *quick, **given)
    cluster.wait(cluster.states, "element")
    job, = cluster.states()
    cluster.restart(job, 200)
    sweeps.release()
    code, out = sweeps.ended(sweep)
    assert code == 0 and "failed" not in out and "interrupted" not in out, out
    console, = sweeps.folder.rglob(".sweep/console/*.txt")
    assert "Resumed from " in console.read_text() and "interim" in console.read_text(), "not at an epoch's end"
    assert sweeps.call(1, "--output", "undisturbed", "--executor", "local", *quick, **given)[0] == 0
    one, other = (prompts(sweeps.folder / name) for name in ("output", "undisturbed"))
    assert all(torch.equal(one["state_dict"][name], value) for name, value in other["state_dict"].items())
    assert torch.equal(one["random"]["torch"], other["random"]["torch"])
