"""Names and config keys that we and a host repository both lay claim to."""
import sys

import pytest
from yacs.config import CfgNode

import trainers
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import Registry
from trainers.compat.registry import SharedRegistry
from trainers.config.defaults import section_cfg


def classes(*names):
    return [type(name, (), {}) for name in names]


def test_a_name_that_the_host_holds_stays_the_hosts():
    registry = Registry("X")
    hosts, ours = classes("CoOp", "CoOp")
    registry.register()(hosts)
    shelf = SharedRegistry(registry)
    assert shelf.add(ours) is ours
    assert registry.get("CoOp") is hosts and registry.get("PromptReg.CoOp") is ours


@pytest.mark.parametrize("decorator", [True, False])
def test_a_name_that_the_host_registers_later_becomes_the_hosts(decorator):
    registry = Registry("X")
    hosts, ours, second = classes("CoOp", "CoOp", "CoOp")
    SharedRegistry(registry).add(ours)
    assert registry.get("CoOp") is ours and registry.registered_names() == ["CoOp"]
    if decorator:
        assert registry.register()(hosts) is hosts
    else:
        registry.register(hosts)
    assert registry.get("CoOp") is hosts and registry.get("PromptReg.CoOp") is ours
    with pytest.raises(KeyError):  # the host's own mistakes stay mistakes
        registry.register(second)


def test_register_takes_names_only_with_override(monkeypatch):
    ours = TRAINER_REGISTRY.get("CoOp")
    hosts = type("CoOp", (), {})
    monkeypatch.setattr(TRAINER_REGISTRY, "_obj_map", dict(TRAINER_REGISTRY._obj_map))
    TRAINER_REGISTRY.register(hosts)
    trainers.register()
    assert TRAINER_REGISTRY.get("CoOp") is hosts
    trainers.register(override=True, datasets=False)
    assert TRAINER_REGISTRY.get("CoOp") is ours


def test_register_brings_the_datasets(monkeypatch):
    import datasets
    from dassl.data.datasets import DATASET_REGISTRY
    monkeypatch.setattr(DATASET_REGISTRY, "_obj_map", {})
    trainers.register(datasets=False)
    assert DATASET_REGISTRY.registered_names() == []
    hosts = type("OxfordPets", (), {})
    DATASET_REGISTRY.register(hosts)
    trainers.register()
    assert set(datasets.CLASSES) <= set(DATASET_REGISTRY.registered_names())
    assert DATASET_REGISTRY.get("OxfordPets") is hosts
    # a host's dataset is not judged by our dataset's needs
    datasets.check(CfgNode({"DATASET": {"NAME": "OxfordPets", "ROOT": "nowhere", "NUM_SHOTS": 1}, "SEED": 1}))
    trainers.register(override=True)
    assert DATASET_REGISTRY.get("OxfordPets") is datasets.CLASSES["OxfordPets"]


def host_cfg(ctx_init, **more):
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CfgNode({"N_CTX": 16, "CTX_INIT": ctx_init, "PREC": "fp16", **more})
    return cfg


@pytest.mark.parametrize("default", ["", False, "a picture of", True])
@pytest.mark.parametrize("wanted", ["a photo of a", True, False, None])
def test_ctx_init_may_be_words_or_a_boolean(default, wanted, tmp_path):
    words = "null" if wanted is None else wanted
    (tmp_path / "one.yaml").write_text(f"TRAINER:\n  COOP:\n    CTX_INIT: {words}\n    W: 2.0\n")
    cfg = host_cfg(default)
    cfg.merge_from_file(str(tmp_path / "one.yaml"))
    assert cfg.TRAINER.COOP.CTX_INIT == wanted and cfg.TRAINER.COOP.W == 2.0
    cfg = host_cfg(default)
    cfg.merge_from_list(["TRAINER.COOP.CTX_INIT", str(wanted)])
    assert cfg.TRAINER.COOP.CTX_INIT == wanted
    cfg = host_cfg(default)
    cfg.merge_from_list(["TRAINER.COOP.N_CTX", 4])
    assert cfg.TRAINER.COOP.CTX_INIT == default and cfg.TRAINER.COOP.N_CTX == 4


def test_what_is_no_key_or_of_another_type_is_still_refused():
    cfg = host_cfg("words")
    with pytest.raises((KeyError, AssertionError), match="NO_SUCH"):
        cfg.merge_from_list(["TRAINER.COOP.NO_SUCH", 1])
    with pytest.raises(ValueError):
        cfg.merge_from_list(["TRAINER.COOP.CTX_INIT", None, "TRAINER.COOP.N_CTX", "many"])
    assert cfg.TRAINER.COOP.CTX_INIT == "words"  # also after a merge that failed


def test_the_hosts_values_win_over_our_defaults():
    cfg = host_cfg("", N_CTX=3)
    assert section_cfg(cfg, "COOP").N_CTX == 3 and section_cfg(cfg, "COOP").CLASS_TOKEN_POSITION == "end"
    del cfg.TRAINER["PROMPTSRC"]
    assert section_cfg(cfg, "PROMPTSRC").GPA_MEAN == 15
    cfg.LOSS = CfgNode({"NAME": "xe"})
    cfg.merge_from_list(["LOSS.NAME", "prograd"])
    assert cfg.LOSS.T == 1.0 and cfg.LOSS.NAME == "prograd"


def test_sections_that_the_host_added_to_dassls_defaults_before_us_stay(monkeypatch):
    from dassl.config import defaults as defaults_of_dassl
    from trainers.config import defaults
    monkeypatch.setattr(defaults, "_DECLARED", {})
    monkeypatch.setitem(defaults_of_dassl._C.TRAINER, "NEWONE", CfgNode({"N_CTX": 7}))
    defaults.declare("NEWONE", N_CTX=16, PREC="fp16")
    assert get_cfg_default().TRAINER.NEWONE == {"N_CTX": 7, "PREC": "fp16"}


def test_commands_parse_before_they_import(monkeypatch):
    monkeypatch.delitem(sys.modules, "_promptreg", raising=False)
    for argv, words, expected in ((["-m"], ["python", "-m", "trainers", "init", "."], True),
                                  (["-m"], ["python", "-m", "trainers.cli.doctor"], True),
                                  (["-m"], ["python", "-m", "pytest", "-m", "slow"], False),
                                  (["train.py"], ["python", "train.py", "-m", "trainers"], False),
                                  (["-c"], ["python", "-c", "import trainers"], False)):
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(sys, "orig_argv", words)
        assert trainers._command_starts() is expected, words
    monkeypatch.setitem(sys.modules, "_promptreg", trainers)  # the entry point has been imported
    assert trainers._command_starts()


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    assert trainers.PromptedCLIP.__name__ == "PromptedCLIP"
    with pytest.raises(AttributeError, match="no attribute 'Prompted'"):
        _ = trainers.Prompted
