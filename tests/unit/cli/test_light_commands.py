"""What needs no model imports no torch, so that it is there at once (benchmarks/command_line.py says how fast)."""
import os
import subprocess
import sys

import pytest
from support.paths import ROOT

from trainers.cli.train import main as train

FORBIDDEN = ("torch", "open_clip", "numpy", "pandas", "scipy", "sklearn", "matplotlib")
LIGHT = {"--help": 0, "--version": 0, "fit --help": 0, "classify --help": 0, "train --help": 0, "sweep --help": 0,
         "results --help": 0, "ls methods": 0, "ls configs": 0, "ls datasets": 0, "ls weights": 0, "ls runs": 0,
         "train --hlep": 2, "train NoSuch/demo digits": 2, "train CoOp/demo nosuch": 2, "sweep --methods": 2,
         "sweep --methods NoSuch --setting xd": 2, "sweep --methods CoOp --setting xd --datasets nosuch": 2,
         "sweep --methods CoOp --setting xd --source nosuch": 2, "xyzzy": 2, "completion bash": 0,
         "classify run --top 0 x.png": 2, "data fetch": 2, "gram": 2, "export": 2}


def without(modules, words, folder):
    """Run a command in a folder with a Python in which ``modules`` cannot be imported."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({modules!r}))\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run([sys.executable, "-m", "trainers", *words], cwd=folder, env=environment, capture_output=True,
                          text=True)


@pytest.mark.parametrize("words", LIGHT)
def test_it_imports_nothing_heavy(words, tmp_path):
    done = without(FORBIDDEN, words.split(), tmp_path)
    assert done.returncode == LIGHT[words], done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") <= 1 + 40 * (words == "gram")


def test_a_python_without_torch_gets_one_line(tmp_path):
    done = without(("torch",), ["fit", "photos"], tmp_path)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "has no torch: activate" in done.stderr


def test_a_finished_run_is_known_without_torch_until_something_changes(tmp_path, monkeypatch, capsys):
    words = ["train", "ZeroshotCLIP/demo", "digits", "DATASET.NUM_SHOTS", "1"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPTREG_CACHE", str(tmp_path / "cache"))
    for _ in range(2):  # the second call compares, and remembers that it has
        assert train(words[1:]) == 0
    assert "not run again" in capsys.readouterr().out
    done = without(FORBIDDEN, words, tmp_path)
    assert done.returncode == 0 and "Results are available in output/digits/" in done.stdout, done.stderr
    other = without(FORBIDDEN, [*words, "OPTIM.LR", "0.5"], tmp_path)
    assert other.returncode == 3 and "has no" in other.stderr, "another call is compared, which needs torch"
    result, = tmp_path.rglob("result.json")
    result.write_text(result.read_text() + " ")
    assert without(FORBIDDEN, words, tmp_path).returncode == 3, "and so is a changed file"
