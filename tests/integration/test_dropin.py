"""Inside a foreign CoOp repository, by three recipes (docs/drop-in.md): installed, copied, on PYTHONPATH."""
import os
import shutil
import subprocess
import sys
import sysconfig
import venv

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support import reference, stand_in
from support.paths import ROOT

from trainers.meta import checkpoint
from trainers.regulate.regulator import Regulator

HERE = ROOT / "tests"
LAYERS = 3
SMALL = ["INPUT.SIZE", "(32, 32)", "OPTIM.MAX_EPOCH", "2", "DATASET.NUM_SHOTS", "2", "TRAIN.PRINT_FREQ", "1",
         "DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"]
METHODS = {  # trainer -> its config, and what makes it small
    "PromptSRC": ("PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx", [
        "TRAINER.PROMPTSRC.PREC", "fp32", "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", str(LAYERS),
        "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", str(LAYERS), "TRAINER.PROMPTSRC.GPA_MEAN", "1"]),
    "ProGrad": ("ProGrad/rn50", ["TRAINER.COOP.PREC", "fp32"]),  # its config sets CTX_INIT True
    "GRAMCoOp": ("GRAMCoOp/vit_b16_ep50_ctxv1", ["TRAINER.COOP.PREC", "fp32", "TRAINER.GRAM.META", "meta.safetensors"]),
    "CoOp": ("CoOp/vit_b16_ep50_ctxv1", ["TRAINER.COOP.PREC", "fp32"]),
    "AnchoredCoOp": ("CoOp/vit_b16_ep50_ctxv1", ["TRAINER.ANCHORED.PREC", "fp32"]),  # docs/new-method.md's
    "PromptReg.CoOp": ("CoOp/vit_b16_ep50_ctxv1", ["TRAINER.COOP.PREC", "fp32"]),
}
OURS = ("PromptSRC", "ProGrad", "GRAMCoOp")
FINAL = {}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A folder with CLIP weights, images of three breeds, and a meta-trained file."""
    folder = tmp_path_factory.mktemp("material")
    save_file(reference.openai_state("vit", LAYERS), folder / "clip.safetensors")
    draw = np.random.RandomState(0)
    for breed in ("beagle", "havanese", "persian"):
        (folder / "data" / "pets" / breed).mkdir(parents=True)
        for i in range(6):
            picture = Image.fromarray(draw.randint(0, 256, (40, 40, 3), dtype=np.uint8))
            picture.save(folder / "data" / "pets" / breed / f"{i}.png")
    start = {"prompt_learner.ctx": torch.full((4, 64), 0.1)}
    checkpoint.write_meta(folder / "meta.safetensors", start, Regulator({n: v.shape for n, v in start.items()}, 2), {})
    return folder


def make_host(folder, material, place):
    """Copy the host into ``folder``, with the one import at the ``place`` ("first" or "last") of its train.py."""
    shutil.copytree(HERE / "host", folder)
    shutil.copy(material / "meta.safetensors", folder)
    train = folder / "train.py"
    marked = train.read_text()
    assert f"# ({place} line for promptreg)" in marked
    train.write_text(marked.replace(f"# ({place} line for promptreg)", "import promptreg"))
    return folder


def run(python, words, folder, path=(), **environment):
    """Run Python in ``folder`` with PYTHONPATH ``path``; returns its output; fails where it fails."""
    inherited = [os.environ["PROMPTREG_REAL_DASSL"]] if os.environ.get("PROMPTREG_REAL_DASSL") else []
    done = subprocess.run([python, *words], cwd=folder, text=True, capture_output=True, timeout=500, env={
        **os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, *inherited])), "OMP_NUM_THREADS": "1",
        "PROMPTREG_CACHE": str(folder / "cache"), **environment})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stderr + done.stdout


# Runs train.py once for each line of arguments, as a person would one after the other, and tells what was imported.
SEVERAL = """
import os, runpy, sys
def console():  # of its own for each: Dassl's logger closes it
    return open(os.dup(1), "w", buffering=1, encoding="utf-8")
for line in sys.argv[1].split(chr(10)):
    sys.argv[1:] = line.split("|")
    sys.stdout = console()
    runpy.run_path("train.py", run_name="__main__")
sys.stdout = console()
for name in ("trainers", "datasets", "clip", "promptreg"):
    print(name, "is", sys.modules[name].__file__)
print("ours:", sorted(n for n in sys.modules if n.startswith("promptreg.datasets")))
"""


def add_method(host):
    """Put the method of docs/new-method.md into a host, as the page says of a repository of one's own."""
    page = (ROOT / "docs" / "new-method.md").read_text()
    module = page.partition("`trainers/anchored.py`:\n\n```python\n")[2].partition("```")[0]
    (host / "anchored.py").write_text(module.replace("from .", "from promptreg."))
    script = host / "train.py"
    script.write_text(script.read_text().replace("import promptreg", "import promptreg\nimport anchored"))


def train(python, host, material, trainers, path=(), **environment):
    """Train with the host's own train.py; returns what was printed."""
    lines = []
    for trainer in trainers:
        config, options = METHODS[trainer]
        lines.append("|".join([
            "--root", str(material / "data"), "--seed", "1", "--trainer", trainer, "--output-dir", f"output/{trainer}",
            "--dataset-config-file", "configs/datasets/oxford_pets.yaml",
            "--config-file", f"configs/trainers/{config}.yaml", "--backbone",
            str(material / "clip.safetensors"), *SMALL, *options]))
    return run(python, ["-c", "import sys; sys.path[0] = ''" + SEVERAL, "\n".join(lines)], host, path, **environment)


def check(host, printed):
    """What every recipe must show: the same prompts, trained on the host's data, and none of our datasets."""
    for trainer in OURS:
        path, = (host / "output" / trainer).glob("*/model.pth.tar-2")
        state = torch.load(path, weights_only=True)["state_dict"]
        first = FINAL.setdefault(trainer, state)
        assert state.keys() == first.keys()
        for name, value in state.items():
            assert torch.equal(value, first[name]), (trainer, name)
    assert printed.count("the host's own OxfordPets") >= len(OURS)
    assert f"trainers is {host}/trainers/__init__.py" in printed and f"clip is {host}/clip/__init__.py" in printed
    assert f"datasets is {host}/datasets/__init__.py" in printed and "ours: []" in printed


# ---------------------------------------------------------------- installed


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is installed from, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("source") / "PromptReg"
    parts = ("trainers", "datasets", "minidassl", "configs", "scripts", "results", "setup.py", "requirements.txt",
             "README.md", "_promptreg.py", "pyproject.toml")
    for part in (ROOT / name for name in parts):
        if part.is_dir():
            shutil.copytree(part, folder / part.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif part.is_file():
            folder.mkdir(exist_ok=True)
            shutil.copy(part, folder)
    return folder


def install(folder, source, *options):
    """Make an environment that sees this one's packages and install into it; returns its Python and site-packages."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "parent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    run(python, ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                 "--disable-pip-version-check", *options, str(source)], folder)
    return python, site


@pytest.fixture(scope="module")
def installed(tmp_path_factory, source):
    return install(tmp_path_factory.mktemp("installed"), source)


def test_installed(installed, material, tmp_path):
    """Recipe 1: pip install, promptreg init, one import; the host's CoOp stays the host's and ours has another name."""
    python, site = installed
    host = make_host(tmp_path / "host", material, "first")
    run(python, ["-m", "promptreg", "init", "."], host)
    printed = train(python, host, material, [*OURS, "CoOp", "PromptReg.CoOp"])
    check(host, printed)
    assert printed.count("the host's own CoOp") == 1  # --trainer CoOp
    assert list((host / "output" / "PromptReg.CoOp").glob("prompt_learner/model.pth.tar-2"))
    assert f"promptreg is {site}/promptreg/__init__.py" in printed


def test_only_promptreg_is_installed(installed):
    _, site = installed
    top = {p.name for p in site.iterdir() if not p.name.endswith((".dist-info", ".pth", "__pycache__"))}
    assert top == {"promptreg", "_promptreg.py"}
    inside = {p.name for p in (site / "promptreg").iterdir() if p.is_dir()} - {"__pycache__"}
    assert {"clip", "regulate", "datasets", "minidassl", "configs", "scripts"} <= inside
    assert not inside & {"tests", "trainers", "benchmarks", "docs"}
    for folder in ("configs", "scripts"):
        there = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.suffix in (".yaml", ".sh")}
        assert there == {p.relative_to(site / "promptreg" / folder) for p in (site / "promptreg" / folder).rglob("*")
                         if p.suffix in (".yaml", ".sh")}
    for data in [*(ROOT / "trainers").rglob("*.safetensors"), *(ROOT / "datasets").rglob("*.json")]:
        part = data.relative_to(ROOT / "trainers") if data.is_relative_to(ROOT / "trainers") else data.relative_to(ROOT)
        assert (site / "promptreg" / part).is_file()


def test_the_command_trains_in_any_directory(installed, material, tmp_path):
    python, _ = installed
    printed = run(python.parent / "promptreg", [
        "train", "--root", "data", "--seed", "1", "--trainer", "CoOp", "--dataset-config-file", "digits",
        "--config-file", "CoOp/demo", "--output-dir", "out", "MODEL.BACKBONE.NAME", str(material / "clip.safetensors"),
        "DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1"], tmp_path)
    assert "accuracy" in printed and (tmp_path / "out" / "result.json").is_file()


# In a folder whose own packages are poison: whoever imports one of them dies of it.
LOOK = """
import promptreg, promptreg.datasets, promptreg.utils.paths, sys
promptreg.register(override=True)
print(promptreg.__file__, promptreg.datasets.__file__, promptreg.utils.paths.packaged("configs"))
print([name for name in ("trainers", "datasets", "minidassl", "clip") if name in sys.modules])
sys.path = [folder for folder in sys.path if folder]
for name in ("trainers", "datasets", "minidassl"):
    try:
        __import__(name)
    except ImportError as error:
        print(error)
"""


def test_installed_in_place(source, material, tmp_path):
    """pip install -e: the same names, from the source folder, and nothing of the host's imported."""
    python, site = install(tmp_path / "environment", source, "-e")
    host = make_host(tmp_path / "host", material, "first")
    for name in ("trainers", "datasets", "clip"):
        (host / name / "__init__.py").write_text(f"raise SystemExit('{name} of the host was imported')")
    *_, files, imported, one, two, three = run(python, ["-c", LOOK], host).splitlines()
    assert files.split() == [f"{source}/trainers/__init__.py", f"{source}/datasets/__init__.py", f"{source}/configs"]
    assert imported == "[]"
    assert [one, two, three] == [f"No module named '{name}'" for name in ("trainers", "datasets", "minidassl")]


# ---------------------------------------------------------------- copied, and on PYTHONPATH


def copy(host):
    """Recipe 2's commands."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "trainers", host / "promptreg", ignore=ignore)
    for name in ("datasets", "minidassl", "configs", "scripts"):
        shutil.copytree(ROOT / name, host / "promptreg" / name, ignore=ignore)
    shutil.copytree(ROOT / "results" / "published", host / "promptreg" / "published", ignore=ignore)


def test_copied(material, tmp_path):
    """Recipe 2, with Dassl at hand, the import in the last line, and a host whose CTX_INIT is ProGrad's boolean."""
    host = make_host(tmp_path / "host", material, "last")
    copy(host)
    dassl = stand_in.build(tmp_path / "dassl")
    (dassl / "wilds.py").write_text("get_dataset = None")  # without it Dassl could not be imported above promptreg
    run(sys.executable, ["-m", "promptreg", "init", "."], host, [dassl])
    printed = train(sys.executable, host, material, [*OURS, "CoOp"], [dassl], HOST_CTX_INIT="boolean")
    check(host, printed)
    run(sys.executable, ["-c", "from promptreg.results.compare import published; assert published()"], host, [dassl])
    assert printed.count("the host's own CoOp") == 1 and f"promptreg is {host}/promptreg/__init__.py" in printed


def test_on_pythonpath(material, tmp_path):
    """Recipe 3: nothing installed and nothing copied; scripts and configs by promptreg init."""
    host = make_host(tmp_path / "host", material, "first")
    run(sys.executable, ["-m", "promptreg", "init", "."], host, [ROOT / "dropin"])
    add_method(host)
    printed = train(sys.executable, host, material, [*OURS, "AnchoredCoOp"], [ROOT / "dropin"])
    check(host, printed)
    path, = (host / "output" / "AnchoredCoOp").glob("*/model.pth.tar-2")
    assert torch.load(path, weights_only=True)["trainer"] == "AnchoredCoOp"
    assert f"promptreg is {ROOT}/trainers/__init__.py" in printed
