"""Trainer GRAM from a corpus to its file: the same after a kill, nearly the same from two processes, and of use."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from support.paths import ROOT

from trainers.cli import gram, gram_report
from trainers.errors import InputError
from trainers.meta import checkpoint
from trainers.meta.horizon import Tuned
from trainers.meta.loop import STATE, BilevelLoop
from trainers.meta.trainer import GRAM
from trainers.training.run import main

COLOURS = ("red", "green", "blue", "white", "orange", "purple")
SETTINGS = {"PROMPTS": "coop", "DOMAINS": 3, "CLASSES": 4, "SHOTS": 1, "QUERIES": 1, "WAYS": 2, "STEPS": 6,
            "EPISODES": 2, "HORIZON": 2, "INNER_STEPS": 1, "SAVE_EVERY": 2, "EVALUATE": 2, "RANK": 2,
            "CLUSTER": "sklearn"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A folder with a corpus of coloured squares on three grounds."""
    folder = tmp_path_factory.mktemp("gram")
    (folder / "pairs").mkdir()
    rng = np.random.default_rng(0)
    for i in range(120):
        ground, colour = ("black", "grey", "yellow")[i % 3], COLOURS[i // 3 % len(COLOURS)]
        image = Image.new("RGB", (32, 32), ground)
        x, y = rng.integers(2, 8, 2).tolist()
        ImageDraw.Draw(image).rectangle((x, y, x + 18, y + 18), colour)
        image.save(folder / "pairs" / f"{i:03d}.png")
        (folder / "pairs" / f"{i:03d}.txt").write_text(f"{ground} ground behind a {colour} square")
    return folder


def arguments(ground, output, **changes):
    own = {**SETTINGS, "CORPUS": ground / "pairs", **changes}
    pairs = [word for key, value in own.items() for word in (f"TRAINER.GRAM.{key}", str(value))]
    return ["--trainer", "GRAM", "--seed", "1", "--root", str(ground), "--output-dir", str(output), "--config-file",
            str(ROOT / "configs" / "trainers" / "GRAM" / "demo.yaml"), "USE_CUDA", "False",
            "TRAINER.IVLP.PROMPT_DEPTH_TEXT", "2", "TRAINER.IVLP.PROMPT_DEPTH_VISION", "2", *pairs]


@pytest.fixture(scope="module")
def whole(ground):
    assert main(arguments(ground, ground / "whole")) == 0
    return ground / "whole"


def test_leaves_a_file_and_a_report(whole, ground, capsys):
    start, regulator, about = checkpoint.read_meta(whole / "meta.safetensors")
    assert list(start) == ["prompt_learner.ctx"] and about["prompts"] == "coop" and about["pairs"] == 120
    assert about["config"]["STEPS"] == 6 and about["clip"] and about["corpus"]
    assert regulator.common != 0 and about["form"] == "metric"  # it has learned something
    report = json.loads((whole / "result.json").read_text())["results"]["held_out"]
    assert list(report["arms"]) == ["base method", "base method, LR x4", "base method, LR/4", "base method, LR/10",
                                    "base method, random start", "start alone", "regulator alone", "both"]
    assert len(report["each"]["both"]) == len(report["task_domains"]) == report["tasks"] == 2
    assert report["paired"]["base method"]["H"] == [0, 0, 0] and report["best"].startswith("base method")
    printed = gram_report.main([str(whole)]), capsys.readouterr().out
    assert printed[0] == 0 and "2 tasks of 1 domains, 1 meta-seed;" in printed[1] and "regulator alone" in printed[1]
    capsys.readouterr()
    assert main(arguments(ground, whole)) == 0 and "not run again" in capsys.readouterr().out


def test_a_file_is_evaluated_as_its_own_run_did(whole, ground, capsys):
    path = str(whole / "meta.safetensors")
    assert main(arguments(ground, ground / "evaluated", META=path)) == 0
    assert not (ground / "evaluated" / "meta.safetensors").exists()
    mine, theirs = (json.loads((folder / "result.json").read_text())["results"]["held_out"]
                    for folder in (ground / "evaluated", whole))
    assert mine["each"] == theirs["each"] and mine["paired"] == theirs["paired"]
    capsys.readouterr()
    assert main(arguments(ground, ground / "other", META=path, PROMPTS="vpt")) == 2
    assert "was made for other prompts than TRAINER.GRAM.PROMPTS vpt has" in capsys.readouterr().err
    assert gram.main(["evaluate", "nowhere.safetensors", "demo", "coop"]) == 2
    assert "there is no meta-trained file nowhere.safetensors" in capsys.readouterr().err


def test_killed_run_ends_with_the_same_file(whole, ground, monkeypatch):
    output, save = ground / "killed", BilevelLoop.save

    def dies(self, step, about):
        save(self, step, about)
        if step == 4:
            raise KeyboardInterrupt
    monkeypatch.setattr(BilevelLoop, "save", dies)
    assert main(arguments(ground, output)) == 130
    assert (output / STATE).exists() and not (output / "meta.safetensors").exists()
    monkeypatch.setattr(BilevelLoop, "save", save)
    assert main(arguments(ground, output)) == 0
    assert (output / "meta.safetensors").read_bytes() == (whole / "meta.safetensors").read_bytes()


def test_state_of_other_settings_is_refused(whole, ground, capsys, monkeypatch):
    monkeypatch.setattr(GRAM, "evaluate", lambda *_: pytest.fail("it must not come to that"))
    output = ground / "killed-too"
    output.mkdir()
    (output / STATE).write_bytes((whole / STATE).read_bytes())
    assert main(arguments(ground, output, RANK=3)) == 2
    assert "another config (config.RANK is 2 there, 3 here): delete it" in capsys.readouterr().err
    assert main([*arguments(ground, output), "TRAINER.COOP.CLASS_TOKEN_POSITION", "front"]) == 2
    assert "(method.CLASS_TOKEN_POSITION is end there, front here)" in capsys.readouterr().err


def test_two_processes_come_to_the_same(whole, ground):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               str(ROOT / "train.py"), *arguments(ground, ground / "two")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    folders = (whole, ground / "two")
    a, b = (checkpoint.read_meta(folder / "meta.safetensors")[0] for folder in folders)
    assert a.keys() == b.keys() and all(torch.allclose(a[n], b[n], atol=2e-4) for n in a)
    one, two = (json.loads((folder / "result.json").read_text())["results"]["held_out"] for folder in folders)
    assert one["each"]["base method"] == two["each"]["base method"]


@pytest.mark.parametrize("prompts", ["cocoop", "vpt", "unigram"])
def test_other_prompts_and_options(prompts, ground, monkeypatch):
    monkeypatch.setattr("trainers.meta.tasks.STEPS", 2)  # of the report, behind the short loop
    output = ground / prompts
    changes = {"vpt": {"FIRST_ORDER": True, "GATE": 3, "HORIZON": 0, "FORM": "bend"},
               "cocoop": {"LEARN_LR": True, "HORIZON": 0}}.get(prompts, {"REGULATE": False})
    assert main(arguments(ground, output, PROMPTS=prompts, STEPS=1, EVALUATE=1, WAYS=2, **changes)) == 0
    start, regulator, about = checkpoint.read_meta(output / "meta.safetensors")
    assert regulator.gate == (3 if prompts == "vpt" else 16)
    assert ("image_encoder.VPT" in start) == (prompts != "cocoop")
    assert ("prompt_learner.ctx" in start) == (prompts != "vpt")
    kept = [rate == pytest.approx(0.01) for rate in about["rates"].values()]
    assert kept and not any(kept) if prompts == "cocoop" else all(kept)
    report = json.loads((output / "result.json").read_text())["results"]["held_out"]
    assert ("both" in report["arms"]) == (prompts != "unigram")


@pytest.mark.parametrize(("change", "word"), [({"PROMPTS": "maple"}, "PROMPTS"), ({"PREC": "fp16"}, "PREC"),
                                              ({"CORPUS": "nowhere"}, "no corpus"), ({"WAYS": 1}, "WAYS"),
                                              ({"SHOTS": 90}, "no pseudo-class"), ({"SCHEDULE": "cosine"}, "SCHEDULE"),
                                              ({"CLUSTER": "spectral"}, "CLUSTER"), ({"GATE": 0}, "GATE")])
def test_wrong_settings_are_one_line(change, word, ground, capsys):
    assert main(arguments(ground, ground / "wrong", **change)) == InputError.exit_code
    error = capsys.readouterr().err
    assert word in error.splitlines()[-1] and error.splitlines()[-1].startswith("error: ")


def test_a_report_of_what_is_no_number_is_refused(ground, capsys, monkeypatch):
    monkeypatch.setattr("trainers.meta.tasks.tune", lambda _, start, *__, **___: Tuned({
        name: value * float("nan") for name, value in start.items()}))
    assert main(arguments(ground, ground / "nan", STEPS=1, EVALUATE=1, HORIZON=0)) == 2
    assert "the logits on held-out tasks are not finite under PREC fp32" in capsys.readouterr().err
    assert not (ground / "nan" / "result.json").exists()


def test_rates_fall_to_nothing_or_stay(ground, monkeypatch):
    rates = []
    monkeypatch.setattr(BilevelLoop, "outer_step", lambda self, *_: rates.append(
        [group["lr"] for group in self.optimizer.param_groups]) or torch.zeros(2))
    for schedule, shares in (("linear", [1, 0.75, 0.5, 0.25]), ("constant", [1] * 4)):
        rates.clear()
        assert main(arguments(ground, ground / schedule, SCHEDULE=schedule, STEPS=4, EVALUATE=1, META_LR=0.01,
                              REGULATOR_LR=0.002)) == 0
        assert rates == [[pytest.approx(rate * share) for rate in (0.01, 0.002, 0.05, 0.15)] for share in shares]
