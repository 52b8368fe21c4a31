"""minidassl computes, draws and prints what Dassl 0.6.3 does: against the recorded files in tests/golden."""
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.paths import GOLDEN
from yacs.config import CfgNode

from minidassl.config import get_cfg_default
from minidassl.data.datasets import DatasetBase, Datum
from minidassl.data.transforms import build_transform
from minidassl.evaluation import build_evaluator
from minidassl.optim import build_lr_scheduler, build_optimizer
from minidassl.utils import set_random_seed

SCHEDULES = json.loads((GOLDEN / "lr_schedules.json").read_text())
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


@pytest.mark.parametrize("case", SCHEDULES)
def test_learning_rate_of_every_epoch(case):
    cfg, expected = CfgNode(SCHEDULES[case]["cfg"]), SCHEDULES[case]["lr_per_epoch"]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer([parameter], cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    rates = []
    for _ in range(cfg.MAX_EPOCH):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx(expected, rel=1e-12)


def test_evaluator_figures_and_text(capsys):
    golden = json.loads((GOLDEN / "evaluator.json").read_text())
    draws = np.random.RandomState(5)
    logits = draws.standard_normal((250, 7)).astype(np.float32)
    labels = draws.randint(0, 7, 250)
    logits[np.arange(250), labels] += 1.2
    cfg = get_cfg_default()
    cfg.VERBOSE = False
    cfg.TEST.PER_CLASS_RESULT = True
    evaluator = build_evaluator(cfg, lab2cname={label: f"class {label}" for label in range(7)})
    for start in range(0, 250, 100):
        batch = slice(start, start + 100)
        evaluator.process(torch.from_numpy(logits[batch]), torch.from_numpy(labels[batch]))
    results = evaluator.evaluate()
    assert capsys.readouterr().out == golden["printed"]
    assert list(results) == ["accuracy", "error_rate", "macro_f1", "perclass_accuracy"]
    assert dict(results) == pytest.approx(golden["results"], rel=1e-12)


def test_transforms_of_one_image():
    golden = np.load(GOLDEN / "transforms.npz")
    pixels = np.random.RandomState(9).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).resize((80, 60), Image.BICUBIC)
    cfg = get_cfg_default()
    cfg.INPUT.SIZE = (32, 32)
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = CLIP_MEAN, CLIP_STD
    cfg.INPUT.TRANSFORMS = ["random_resized_crop", "random_flip", "normalize"]
    train, test = build_transform(cfg, is_train=True), build_transform(cfg, is_train=False)
    np.testing.assert_allclose(test(image).numpy(), golden["test"], atol=1e-6)
    set_random_seed(1)
    for draw in range(4):
        np.testing.assert_allclose(train(image).numpy(), golden[f"train_seed1_{draw}"], atol=1e-6)


def test_fewshot_samples(tmp_path, monkeypatch):
    golden = json.loads((GOLDEN / "fewshot_sampling.json").read_text())
    monkeypatch.chdir(tmp_path)  # the recorded paths are bare file names
    source = {}
    for part in ("train", "val"):
        for path, _, _ in golden["split"][part]:
            Path(path).touch()
        source[part] = [Datum(path, label, classname=name) for path, label, name in golden["split"][part]]
    dataset = DatasetBase(train_x=source["train"])
    cases = [case for case in golden["cases"] if case["subsample"] == "all"]
    assert cases
    for case in cases:
        random.seed(case["seed"])
        train = dataset.generate_fewshot_dataset(source["train"], num_shots=case["shots"])
        val = dataset.generate_fewshot_dataset(source["val"], num_shots=min(case["shots"], 4))
        assert [[d.impath, d.label, d.classname] for d in train] == case["train"]
        assert [[d.impath, d.label, d.classname] for d in val] == case["val"]
        assert dataset.classnames == case["classnames"]
