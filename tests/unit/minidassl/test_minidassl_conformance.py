"""The tables of docs/appendix/minidassl.md hold: what they say minidassl has is there, and what it has is in them."""
import importlib
import json
import re

import pytest
from support.minidassl_toy import toy_cfg
from support.paths import ROOT

import minidassl
from minidassl.config import get_cfg_default
from minidassl.engine import build_trainer
from trainers.config.defaults import defaults_of

TABLES = (ROOT / "docs" / "appendix" / "minidassl.md").read_text()
ROWS = re.findall(r"^\| `([\w.]+)` \|.*\| (yes|no) \|$", TABLES, re.MULTILINE)
PACKAGES = ["config", "data", "data.datasets", "data.transforms", "engine", "evaluation", "metrics", "modeling",
            "optim", "utils"]


def has(name):
    """Return whether ``dassl.x.Name``, read as minidassl's, can be imported."""
    module, _, attribute = name.replace("dassl", "minidassl", 1).rpartition(".")
    if hasattr(importlib.import_module(module), attribute):
        return True
    try:
        importlib.import_module(f"{module}.{attribute}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("name, answer", [row for row in ROWS if row[0].startswith("dassl.")])
def test_importable_names(name, answer):
    assert has(name) == (answer == "yes")


def test_tables_name_every_public_name_of_the_packages():
    table = {name for name, answer in ROWS if answer == "yes"}
    for package in PACKAGES:
        module = importlib.import_module(f"minidassl.{package}")
        public = {name for name, value in vars(module).items() if not name.startswith("_")
                  and getattr(value, "__module__", "").startswith("minidassl.")}
        assert {f"dassl.{package}.{name}" for name in public} <= table


@pytest.fixture(scope="module")
def holders(tmp_path_factory):
    """A trained toy trainer, its data manager and its dataset, by the class names that the table uses."""
    trainer = build_trainer(toy_cfg(tmp_path_factory.mktemp("toy")))
    trainer.train()
    return {"TrainerX": trainer, "DataManager": trainer.dm, "DatasetBase": trainer.dm.dataset}


@pytest.mark.parametrize("name, answer", [row for row in ROWS if not row[0].startswith("dassl.")])
def test_names_of_the_base_classes(name, answer, holders):
    holder, attribute = name.split(".")
    assert hasattr(holders[holder], attribute) == (answer == "yes")


def test_optim_keys_types_and_version():
    recorded = json.loads((ROOT / "tests" / "golden" / "lr_schedules.json").read_text())
    optim = get_cfg_default().OPTIM
    for case in recorded.values():
        assert set(case["cfg"]) == set(optim) - set(defaults_of("OPTIM"))  # which methods have added
        for key, value in case["cfg"].items():
            same = {tuple: list}.get(type(optim[key]), type(optim[key]))  # JSON knows no tuples
            assert isinstance(value, same) or (same is float and isinstance(value, int)), key
    assert minidassl.__version__ == "0.6.3"
