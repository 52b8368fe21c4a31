"""Our trainers in a host on Dassl 0.5.0, which ProGrad's and KgCoOp's repositories bring."""
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support import stand_in
from support.paths import ROOT

DEMOS = sorted(path.parent.name for path in (ROOT / "configs" / "trainers").glob("*/demo.yaml"))
LEARNING = [name for name in DEMOS if name not in ("GRAM", "UNIGRAM")]  # these meta-train on a corpus, not on a dataset

# Trains with each demo.yaml as a host does, and writes what came of it.
HOST = """
import json, sys
import promptreg
import datasets.oxford_pets
from dassl.config import get_cfg_default
from dassl.engine import build_trainer
from promptreg.training.composition import find
import dassl, torchvision
found = {"version": dassl.__version__}
for name in sys.argv[1:]:
    cfg = get_cfg_default()
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.merge_from_file("configs/datasets/oxford_pets.yaml")
    cfg.merge_from_file(f"configs/trainers/{name}/demo.yaml")
    best = "best_val" if name == "CoOp" else "last_step"
    cfg.merge_from_list(["DATASET.ROOT", "data", "TRAINER.NAME", find(name), "OUTPUT_DIR", f"output/{name}",
                         "DATASET.NUM_SHOTS", 2, "OPTIM.MAX_EPOCH", 2, "TEST.FINAL_MODEL", best, "USE_CUDA", False])
    if "ProGrad" in name:  # OxfordPets' own words are eight, and the meta-trained file has four
        cfg.TRAINER.COOP.CTX_INIT = "a photo of a"
    cfg.freeze()
    trainer = build_trainer(cfg)
    trainer.train()
    crop, = (t for t in trainer.train_loader_x.dataset.transform.transforms
             if isinstance(t, torchvision.transforms.RandomResizedCrop))
    found[name] = [list(cfg.INPUT.RRCROP_SCALE), list(crop.scale), trainer.results["test"]["total"]]
with open("found.json", "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    dassl = stand_in.build(folder / "Dassl", "0.5.0")
    host = folder / "host"
    shutil.copytree(ROOT / "tests" / "host", host)
    shutil.copytree(ROOT / "configs" / "trainers", host / "configs" / "trainers")
    draw = np.random.RandomState(0)
    for breed in ("beagle", "havanese", "persian"):
        (host / "data" / "pets" / breed).mkdir(parents=True)
        for i in range(6):
            picture = Image.fromarray(draw.randint(0, 256, (32, 32, 3), dtype=np.uint8))
            picture.save(host / "data" / "pets" / breed / f"{i}.png")
    done = subprocess.run(
        [sys.executable, "-c", HOST, *LEARNING], cwd=host, text=True, capture_output=True, timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PROMPTREG_CACHE": str(host / "cache"),
             "PYTHONPATH": os.pathsep.join([str(dassl), str(ROOT / "dropin")])})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return json.loads((host / "found.json").read_text())


@pytest.mark.parametrize("name", LEARNING)
def test_every_demo_trains_with_the_crops_that_it_names(found, name):
    assert found["version"] == "0.5.0"
    wanted, scale, images = found[name]
    assert wanted == scale == [0.6, 1.0]
    assert images == 9, "of the last evaluation alone"
