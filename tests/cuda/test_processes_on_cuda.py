"""Two processes on the pretended CUDA device, NCCL replaced: the prompts that one process with both images learns."""
import os
import socket
import subprocess
import sys

import pytest
from support.every_trainer import low_weights, made
from support.paths import ROOT
from support.pretend_cuda import PretendCuda

from trainers.compat.registry import TRAINERS
from trainers.training import checkpoint


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.parametrize("name,precision", [("ProGrad", "amp")])
def test_two_processes_on_cuda_learn_what_one_does(name, precision, tmp_path):
    weights = low_weights(tmp_path, layers=2)
    with PretendCuda():
        alone = made(TRAINERS.entries[name], precision, weights, tmp_path / "one", device="cuda", batches=2)
        alone.train()
    port = str(free_port())
    running = [subprocess.Popen(
        [sys.executable, "-m", "support.cuda_process", name, precision, str(weights), str(tmp_path / "two")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={
            **os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "RANK": str(rank), "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}) for rank in range(2)]
    for process in running:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0 and out.endswith("ok\n"), err[-3000:]
    one, two = (checkpoint.read_checkpoint(tmp_path / folder / "prompt_learner/model.pth.tar-2")["state_dict"]
                for folder in ("one", "two"))
    for key, value in one.items():
        assert (two[key] - value).abs().max() < 2e-2 * value.abs().max(), key
