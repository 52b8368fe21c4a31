"""Every command of README, as typed, in a copy of this checkout: it does what README says, or names what is missing.

The two commands that set up and test are .ci/run's. There are no weights and no datasets here, and no network: what
needs them must say what is missing and the command that fetches it.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.digit_photos import digit_photos
from support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", README, re.M | re.S)
COMMANDS = [line.split("  # ")[0].strip() for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]
SET_UP = ("bash scripts/demo.sh", "bash scripts/test.sh")
MISSING = {  # what the command says here, where neither data nor network are
    "promptreg weights ViT-B/16": (3, "ViT-B/16 could not be fetched"),
    "promptreg data fetch oxford_pets --root $DATA": (2, "OxfordPets: still missing in"),
    "bash scripts/promptsrc/base2new_train.sh oxford_pets 1": (2, "promptreg data fetch OxfordPets"),
    "bash scripts/promptsrc/base2new_test.sh oxford_pets 1": (2, "promptreg data fetch OxfordPets"),
    "promptreg sweep --methods PromptSRC ProGrad --setting base2new --datasets all --seeds 1 2 3":
        (2, "promptreg data fetch ImageNet"),
    "promptreg results output/ --compare published": (2, "there is no folder output/"),
    "promptreg": (2, "promptreg fit")}
SAYS = {"promptreg fit photos/ --shots 16": "page: runs/photos/index.html",
        "promptreg results output/ --html": "Base-to-new",
        "promptreg classify runs/photos new.jpg other/": " %", "python parse_test_res.py": "* accuracy: ",
        "promptreg train CoOp/study emoji_food": "* accuracy: "}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git holds, with .venv the environment that runs this test, and pictures."""
    if not Path(sys.prefix, "bin", "promptreg").exists() or not Path(sys.prefix, "bin", "activate").exists():
        pytest.skip("PromptReg is not installed into an environment that can be activated")
    folder = tmp_path_factory.mktemp("readme") / "PromptReg"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    digit_photos(folder / "photos", each=10)
    shutil.copytree(folder / "photos" / "two", folder / "other")
    shutil.copy(folder / "photos" / "one" / "00.png", folder / "new.jpg")
    return folder


def shell(checkout, *lines):
    """Run lines in one shell, in the environment that README activates."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "DATA", "OUTPUT", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(["bash", "-c", "\n".join([". .venv/bin/activate", *lines])], cwd=checkout, text=True,
                          capture_output=True, timeout=300, env={
                              **clean, "PROMPTREG_BACKBONE": "demo", "HOME": str(checkout / "home"),
                              "PROMPTREG_CACHE": str(checkout / "cache"), "OMP_NUM_THREADS": "1",
                              "OPTS": "OPTIM.MAX_EPOCH 2", "LOADEP": "2",  # the scripts' own, to be quick
                              "HF_HUB_OFFLINE": "1", **dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")})


def test_every_command_of_readme(checkout):
    exports, seen = [], []
    for command in COMMANDS:
        if command in SET_UP:
            continue
        if command.startswith(("export ", ". ")):
            exports += [command] if command.startswith("export ") else []
            continue
        said = next((text for start, text in SAYS.items() if command.startswith(start)), "")
        fails, says = MISSING.get(command, (0, said))
        lines = exports if fails else []  # without DATA: what runs here brings its own
        done = shell(checkout, *lines, command)
        assert done.returncode == fails, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert says in done.stdout + done.stderr and "Traceback" not in done.stderr, f"{command}: {done.stderr}"
        seen.append(command)
    assert set(MISSING) <= set(seen) and len(seen) >= 12, "README has fewer commands than this test knows"
    assert (checkout / "report.html").is_file()


def test_the_set_up_is_what_ci_runs():
    ci = (ROOT / ".ci" / "run").read_text()
    assert all(command in COMMANDS and command in ci for command in SET_UP)


def test_the_python_of_readme(checkout):
    code = next(block for kind, block in BLOCKS if kind == "python" and "promptreg.fit" in block)
    done = shell(checkout, f"python - <<'END'\n{code}END")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "<Classifier PromptSRC on demo" in done.stdout and "('one', " in done.stdout
    assert "PromptSRC" in done.stdout.splitlines()[-1]
