"""docs/new-method.md, done as it says: the page's module and yaml, trained on the demo and evaluated on new classes."""
import json
import re
import subprocess
import sys

from support.paths import ROOT


def test_the_page_adds_a_method(tmp_path):
    page = (ROOT / "docs" / "new-method.md").read_text()
    files = re.findall(r"`((?:trainers|configs)/[^`]+)`:\n\n```\w+\n(.*?)```", page, re.S)
    (module_name, module), (config_name, config) = files
    assert module_name == "trainers/anchored.py" and config_name == "configs/trainers/AnchoredCoOp/demo.yaml"
    (tmp_path / "anchored.py").write_text(module.replace("from .", "from trainers."))
    (tmp_path / "demo.yaml").write_text(config)
    (tmp_path / "run.py").write_text("import sys\nimport anchored\nfrom trainers.training.run import main\n"
                                     "sys.exit(main())\n")

    def run(output, *more):
        subprocess.run([sys.executable, str(tmp_path / "run.py"), "--trainer", "AnchoredCoOp", "--seed", "1", "--root",
                        str(tmp_path / "data"), "--config-file", str(tmp_path / "demo.yaml"), "--dataset-config-file",
                        str(ROOT / "configs/datasets/digits.yaml"), "--output-dir", str(tmp_path / output), *more,
                        "DATASET.NUM_SHOTS", "2"], check=True, cwd=tmp_path, capture_output=True,
                       env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin",
                            "PROMPTREG_CACHE": str(tmp_path / "cache")})
        return json.loads((tmp_path / output / "result.json").read_text())["results"]["test"]["total"]

    base = run("train", "DATASET.SUBSAMPLE_CLASSES", "base")
    new = run("test", "--eval-only", "--model-dir", str(tmp_path / "train"), "--load-epoch", "2",
              "DATASET.SUBSAMPLE_CLASSES", "new")
    assert base > 200 and new > 200
