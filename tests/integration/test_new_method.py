"""docs/new-method.md, done as it says: modules and a yaml, trained and evaluated; a model alone; wrapped by GRAM."""
import json
import re
import subprocess
import sys

import pytest
from support.paths import ROOT

PAGE = (ROOT / "docs" / "new-method.md").read_text()
MODULE, CONFIG, TANDEM, BLEND = re.findall(r"`((?:trainers|configs)/[^`]+)`:\n\n```\w+\n(.*?)```", PAGE, re.S)
ALONE, WRAPPED = re.findall(r":\n\n```python\n((?:model|register).*?)```", PAGE, re.S)
TRAINS_NOTHING = """
import trainers, dassl.engine, dassl.data  # the first brings minidassl where there is no Dassl
def refuse(*_):
    raise AssertionError("a trainer or a data manager was made")
dassl.engine.TrainerX.__init__ = dassl.data.DataManager.__init__ = refuse
import torch
from anchored import AnchoredCoOp
images = torch.randn(2, 3, 32, 32)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with the page's two files, and one that runs our command line with the method and its wrapped form."""
    assert MODULE[0] == "trainers/anchored.py" and CONFIG[0] == "configs/trainers/AnchoredCoOp/demo.yaml"
    (tmp_path / "anchored.py").write_text(MODULE[1].replace("from .", "from trainers."))
    (tmp_path / "demo.yaml").write_text(CONFIG[1])
    (tmp_path / "run.py").write_text(
        "import sys\nfrom anchored import AnchoredCoOp\nfrom trainers.base import compose, register\n"
        f"from trainers.gram import GRAM\nfrom trainers.training.run import main\n{WRAPPED}\nsys.exit(main())\n")
    return tmp_path


def python(folder, *words):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True, env={
        "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin",
        "PROMPTREG_CACHE": str(folder / "cache")})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def train(folder, output, trainer, *more):
    """Run the command line; returns the content of result.json."""
    python(folder, "run.py", "--trainer", trainer, "--seed", "1", "--root", folder / "data", "--config-file",
           folder / "demo.yaml", "--dataset-config-file", ROOT / "configs/datasets/digits.yaml", "--output-dir",
           folder / output, *more, "DATASET.NUM_SHOTS", "2")
    return json.loads((folder / output / "result.json").read_text())


def test_the_page_adds_a_method(folder):
    assert len(MODULE[1].splitlines()) < 25
    base = train(folder, "train", "AnchoredCoOp", "DATASET.SUBSAMPLE_CLASSES", "base")
    new = train(folder, "test", "AnchoredCoOp", "--eval-only", "--model-dir", folder / "train", "--load-epoch", "2",
                "DATASET.SUBSAMPLE_CLASSES", "new")
    assert base["results"]["test"]["total"] > 200 and new["results"]["test"]["total"] > 200


def test_its_model_works_alone(folder):
    """No trainer, no data: logits, in evaluation those of the unit features, and gradients to the prompts alone."""
    (folder / "alone.py").write_text(TRAINS_NOTHING + ALONE + """
assert logits.shape == (2, 3) and isinstance(model, torch.nn.Module)
with torch.no_grad():
    expected = model.clip.logit_scale * model.image_features(images) @ model.text_features().T
    torch.testing.assert_close(model.eval()(images), expected)
model.train().prepare_training()
loss, figures = model.loss(images, torch.tensor([0, 1]))
loss.backward()
assert [name for name, p in model.named_parameters() if p.grad is not None] == ["prompts.prompt_learner.ctx"]
print("done")
""")
    assert python(folder, "alone.py") == "done\n"


def test_gram_wraps_it_by_one_line(folder):
    """The run starts from the file's prompts, which its identity names, and its figures are another's."""
    done = train(folder, "gram", "GRAMAnchoredCoOp", "TRAINER.GRAM.META", "demo")
    assert done["identity"]["start"] and done["trainer"] == "GRAMAnchoredCoOp"
    python(folder, "-c", """
import torch
from trainers.meta.checkpoint import DEMO, read_meta
from trainers.training import checkpoint
start = read_meta(DEMO / "coop.safetensors")[0]["prompt_learner.ctx"]
end = checkpoint.read_prompts("gram/prompt_learner/model.pth.tar-2")[0]["prompt_learner.ctx"]
assert 0 < (end - start).norm() < start.norm() / 2
""")


def test_the_page_s_second_method_trains_both_towers_by_its_rule(folder):
    """Its visual vectors and words have moved from their start, and with SHARE 0 the words move otherwise."""
    assert TANDEM[0] == "trainers/tandem.py"
    (folder / "tandem.py").write_text(TANDEM[1].replace("from .", "from trainers."))
    (folder / "demo.yaml").write_text(CONFIG[1].replace("ANCHORED:\n    PULL: 0.5", "TANDEM:\n    SHARE: 1.0"))
    run = (folder / "run.py").read_text()
    (folder / "run.py").write_text(run.replace("import sys\n", "import sys\nimport tandem\n"))
    for share in ("1.0", "0.0"):
        assert train(folder, share, "Tandem", "TRAINER.TANDEM.SHARE", share)["results"]["test"]["total"] > 200
    python(folder, "-c", """
import trainers, torch
from trainers.training import checkpoint
whole, none = (checkpoint.read_prompts(f"{share}/prompt_learner/model.pth.tar-2")[0] for share in ("1.0", "0.0"))
assert list(whole) == ["prompt_learner.ctx", "image_encoder.VPT",
                       "image_encoder.transformer.resblocks.1.VPT_shallow"], list(whole)
assert not torch.equal(whole["prompt_learner.ctx"], none["prompt_learner.ctx"])
""")


def test_the_page_s_wrapper_stands_over_a_method_and_below_ours(folder):
    """On base and, loaded, on new classes; what it has no effect on is refused in its line."""
    assert BLEND[0] == "trainers/blend.py" and len(BLEND[1].splitlines()) <= 33
    (folder / "blend.py").write_text(BLEND[1].replace("from .", "from trainers."))
    run = (folder / "run.py").read_text()
    (folder / "run.py").write_text(run.replace("import sys\n", "import sys\nimport blend\n"))
    name = "DePT+Blend+AnchoredCoOp"
    base = train(folder, "base", name, "DATASET.SUBSAMPLE_CLASSES", "base")
    new = train(folder, "new", name, "--eval-only", "--model-dir", folder / "base", "--load-epoch", "2",
                "DATASET.SUBSAMPLE_CLASSES", "new")
    assert base["trainer"] == new["trainer"] == name and new["results"]["test"]["total"] > 200
    python(folder, "-c", """
import blend, anchored
from trainers.training.composition import find
from trainers.compat.registry import TRAINERS
from trainers.errors import InputError
model = TRAINERS.entries[find("Blend+AnchoredCoOp")].METHOD.from_backbone("demo", ["zero", "one"])
assert (model.text_features() @ model.frozen.T).diag().min() > 0.2
try:
    find("Blend+CoCoOp")
    raise AssertionError("not refused")
except InputError as error:
    assert "has no effect" in str(error)
""")
