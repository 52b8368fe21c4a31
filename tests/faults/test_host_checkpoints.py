"""A host's own trainer beside ``import promptreg``: trained with SGD and momentum, evaluated, resumed.

Its Dassl is as published, or one whose user has written ``weights_only=False`` into it and mended what current PyTorch
does not take: that one must also do alone what it does beside us.
"""
import os
import pickle
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from support import stand_in
from support.paths import ROOT

EPOCHS = 4
OPTIONS = ["--seed", "1", "--trainer", "CoOp", "--dataset-config-file", "configs/datasets/oxford_pets.yaml",
           "--root", "data", "OPTIM.NAME", "sgd", "OPTIM.LR", "0.5", "OPTIM.MOMENTUM", "0.9", "OPTIM.LR_SCHEDULER",
           "cosine", "OPTIM.MAX_EPOCH", str(EPOCHS), "OPTIM.WARMUP_EPOCH", "1", "OPTIM.WARMUP_TYPE", "constant",
           "TRAIN.CHECKPOINT_FREQ", "1", "INPUT.TRANSFORMS", "('normalize',)", "INPUT.SIZE", "(8, 8)",
           "DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "9", "USE_CUDA", "False"]


class Inert(pickle.Unpickler):
    """Reads the host's own classes, which are not importable here, as empty ones."""

    def find_class(self, module, name):
        return type(name, (), {}) if module.startswith(("trainers", "dassl")) else super().find_class(module, name)


INERT = types.SimpleNamespace(Unpickler=Inert, __name__="inert", load=lambda file, **kw: Inert(file, **kw).load())
# Runs train.py once for each argument, a line of its arguments.
RUNS = """
import os, runpy, sys
sys.path[0] = ""
for line in sys.argv[1:]:
    sys.argv[1:] = line.split("|")
    sys.stdout = open(os.dup(1), "w", buffering=1)
    runpy.run_path("train.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """The host repository with images of three breeds; its train.py imports promptreg where it is told to."""
    folder = tmp_path_factory.mktemp("hosts") / "host"
    shutil.copytree(ROOT / "tests" / "host", folder)
    train = (folder / "train.py").read_text()
    assert "# (first line for promptreg)" in train
    (folder / "train.py").write_text(train.replace(
        "# (first line for promptreg)", "import os\nif not os.environ.get('ALONE'):\n    import promptreg"))
    draw = np.random.RandomState(0)
    for breed in ("beagle", "havanese", "persian"):
        (folder / "data" / "pets" / breed).mkdir(parents=True)
        for i in range(6):
            picture = Image.fromarray(draw.randint(0, 256, (8, 8, 3), dtype=np.uint8))
            picture.save(folder / "data" / "pets" / breed / f"{i}.png")
    return folder


@pytest.fixture(scope="module", params=["Dassl as published", "Dassl with weights_only=False"])
def dassl(request, tmp_path_factory):
    folder = stand_in.build(tmp_path_factory.mktemp("dassl"))
    mended = "weights_only" in request.param
    if mended:
        change(folder / "dassl/utils/torchtools.py", "map_location=map_location)", "map_location=map_location, "
               "weights_only=False)")
        change(folder / "dassl/optim/lr_scheduler.py", "super().__init__(optimizer, last_epoch, verbose)",
               "super().__init__(optimizer, last_epoch)")
        (folder / "wilds.py").write_text("get_dataset = None")
    return folder, mended


def change(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def run(host, dassl, *runs, **environment):
    """Run train.py with each list of arguments; returns what was printed."""
    done = subprocess.run([sys.executable, "-c", RUNS, *("|".join([*words, *OPTIONS]) for words in runs)], cwd=host,
                          text=True, capture_output=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([str(dassl), str(ROOT / "dropin")]),
                               "OMP_NUM_THREADS": "1", **environment})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def load(folder, epoch):
    """Return the tensors of a checkpoint; its schedule is read as data."""
    path = folder / f"prompt_learner/model.pth.tar-{epoch}"
    return torch.load(path, weights_only=False, pickle_module=INERT)["state_dict"]


def test_a_host_trains_evaluates_and_resumes(host, dassl, tmp_path):
    folder, mended = dassl
    own = {"HOST_SCHEDULE": "own"} if mended else {}
    printed = run(host, folder, ["--output-dir", str(tmp_path / "a")], **own)
    trained = re.findall(r"accuracy: (\S+)%", printed)
    assert len(trained) == 1 and "the host's own CoOp" in printed

    (tmp_path / "half" / "prompt_learner").mkdir(parents=True)
    shutil.copy(tmp_path / "a/prompt_learner/model.pth.tar-2", tmp_path / "half/prompt_learner")
    (tmp_path / "half/prompt_learner/checkpoint").write_text("model.pth.tar-2\n")
    evaluate = ["--eval-only", "--model-dir", str(tmp_path / "a"), "--load-epoch", str(EPOCHS)]
    printed = run(host, folder, evaluate, ["--resume", str(tmp_path / "half"), "--output-dir", str(tmp_path / "b")],
                  **own)
    assert re.findall(r"accuracy: (\S+)%", printed) == trained * 2
    last, resumed = load(tmp_path / "a", EPOCHS), load(tmp_path / "b", EPOCHS)
    for name in last:  # the images come in another order
        torch.testing.assert_close(resumed[name], last[name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(last["weight"], load(tmp_path / "a", 2)["weight"], atol=1e-3)

    if mended:
        alone = run(host, folder, ["--output-dir", str(tmp_path / "alone")],
                    [*evaluate[:2], str(tmp_path / "alone"), *evaluate[3:]], ALONE="1", **own)
        assert re.findall(r"accuracy: (\S+)%", alone) == trained * 2
        assert all(torch.equal(value, last[name]) for name, value in load(tmp_path / "alone", EPOCHS).items())
