"""Limits declared beside keys: one check, wherever a method's section is read."""
import pytest
from yacs.config import CfgNode

import trainers  # noqa: F401  (brings minidassl where there is no Dassl)
from dassl.config import defaults as defaults_of_dassl
from dassl.config import get_cfg_default
from trainers.compat.registry import TRAINERS
from trainers.config import checks
from trainers.config.defaults import _DECLARED, _LIMITS, declare, defaults_of, limits, section_cfg
from trainers.config.limits import PRECISIONS, Limited, at_least, one_of
from trainers.errors import InputError


@pytest.fixture
def section():
    declare("LIMITED_KEYS", SIZE=Limited(3, at_least(2, " (two ends)")), FREE=1, PREC=Limited("fp32", PRECISIONS))
    yield "LIMITED_KEYS"
    del _DECLARED["LIMITED_KEYS"], _LIMITS["LIMITED_KEYS"], defaults_of_dassl._C.TRAINER["LIMITED_KEYS"]


def config(section, **keys):
    return CfgNode({"TRAINER": {section: keys}})


def test_a_section_is_checked_where_it_is_read(section):
    assert defaults_of(section) == {"SIZE": 3, "FREE": 1, "PREC": "fp32"}
    assert section_cfg(config(section, SIZE=2, FREE=-9), section) == {"SIZE": 2, "FREE": -9, "PREC": "fp32"}
    with pytest.raises(InputError, match=r"^TRAINER.LIMITED_KEYS.SIZE is 1: it must be at least 2 \(two ends\)$"):
        section_cfg(config(section, SIZE=1), section)
    with pytest.raises(InputError, match="PREC is 'fp8': it must be one of fp32, fp16, amp, bf16"):
        section_cfg(config(section, PREC="fp8"), section)


def test_train_py_names_where_the_value_came_from(section):
    cfg = get_cfg_default()
    cfg.TRAINER[section].SIZE = 0
    with pytest.raises(InputError, match=r"^mine.yaml: TRAINER.LIMITED_KEYS.SIZE is 0: it must be at least 2"):
        checks.check_values(cfg, {"TRAINER.LIMITED_KEYS.SIZE": "mine.yaml"})


@pytest.mark.parametrize("value", [["a"], "words", None, float("nan"), float("inf")])
def test_values_of_other_types_are_outside_a_limit(value):
    assert not at_least(0).accepts(value)


def test_values_that_cannot_be_hashed_are_none_of_the_names():
    assert one_of("a").accepts("a") and not one_of("a").accepts({"a": 1})


def test_every_precision_has_its_limit():
    sections = {cls.METHOD.SECTION for cls in TRAINERS.entries.values() if hasattr(cls, "METHOD")} | {"GRAM"}
    assert len(sections) > 7
    assert {f"TRAINER.{name}.PREC" for name in sections} <= set(limits())
