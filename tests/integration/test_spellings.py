"""docs/commands.md: every old spelling of a command works, and so does the one that its row names."""
import os
import re
import subprocess
import sys

import pytest
from support.paths import ROOT

from trainers.cli.main import MODULES
from trainers.compat.old_names import MOVED

PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \|(.*)\|$", PAGE, re.M)
COMMANDS = {old: (new, note) for old, new, note in ROWS}
NOT_ARGUMENTS = ("draw_curves.py", "lpclip/")


def run(command, folder):
    """Run a command as typed in a checkout, its … replaced by --help; returns (exit code, what it printed)."""
    words = command.replace("…", "--help").split()
    if words[0] == "promptreg":
        words = ["python", "-m", "trainers", *words[1:]]
    if words[0] == "python":
        words[0] = sys.executable
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "DRY_RUN": "1",
                               "OUTPUT": str(folder), "PYTHON": sys.executable})
    return done.returncode, done.stdout + done.stderr


def flags(text):
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text.partition("options:")[2]))


@pytest.mark.parametrize("old", COMMANDS)
def test_both_spellings_work(old, tmp_path):
    new, _ = COMMANDS[old]
    runs = new + " --dry-run" * ("…" not in new)
    (old_code, old_said), (new_code, new_said) = run(old, tmp_path), run(runs, tmp_path)
    assert new_code == 0, new_said
    if any(name in old for name in NOT_ARGUMENTS):
        assert old_code == 2 and old_said.count("\n") == 1 and " ".join(new.split()[:2]) in old_said
        return
    assert old_code == 0, old_said
    if old.startswith("python -m"):
        assert re.search(r"is now", old_said), "it says the new spelling"
        if "datasets.prepare" not in old:
            assert flags(old_said) == flags(new_said)


@pytest.mark.parametrize("script", sorted((ROOT / "scripts" / "promptsrc").glob("base2new_train.sh")))
def test_a_sweep_runs_the_script_that_its_row_names(script, tmp_path):
    old = f"bash scripts/promptsrc/{script.name} digits 1"
    _, plan = run(COMMANDS[old][0] + " --dry-run", tmp_path)
    assert old in plan and run(old, tmp_path)[1].strip().split("--output-dir")[1].split()[0] in plan


def test_the_table_leaves_nothing_out():
    modules = {row.split()[2].removeprefix("trainers.") for row in COMMANDS if row.startswith("python -m trainers.")}
    runnable = {old for old, new in MOVED.items() if new.split()[-1].startswith("cli.") or old == "main"}
    assert runnable - {"host", "sweep.live"} <= modules
    assert {row.split()[1] for row in COMMANDS if row.startswith("python ") and "-m" not in row} == {
        "train.py", "parse_test_res.py", "interpret_prompt.py", "draw_curves.py"}
    named = {new.split()[1] for new, _ in COMMANDS.values()}
    assert named <= MODULES.keys()
    imports = dict(re.findall(r"^\| `promptreg\.(\S+)` \| `promptreg\.(\S+)` \|$", PAGE, re.M))
    assert imports == {old: new.split()[0] for old, new in MOVED.items()}
