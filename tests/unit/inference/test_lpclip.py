"""The linear probe, as its command line runs it."""
import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from support.paths import ROOT

from trainers.cli.linear_probe import main
from trainers.config.build import setup_cfg
from trainers.config.flags import parser
from trainers.inference import linear_probe


def test_the_probe_is_a_logistic_regression_on_frozen_features(tmp_path, capsys, monkeypatch):
    seen = {}
    features = linear_probe.features

    def kept(clip, loader):
        seen[len(seen)] = clip, features(clip, loader), [batch["img"] for batch in loader]
        return seen[len(seen) - 1][1]
    monkeypatch.setattr(linear_probe, "features", kept)
    configs = ROOT / "configs"
    words = ["--root", str(tmp_path), "--seed", "1", "--dataset-config-file", str(configs / "datasets/digits.yaml"),
             "--config-file", str(configs / "trainers/ZeroshotCLIP/demo.yaml"), "DATASET.NUM_SHOTS", "4"]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    c, val, test = map(float, re.fullmatch(r"linear probe: Digits, 4 shots, seed 1: C (\S+), validation (\S+)%, "
                                           r"test (\S+)%", said).groups())

    (clip, train, images), (_, validation, _), (_, testing, _) = seen.values()
    assert [len(labels) for _, labels in (train, validation)] == [40, 40] and len(testing[1]) > 300
    with torch.no_grad():
        own = clip.model.encode_image(torch.cat(images)).numpy()
    assert np.abs(own - train[0]).max() < 1e-5 * np.abs(own).max()
    for other, accuracy in ((validation, val), (testing, test)):
        model = LogisticRegression(C=c, max_iter=1000).fit(*train)
        assert 100 * model.score(*other) == pytest.approx(accuracy, abs=1.0)  # C is printed to three digits
    assert test > 60
    again = linear_probe.run(setup_cfg(parser().parse_args([*words[:2], "--trainer", "ZeroshotCLIP", *words[2:]]))[0])
    assert again == (pytest.approx(c, rel=0.01), pytest.approx(val, abs=0.01), pytest.approx(test, abs=0.01))
