"""All runs as a data frame: a row a run, unrounded, typed columns."""
import json
import os

import pandas
import pytest

from trainers.errors import InputError
from trainers.results.frame import COLUMNS, results


def put(folder, method="CoOp", dataset="EuroSAT", seed=1, shots=16, accuracy=100 * 2 / 3, figures=None, **more):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({
        "trainer": method, "dataset": dataset, "classes": "all", "shots": shots, "seed": seed, "backbone": "ViT-B/16",
        "results": {"test": {"accuracy": accuracy, **(figures or {})}}, "seconds": 61.5, "peak_memory_mib": 900.0,
        "versions": {"promptreg": "0.2.0", "torch": "2.4"}, "git": "abc", "identity": {"weights": "5" * 32},
        "command": ["x", "--config-file", "a/rn50.yaml"], **more}))


def test_each_run_is_a_row_of_unrounded_figures(tmp_path):
    put(tmp_path / "a", date="2026-11-26T11:00:00+01:00", notes=["one", "two"],
        figures={"macro_f1": 200 / 7, "correct": 2, "total": 3})
    put(tmp_path / "b", "ZeroshotCLIP", "Digits", 2, -1, 50.0)
    os.utime(tmp_path / "b" / "result.json", (86400, 86400))
    found = results(tmp_path)
    assert list(found.columns) == list(COLUMNS) and len(found) == 2
    first, second = (row for _, row in found.iterrows())
    assert (first.method, first.config, first.dataset, first.setting, first.split) == (
        "CoOp", "rn50", "eurosat", "few_shot", "test")
    assert first.accuracy == 100 * 2 / 3 and first.macro_f1 == 200 / 7 and (first.correct, first.total) == (2, 3)
    assert (first.shots, first.seed, first.backbone, first.weights) == (16, 1, "ViT-B/16", "5" * 32)
    assert first.notes == "one; two" and first.path == str(tmp_path / "a") and first.promptreg == "0.2.0"
    assert first.date == pandas.Timestamp("2026-11-26 10:00", tz="UTC")
    assert second.date == pandas.Timestamp("1970-01-02", tz="UTC"), "not recorded: when the file was written"
    assert second.shots == 0 and pandas.isna(second.macro_f1) and pandas.isna(second.total)
    assert found.groupby("method").accuracy.mean().to_dict() == {"CoOp": 100 * 2 / 3, "ZeroshotCLIP": 50.0}


def test_the_package_can_be_called(tmp_path):
    """As promptreg.results("output/"), which the package of that name would hide if it could not."""
    import trainers.results.table
    put(tmp_path / "a")
    assert trainers.results(tmp_path).equals(results(tmp_path))
    assert trainers.results.table.tables, "and it is a package still"


def test_several_folders_and_none_that_is_finished(tmp_path):
    put(tmp_path / "a" / "run")
    put(tmp_path / "b" / "run", seed=2)
    (tmp_path / "empty").mkdir()
    assert list(results([tmp_path / "a", str(tmp_path / "b")]).seed) == [1, 2]
    empty = results(tmp_path / "empty")
    assert len(empty) == 0 and empty.dtypes.astype(str).to_dict() == results(tmp_path).dtypes.astype(str).to_dict()


@pytest.mark.parametrize("change", [{"seed": 2 ** 70}, {"figures": {"macro_f1": "x"}}, {"figures": {"total": 1.5}},
                                    {"figures": {"confusion": {"cat": {"dog": -1}}}},
                                    {"figures": {"confusion": ["cat"]}}], ids=str)
def test_figures_that_are_none_are_refused(change, tmp_path):
    put(tmp_path / "run", **change)
    with pytest.raises(InputError, match="not a whole result"):
        results(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        results(tmp_path / "nowhere")
