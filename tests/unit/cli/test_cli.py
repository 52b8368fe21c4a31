"""promptreg train, init and doctor."""
import os
import re
import subprocess
import sys

import pytest
from support.paths import ROOT

from trainers import cli
from trainers.cli import init
from trainers.config import flags
from trainers.config.flags import with_packaged_configs
from trainers.errors import InputError

# ---------------------------------------------------------------- train


@pytest.mark.parametrize("given, found", [
    ("configs/datasets/dtd.yaml", "datasets/dtd.yaml"), ("datasets/dtd.yaml", "datasets/dtd.yaml"),
    ("dtd", "datasets/dtd.yaml"), ("dtd.yaml", "datasets/dtd.yaml")])
@pytest.mark.parametrize("joined", [False, True])
def test_configs_that_are_not_there_come_from_the_package(given, found, joined, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [f"--dataset-config-file={given}"] if joined else ["--dataset-config-file", given]
    *before, path = " ".join(with_packaged_configs(["--seed", "1", *words])).replace("=", " ").split(" ")
    assert path == str(ROOT / "configs" / found) and before == ["--seed", "1", "--dataset-config-file"]


def test_configs_that_are_there_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dtd").write_text("")
    assert with_packaged_configs(["--dataset-config-file", "dtd"])[1] == "dtd"
    assert with_packaged_configs(["--config-file", "PromptSRC/no_such"])[1] == "PromptSRC/no_such"
    assert with_packaged_configs(["--config-file"]) == ["--config-file"]


def test_train_says_what_is_wrong_in_one_line(capsys):
    assert cli.main(["train", "--trainer", "PromptSRK", "--config-file", "PromptSRC/demo",
                     "--dataset-config-file", "digits"]) == 2
    assert capsys.readouterr().err.strip() == "error: --trainer PromptSRK: did you mean PromptSRC?"


def test_without_a_command_the_commands_are_listed(capsys):
    assert cli.main([]) == 2 and "promptreg doctor" in capsys.readouterr().err
    assert cli.main(["--help"]) == 0 and "promptreg init" in capsys.readouterr().out


# ---------------------------------------------------------------- init


def written(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_init_writes_configs_and_scripts_once(tmp_path, capsys):
    (tmp_path / "train.py").write_text("import dassl\n")
    assert init.main([str(tmp_path)]) == 0
    first = capsys.readouterr().out
    files = [name for name in written(tmp_path) if name != "train.py"]
    assert {"configs/datasets/dtd.yaml", "scripts/common.sh", "scripts/promptsrc/base2new_train.sh"} <= set(files)
    assert not {"scripts/test.sh", "scripts/demo.sh"} & set(files)  # of this repository's own
    assert first.startswith(f"{len(files)} files written, 0 replaced, 0 there already, 0 differ")
    assert "add this line" in first and "import trainers" in first  # promptreg's own name, where it is installed
    assert os.access(tmp_path / "scripts/promptsrc/base2new_train.sh", os.X_OK)
    assert init.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith(f"0 files written, 0 replaced, {len(files)} there already, 0 differ")


def test_init_shows_and_leaves_what_differs(tmp_path, capsys):
    own = tmp_path / "configs/datasets/dtd.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("DATASET:\n  NAME: Mine\n")
    assert init.main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "-  NAME: Mine" in told and '+  NAME: "DescribableTextures"' in told and "1 differ and are left" in told
    assert own.read_text() == "DATASET:\n  NAME: Mine\n"
    assert init.main([str(tmp_path), "--force", "--dry-run"]) == 0
    assert "1 would be replaced" in capsys.readouterr().out and "Mine" in own.read_text()
    assert init.main([str(tmp_path), "--force"]) == 0
    assert own.read_bytes() == (ROOT / "configs/datasets/dtd.yaml").read_bytes()


def test_init_with_dry_run_writes_nothing(tmp_path, capsys):
    assert init.main([str(tmp_path), "--dry-run"]) == 0
    assert list(tmp_path.iterdir()) == [] and "files would be written" in capsys.readouterr().out


def test_init_names_what_is_in_the_way(tmp_path, capsys):
    assert cli.main(["init", str(tmp_path / "none")]) == 2
    assert "none is not a folder" in capsys.readouterr().err
    (tmp_path / "scripts/common.sh").mkdir(parents=True)
    with pytest.raises(InputError, match="common.sh is a folder where we have a file"):
        init.main([str(tmp_path)])
    (tmp_path / "scripts/common.sh").rmdir()
    (tmp_path / "scripts").rmdir()
    (tmp_path / "scripts").write_text("a file")
    assert cli.main(["init", str(tmp_path)]) == 3
    told = capsys.readouterr().err.strip()
    assert re.fullmatch(r"error: .*scripts/\S+ cannot be written .*run the same command again", told)


# ---------------------------------------------------------------- doctor


def doctor(*words, path=(), **environment):
    """Run promptreg doctor in a process of its own; returns (exit code, its lines)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PROMPTREG") and k != "PYTHONPATH"}
    kept["PYTHONPATH"] = os.pathsep.join(map(str, [*path, ROOT / "dropin"]))
    done = subprocess.run([sys.executable, "-m", "promptreg", "doctor", *words], text=True, capture_output=True,
                          timeout=300, env={**kept, **environment})
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_doctor_says_what_to_do_without_weights_and_cache(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "data" / "dtd").mkdir(parents=True)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "clip").write_text("not a folder: cannot be listed, whoever asks")
    code, lines = doctor("--root", str(tmp_path / "data"), HOME=str(tmp_path),
                         PROMPTREG_CACHE=str(tmp_path / "file" / "cache"))
    told = "\n".join(lines)
    assert code == 3 and lines[-1] == "2 to mend"
    weights, cache = [line for line in lines if line.startswith("FAIL")]
    assert f"{tmp_path}/.cache/clip cannot be read (Not a directory): mend its permissions, or move it away" in weights
    assert "set PROMPTREG_CACHE to a folder of your own" in cache
    for name in ("ViT-B/16", "RN50"):
        assert f"fetch them with promptreg weights {name}" in told
    assert f"promptreg data fetch OxfordPets --root {tmp_path}/data" in told
    assert re.search(r"dataset DescribableTextures is not under \S+ \(no images\): promptreg data", told)
    assert re.search(r"^ok    (mini)?[dD]assl.* 0\.6\.3 at ", told, re.M)
    for line in lines[:-1]:
        assert line.startswith("ok    ") or re.match(r"(note|FAIL)  .+: .+", line), line


@pytest.mark.parametrize("text, reason", [
    ("raise RuntimeError('operator torchvision::nms does not exist')",
     "RuntimeError: operator torchvision::nms does not exist"),
    ("import torchvision_extension_that_is_gone", "No module named 'torchvision_extension_that_is_gone'")])
def test_doctor_survives_a_broken_torchvision(tmp_path, text, reason):
    (tmp_path / "torchvision.py").write_text(text)
    code, lines = doctor(path=[tmp_path])
    assert code == 3
    line, = [line for line in lines if line.startswith("FAIL")]  # open_clip, which stands on it, is not blamed
    assert line.startswith("FAIL  torchvision cannot be imported (") and reason in line
    assert line.endswith("pip install --force-reinstall torch torchvision")
    assert any(line.startswith("note  Dassl, weights and datasets are not looked at") for line in lines)
    assert any(line.startswith("ok    numpy") for line in lines)  # it went on


def test_doctor_tells_a_missing_package_from_a_broken_one(capsys, monkeypatch):
    from trainers.cli import doctor as module
    monkeypatch.setattr(module, "NEEDED", {"no_such_package": "no-such-package"})
    assert module.main([]) == 3
    assert "FAIL  no_such_package is not installed: pip install no-such-package" in capsys.readouterr().out


def test_a_method_and_a_dataset_are_enough():
    words = flags.with_packaged_configs(["PromptSRC/demo", "digits"])
    args = flags.parser().parse_args(words)
    assert (args.trainer, args.seed, args.opts) == ("PromptSRC", 1, ["DATASET.NUM_SHOTS", "16"])
    assert args.output_dir.endswith("digits/PromptSRC/demo_16shots/seed1")
