"""Dassl 0.6.3 on current PyTorch, numpy and Pillow: its faults, in a stand-in, and their repair."""
import os
import subprocess
import sys

import pytest
from support import stand_in
from support.paths import ROOT

# One line each: what fails on Dassl as it is. The first also fails without the other three.
FAULTS = {
    "No module named 'wilds'": "import dassl.data",
    "positional arguments": "from dassl.optim import ConstantWarmupScheduler as C; import torch; o = torch.optim.SGD("
                            "[torch.nn.Parameter(torch.ones(1))], lr=1.0); "
                            "C(o, torch.optim.lr_scheduler.StepLR(o, 1), 1, 1e-5)",
}


@pytest.fixture(scope="module")
def dassl(tmp_path_factory):
    return stand_in.build(tmp_path_factory.mktemp("real"))


def run(command, **environment):
    return subprocess.run([sys.executable, *command], cwd=ROOT, text=True, capture_output=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **environment})


@pytest.mark.parametrize("message", FAULTS)
def test_unrepaired_it_fails(dassl, message):
    done = run(["-c", FAULTS[message].replace("dassl.optim import ConstantWarmupScheduler",
                                              "dassl.optim.lr_scheduler import ConstantWarmupScheduler")],
               PYTHONPATH=str(dassl))
    assert done.returncode == 1 and message in done.stderr


def test_repaired_it_works_and_trains_as_minidassl_does(dassl):
    """The same golden figures on the stand-in as on minidassl: one method of each kind of prompt."""
    done = run(["-m", "pytest", "-q", "-p", "no:randomly", "tests/support/repaired_dassl.py",
                "tests/golden/test_golden_trainers.py",
                "-k", "repaired or fast and (promptsrc_depth3 or prograd_lambda08 or coop_end)"],
               PROMPTREG_REAL_DASSL=str(dassl))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout


def test_each_repair_is_logged_once(dassl):
    done = run(["-c", "import trainers, importlib; importlib.reload(trainers)"], PYTHONPATH=str(dassl))
    lines = [line for line in done.stderr.splitlines() if "repaired:" in line]
    for words in ("wilds", "np.int", "ANTIALIAS", "`verbose`", "scheduler objects", "own optimizer", "damaged image"):
        assert sum(words in line for line in lines) == 1, (words, done.stderr)
