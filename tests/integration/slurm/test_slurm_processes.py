"""One run on two nodes of a true SLURM, started by srun alone and by torchrun: the prompts of one process."""
import json
import sys

import pytest
from support.paths import ROOT

from trainers.training import checkpoint
from trainers.training.run import main

pytestmark = pytest.mark.slow
JOINT_BATCH = 4


def words(output, data, processes):
    return ["--trainer", "CoOp", "--seed", "1", "--root", str(data), "--output-dir", str(output),
            "--dataset-config-file", str(ROOT / "configs/datasets/digits.yaml"),
            "--config-file", str(ROOT / "configs/trainers/CoOp/demo.yaml"), "DATASET.NUM_SHOTS", "1",
            "DATASET.SUBSAMPLE_CLASSES", "base", "OPTIM.MAX_EPOCH", "2", "OPTIM.WARMUP_EPOCH", "-1",
            "DATALOADER.TEST.BATCH_SIZE", "64", "DATALOADER.TRAIN_X.BATCH_SIZE", str(JOINT_BATCH // processes)]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    assert main(words(folder / "one", folder / "data", 1)) == 0
    return folder


@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
def test_two_nodes_one_run(launcher, one_process, cluster, tmp_path):
    command = [str(ROOT / "train.py"), *words(tmp_path / "two", one_process / "data", 2)]
    torchrun = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d",
                "--rdzv-endpoint", "127.0.0.1:29617", "--rdzv-id", "7"]
    start = [sys.executable, *(torchrun if launcher == "torchrun" else [])]
    cluster.environment["OMP_NUM_THREADS"] = "1"
    out = cluster.call("srun", "--nodes=2", "--ntasks-per-node=1", "--time=5", *start, *command)
    assert out.count("Finish training") <= 1, "the first process alone prints"
    done = json.loads((tmp_path / "two" / "result.json").read_text())
    assert done["processes"] == 2
    folder, = (tmp_path / "two").glob("prompt_learner")
    here, there = (checkpoint.read_checkpoint(place / "model.pth.tar-2")["state_dict"]
                   for place in (folder, one_process / "one" / "prompt_learner"))
    assert all((here[name] - there[name]).abs().max() < 1e-6 for name in there)
