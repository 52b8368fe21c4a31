"""What the report says of tables, runs and published figures, before it is HTML."""
import html.parser
import json
import subprocess
import sys

import pytest
from support.paths import ROOT

from trainers.cli.results import main
from trainers.results import report
from trainers.results.cell import Cell
from trainers.results.classes import class_rows, confusion_rows
from trainers.results.collect import collect
from trainers.results.published import BENCHMARK_DATASETS, DATASETS
from trainers.results.table import tables
from trainers.training.result import figures

NAMES = {key: name for name, (key, _) in DATASETS.items()}


class Evaluator:
    """Dassl's evaluator after two batches of three classes."""

    _y_true, _y_pred = [[0, 0, 1], [1, 1, 2]], [[0, 1, 1], [0, 2, 2]]


def put(folder, method, dataset, accuracy, seed=1, classes="all", **more):
    folder = folder / dataset / method / classes / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({
        "trainer": method, "dataset": NAMES[dataset], "classes": classes, "shots": 16, "seed": seed,
        "backbone": "ViT-B/16", "results": {"test": {"accuracy": accuracy, **more}},
        "identity": {"dataset": f"content of {dataset}", "weights": "5be5880e" * 4},
        "date": "2026-11-26T10:00:00+00:00", "command": ["x", "--config-file", "a/c.yaml"]}))


def test_confusions_are_recorded_and_shown(tmp_path):
    found = figures(Evaluator(), ["cat", "dog", "cow"])
    assert found["confusion"] == {"cat": {"dog": 1}, "dog": {"cat": 1, "cow": 1}}
    put(tmp_path, "CoOp", "dtd", **{key: found[key] for key in ("accuracy", "per_class", "confusion")})
    run, = collect([tmp_path])
    assert [[text for text, _, _ in row] for row in class_rows(run)] == [
        ["dog", "33.3", "1", "3", "cat (1), cow (1)"], ["cat", "50.0", "1", "2", "dog (1)"],
        ["cow", "100.0", "1", "1", ""]]
    matrix = confusion_rows(run)
    assert matrix["names"] == ["cat", "dog", "cow"]
    assert [[count for count, _ in cells] for _, cells in matrix["rows"]] == [[1, 1, 0], [1, 1, 1], [0, 0, 1]]
    assert matrix["rows"][0][1][0][1] == 0.5


def test_a_run_without_classes_has_no_table_of_them(tmp_path):
    put(tmp_path, "CoOp", "dtd", 50.0)
    run, = collect([tmp_path])
    assert class_rows(run) == [] and confusion_rows(run) is None
    put(tmp_path, "CoOp", "eurosat", 50.0, confusion={}, per_class={
        f"class {n}": {"correct": 1, "total": 2} for n in range(200)})
    many, = collect([tmp_path / "eurosat"])
    assert confusion_rows(many) is None, "200 classes are no matrix to look at"
    shown = report.details(many)
    assert len(shown["classes"]) == 100 and shown["left_out"] == 100


def test_the_average_stands_beside_the_method_and_the_best_is_marked(tmp_path):
    for method, dtd, eurosat in (("CoOp", 70.0, 60.004), ("ProGrad", 50.0, 90.0), ("PromptSRC", 69.0, 60.0)):
        put(tmp_path, method, "dtd", dtd)
        put(tmp_path, method, "eurosat", eurosat)
    made, = tables(collect([tmp_path]))
    part, = report.results_table(made)["parts"]
    assert part["heads"] == ["Method", "Average", "DTD", "EuroSAT"]
    assert [[text for text, _, best in row if best] for row in part["rows"]] == [["70.00"], ["70.00", "90.00"], []]
    assert report.with_best([("one", [Cell.of({1: 50.0}), "x"])])[0][1][2] is False, "alone it is no best"
    values = {"a": 60.001, "b": 60.004, "c": 59.9}
    tie = report.with_best([(name, [Cell.of({1: value})]) for name, value in values.items()])
    assert [row[1][2] for row in tie] == [True, True, False], "who reads 60.00 twice sees a tie"


class Text(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.text = ""
        self.feed(text)

    def handle_data(self, data):
        self.text += " " + data


def test_the_page_names_clip_date_and_notes(tmp_path):
    put(tmp_path, "CoOp", "dtd", 50.0)
    put(tmp_path, "CoOp", "dtd", 50.0, classes="base")
    runs = collect([tmp_path])
    text = " ".join(Text(report.page(runs, tables(runs), notes=["a reason"])).text.split())
    for words in ("CLIP ViT-B/16, weights 5be5880e", "Runs 2, finished 2026-11-26", "a reason", "2026-11-26 10:00"):
        assert words in text
    heads = report.runs_table(runs)["heads"]
    assert heads.index("Accuracy") < heads.index("Run") and heads[1] == "Accuracy"


@pytest.fixture
def eleven(tmp_path):
    for dataset in BENCHMARK_DATASETS:
        for classes, accuracy in (("base", 85.0), ("new", 76.0)):
            put(tmp_path, "PromptSRC", dataset, accuracy, classes=classes)
    return str(tmp_path)


def test_compare_shows_averages_and_all_datasets_on_request(eleven, capsys):
    assert main([eleven, "--compare", "published"]) == 0
    short = capsys.readouterr()
    assert "average over 11 datasets beside published figures" in short.out and "+0.74" in short.out
    assert short.out.count("difference") == 2 and "--details has every dataset" in short.err
    assert main([eleven, "--compare", "published", "--details"]) == 0
    every = capsys.readouterr()
    assert every.out.count("difference") == 6 and "beside published" not in every.out and "--details" not in every.err


def test_averages_that_nobody_published_get_no_block(tmp_path, capsys):
    for dataset in BENCHMARK_DATASETS[:2]:
        for classes in ("base", "new"):
            put(tmp_path, "PromptSRC", dataset, 80.0, classes=classes)
    assert main([str(tmp_path), "--compare", "published"]) == 0
    out = capsys.readouterr().out
    assert "Base rerun" in out and "beside published" not in out


@pytest.mark.parametrize("module", ["results", "gram_browse"])
def test_the_parser_needs_no_torch(module):
    """As the command imports it: without running the package's ``__init__``, which registers all trainers."""
    code = f"""if True:
        import importlib, sys, types
        package = types.ModuleType("trainers")
        package.__path__ = [{str(ROOT / "trainers")!r}]
        sys.modules["trainers"] = package
        importlib.import_module("trainers.cli.{module}").parser()
        print(sorted({{"torch", "pandas", "jinja2", "numpy"}} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
