"""Tables say what numpy says of the JSON; published figures, gaps, pictures and the report page are right."""
import csv
import io
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from support import browser

from trainers.cli.results import main
from trainers.config.build import get_cfg_default
from trainers.results import compare, plots, render, report
from trainers.results.cell import Cell
from trainers.results.collect import collect
from trainers.results.identity import following
from trainers.results.line import epochs_by_shots
from trainers.results.notes import texts
from trainers.results.published import BENCHMARK_DATASETS, DATASETS
from trainers.results.table import tables
from trainers.sweep.command import print_tables
from trainers.sweep.plan import plan

NAMES = {key: name for name, (key, _) in DATASETS.items()}
EPOCHS = "".join(f"epoch [{e}/9] batch [5/5] time 0.1 (0.1) data 0.0 (0.0) loss {3 / e:.4f} ({3.3 / e:.4f}) lr 1e-3\n"
                 for e in range(1, 10))


def put(root, folder, method, dataset, classes, seed, accuracy, shots=16, backbone="ViT-B/16", config="c",
        per_class=None, words=(), text="OPTIM: <&>", split="test"):
    """Write one run's result.json and log; ``words`` end its command line, ``text`` is its config."""
    path = Path(root) / folder / f"seed{seed}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "log.txt").write_text(EPOCHS)
    (path / "result.json").write_text(json.dumps({
        "trainer": method, "dataset": NAMES[dataset], "classes": classes, "shots": shots, "seed": seed,
        "backbone": backbone, "results": {split: {"accuracy": accuracy, "per_class": per_class or {}}},
        "seconds": 61.4, "peak_memory_mib": 900.0, "versions": {"python": "3.12"}, "git": "abc",
        "identity": {"dataset": f"content of {dataset}", "weights": f"weights of {backbone}"},
        "config": text, "command": ["x", "--config-file", f"a/{config}.yaml", *words]}))


def base2new(root, method, dataset, seed, base, new, config="c", **more):
    for part, classes, accuracy in (("train_base", "base", base), ("test_new", "new", new)):
        put(root, f"base2new/{part}/{dataset}/shots_16/{method}/{config}", method, dataset, classes, seed, accuracy,
            config=config, **more)


@pytest.fixture
def tree(tmp_path):
    """Runs of three methods in all settings, with accuracies from a fixed generator: (folder, {run: accuracy})."""
    draw, known = np.random.default_rng(3), {}
    root = tmp_path / "output"
    classes = {name: {"correct": n + 1, "total": 9} for n, name in enumerate("abc")}
    for dataset in ("dtd", "eurosat", "digits"):
        for seed in (1, 2, 3):
            for method in ("ZeroshotCLIP", "PromptSRC", "ProGrad"):
                base, new = draw.uniform(40, 95, 2)
                known[method, dataset, seed] = base, new
                base2new(root, method, dataset, seed, base, new, per_class=classes)
            for shots in (1, 4, 16):
                config = {1: "rn50_ep50", 4: "rn50_ep100", 16: "rn50"}[shots]
                known["ProGrad", dataset, shots, seed] = draw.uniform(40, 95)
                put(root, f"{dataset}/ProGrad/{config}_{shots}shots/nctx16_cscFalse_ctpend", "ProGrad", dataset, "all",
                    seed, known["ProGrad", dataset, shots, seed], shots, config=config)
        put(root, f"ZeroshotCLIP/vit_b16/{dataset}", "ZeroshotCLIP", dataset, "all", 1, 44.0, -1, config="vit_b16")
    for seed in (1, 2):
        put(root, "imagenet/PromptSRC/c_16shots", "PromptSRC", "imagenet", "all", seed, 70.0 + seed)
        for dataset in ("dtd", "ucf101", "imagenet_a", "imagenet_r"):
            known["xd", dataset, seed] = draw.uniform(40, 95)
            put(root, f"evaluation/PromptSRC/c_16shots/{dataset}", "PromptSRC", dataset, "all", seed,
                known["xd", dataset, seed], -1)
    return root, known


def printed(text):
    """Return {(title, method, part, column): (mean, spread)} as printed in Markdown."""
    found = {}
    for block in text.split("\n\n**"):
        title = block.lstrip("*").split(".**")[0]
        lines = [[cell.strip() for cell in line.strip("|").split("|")]
                 for line in block.splitlines() if line.startswith("|")]
        heads, method = lines[0], None
        for line in lines[2:]:
            method = line[0] or method
            first = 2 if heads[1] == "" else 1
            for head, cell in zip(heads[first:], line[first:], strict=True):
                found[title, method, line[1] if first == 2 else "", head] = tuple(cell.split(" ± "))
    return found


def test_tables_agree_with_numpy_to_the_last_digit(tree, capsys):
    root, known = tree
    assert main([str(root), "--format", "markdown"]) == 0
    cells = printed(capsys.readouterr().out)

    def text(values):
        return f"{np.mean(values):.2f}", f"{np.std(values):.2f}"
    short = {"dtd": "DTD", "eurosat": "EuroSAT", "digits": "Digits"}
    for method in ("ZeroshotCLIP", "PromptSRC", "ProGrad"):
        # [dataset, seed, part]
        values = np.array([[known[method, dataset, seed] for seed in (1, 2, 3)] for dataset in short])
        h = 2 * values.prod(-1) / values.sum(-1)
        for number, name in enumerate(short.values()):
            key = "Base-to-new, 16 shots", method
            assert cells[(*key, "Base", name)] == text(values[number, :, 0])
            assert cells[(*key, "New", name)] == text(values[number, :, 1])
            base, new = values[number].mean(0)
            assert cells[(*key, "H", name)] == (f"{2 * base * new / (base + new):.2f}", f"{h[number].std():.2f}")
        assert cells[(*key, "Base", "Average")] == text(values[:, :, 0].mean(0))
        base, new = values.mean((0, 1))
        assert cells[(*key, "H", "Average")][0] == f"{2 * base * new / (base + new):.2f}"
    for shots in (1, 4, 16):
        values = np.array([[known["ProGrad", d, shots, seed] for seed in (1, 2, 3)] for d in short])
        for number, name in enumerate(short.values()):
            column = "1 shot" if shots == 1 else f"{shots} shots"
            assert cells["Few-shot", "ProGrad", column, name] == text(values[number])
    assert cells["Few-shot", "ZeroshotCLIP", "zero-shot", "DTD"] == ("44.00",)
    for title, targets in (("Cross-dataset", ("dtd", "ucf101")),
                           ("Domain generalization", ("imagenet_a", "imagenet_r"))):
        values = np.array([[known["xd", d, seed] for seed in (1, 2)] for d in targets])
        row = next(key for key in cells if key[0].startswith(title))[0], "PromptSRC", ""
        assert cells[(*row, "ImageNet")] == ("71.50", "0.50")
        assert cells[(*row, "Average")] == text(values.mean(0))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_cuts_no_figure_off(width, tree):
    made = tables(collect([tree[0]]), ["base2new"])[0]
    said = {}
    for wide in (width, 1000):
        console = Console(width=wide, file=io.StringIO(), highlight=False)
        render.terminal(made, console)
        said[wide] = console.file.getvalue()
    body = [line for line in said[width].splitlines() if line[:1] in "┃│"]
    assert max(map(len, body)) <= width and "…" not in said[width]
    assert sorted(re.findall(r"[\d.]+ ± [\d.]+", said[width])) == sorted(re.findall(r"[\d.]+ ± [\d.]+", said[1000]))
    assert sum("┃ Method" in line for line in body) > 1 and said[width].count("PromptSRC") == len(
        [line for line in body if "┃ Method" in line])


def test_long_names_give_way_to_figures(tmp_path, monkeypatch):
    for seed in (1, 2):
        base2new(tmp_path, "PromptSRC", "dtd", seed, 90 + seed, 80 + seed)
    made, = tables(collect([tmp_path]))
    name = "vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets :smile:"
    monkeypatch.setattr(render, "grid", lambda *_: (["Method", "", "DTD"], [[name, "Base", "91.50 ± 0.50"]]))
    for width in (40, 80):
        console = Console(width=width, file=io.StringIO(), highlight=False, emoji=False)
        render.terminal(made, console)
        said = console.file.getvalue()
        assert "91.50 ± 0.50" in said and "…" not in said
        folded = "".join(line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│"))
        assert folded.replace(" ", "") == name.replace(" ", "")


def test_a_meta_training_fills_no_cell(tree, tmp_path):
    root, _ = tree
    count = len(collect([root]))
    folder = root / "gram" / "demo" / "unigram" / "demo" / "seed1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"trainer": "GRAM", "results": {"held_out": {"episodes": 3}}}))
    assert len(collect([root])) == count > 0


def test_interval_is_students(tree, capsys):
    root, known = tree
    assert main([str(root), "--setting", "base2new", "--format", "markdown", "--spread", "ci95"]) == 0
    values = [known["PromptSRC", "dtd", seed][0] for seed in (1, 2, 3)]
    half = 4.302652729911275 * np.std(values, ddof=1) / 3 ** 0.5
    assert f"{np.mean(values):.2f} ± {half:.2f}" in capsys.readouterr().out


def test_csv_is_unrounded(tree, capsys):
    root, known = tree
    assert main([str(root), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    row, = (r for r in rows if (r["method"], r["part"], r["dataset"]) == ("PromptSRC", "New", "eurosat"))
    values = [known["PromptSRC", "eurosat", seed][1] for seed in (1, 2, 3)]
    assert [float(v) for v in row["values"].split()] == values and abs(float(row["mean"]) - np.mean(values)) < 1e-12


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles(tree, tmp_path, capsys):
    assert main([str(tree[0]), "--format", "latex"]) == 0
    (tmp_path / "t.tex").write_text("\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
                                    f"{capsys.readouterr().out}\\end{{document}}\n")
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path,
                          capture_output=True)
    assert done.returncode == 0 and (tmp_path / "t.pdf").stat().st_size > 1000, done.stdout[-2000:]


def test_latex_is_well_formed(tree, capsys):
    assert main([str(tree[0]), "--format", "latex"]) == 0
    text = capsys.readouterr().out
    opened, closed = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(opened) == sorted(closed) and opened.count("table") == 4
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    for line in text.splitlines():
        if " & " in line:
            assert line.endswith(r"\\") and not re.search(r"(?<!\\)[%#_]", line)
    assert render.tex("a_b & 5% ± –") == r"a\_b \& 5\% $\pm$ --"


def test_compare_with_published(tmp_path, capsys):
    figures = compare.published()
    for dataset in BENCHMARK_DATASETS:
        for seed in (1, 2, 3):
            base2new(tmp_path, "PromptSRC", dataset, seed, 84.26 + 3 + 0.1 * seed, 76.10 + [-1, 0, 1][seed - 1])
    assert figures["base2new", "PromptSRC", "ViT-B/16", 16, "average", "new"]["mean"] == 76.10
    assert main([str(tmp_path), "--format", "markdown", "--compare", "published"]) == 0
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    average = {row[1] + str(number): row[-1] for number, row in enumerate(rows[2:])}
    assert list(average.values()) == ["87.46 ± 0.08", "84.26", "+3.20*", "84.24", "+3.22*", "76.10 ± 0.82", "76.10",
                                      "+0.00", "75.67", "+0.43", "81.39 ± 0.50", "79.97", "+1.42*", "79.73", "+1.66*"]
    aircraft = [row[rows[0].index("Aircraft")] for row in rows[2:]]
    assert aircraft[5:10] == ["76.10 ± 0.82", "–", "–", "36.60", "+39.50*"], "by dataset there is the rerun alone"
    for path in tmp_path.rglob("result.json"):
        if "ucf101" in str(path):
            path.unlink()
    assert main([str(tmp_path), "--format", "markdown", "--compare", "published"]) == 0
    out = capsys.readouterr().out
    assert "published" not in out and "84.24" not in out, "an average over ten datasets is not theirs"
    assert "base rerun" in out.lower()


@pytest.mark.parametrize("gap,theirs,marked", [(1.99, None, ""), (2.01, None, "*"), (2.7, 3 ** 0.5, ""),
                                               (2.9, 3 ** 0.5, "*"), (-2.01, None, "*")])
def test_the_star_stands_beyond_two_standard_errors(gap, theirs, marked):
    ours = Cell.of({1: 80.0 - 3 ** 0.5, 2: 80.0, 3: 80.0 + 3 ** 0.5})  # of standard error 1
    said = compare.difference(ours, {"mean": ours.mean - gap, "std": theirs})
    assert said == f"{gap:+.2f}{marked}"


@pytest.mark.parametrize("gap,said", [(0.0, "+0.00"), (0.0049, "+0.00"), (-0.0049, "+0.00"), (-0.006, "-0.01*")])
def test_no_star_stands_where_the_gap_rounds_to_nothing(gap, said):
    ours = Cell.of({1: 80.0, 2: 80.0, 3: 80.0})
    assert compare.difference(ours, {"mean": 80.0 - gap, "std": None}) == said


def test_markdown_renders_as_the_tables_that_it_is(tree, capsys):
    root, _ = tree
    assert main([str(root), "--format", "markdown"]) == 0
    text = capsys.readouterr().out
    page = MarkdownIt("commonmark").enable("table").render(text)
    found = [[[re.sub("<.*?>", "", cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
              for row in re.findall("<tr>(.*?)</tr>", one, re.DOTALL)]
             for one in re.findall("<table>(.*?)</table>", page, re.DOTALL)]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rules = [line for line in lines if set(line) <= set("|-: ")]
    written = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line not in rules]
    assert len(found) == len(rules) > 3 and [row for one in found for row in one] == written
    assert all(len({len(row) for row in one}) == 1 for one in found)
    assert "|" not in re.sub("<table>.*?</table>", "", page, flags=re.DOTALL)


def test_published_figures_have_sources_and_fit_together():
    figures = compare.published()
    assert len(figures) >= 50 and all(row["source"] and row["table"] for row in figures.values())
    for (setting, method, backbone, shots, dataset, part), row in figures.items():
        if part == "H":
            base, new = (figures[setting, method, backbone, shots, dataset, p]["mean"] for p in ("base", "new"))
            assert abs(2 * base * new / (base + new) - row["mean"]) < 0.02, (method, dataset)
    rerun = {part: np.mean([figures["base2new", "PromptSRC (rerun)", "ViT-B/16", 16, d, part]["mean"]
                            for d in BENCHMARK_DATASETS])
             for part in ("base", "new")}
    assert abs(rerun["base"] - 84.24) < 0.01 and abs(rerun["new"] - 75.67) < 0.01


def test_paired(tmp_path, capsys):
    from scipy.stats import wilcoxon
    draw = np.random.default_rng(1)
    gaps = draw.normal(1.0, 1.0, (4, 3))
    for number, dataset in enumerate(("dtd", "eurosat", "ucf101", "sun397")):
        for seed in (1, 2, 3):
            put(tmp_path, f"{dataset}/A", "A", dataset, "all", seed, 70 + gaps[number, seed - 1])
            put(tmp_path, f"{dataset}/B", "B", dataset, "all", seed, 70.0)
    put(tmp_path, "dtd/B", "B", "dtd", "all", 4, 10.0)  # without a partner
    result, = compare.paired(collect([tmp_path]), "A", "B")
    assert result.pairs == 12 and result.datasets == 4
    assert result.mean == pytest.approx(gaps.mean()) and result.p == pytest.approx(wilcoxon(gaps.ravel()).pvalue)
    assert result.low < result.mean < result.high and result.high - result.low < 3
    assert main([str(tmp_path), "--paired", "A", "C"]) == 2
    assert "there are no runs of both" in capsys.readouterr().err


def test_missing_runs_are_named(tmp_path, capsys, monkeypatch):
    for name in ("CFG", "SHOTS", "OUTPUT", "DATA", "SEEDS"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "o"
    for seed in (1, 2):
        base2new(root, "PromptSRC", "dtd", seed, 50, 50, config="demo")
    base2new(root, "PromptSRC", "eurosat", 1, 50, 50, config="demo")
    base2new(root, "PromptSRC", "eurosat", 2, 50, 50, config="demo")
    shutil.rmtree(root / "base2new/test_new/eurosat/shots_16/PromptSRC/demo/seed2")
    assert main([str(root), "--missing"]) == 0
    command = f"CFG=demo OUTPUT={root} SHOTS=16 bash scripts/promptsrc/base2new_test.sh eurosat 2"
    assert capsys.readouterr().out == f"{command}\n"
    base2new(root, "PromptSRC", "eurosat", 2, 50, 50, config="demo")
    assert main([str(root), "--missing"]) == 0
    assert capsys.readouterr().out == ""


def by_setting(root, *paths):
    return {table.setting: table for table in tables(collect(paths or [root]))}


def figures(table, column):
    """Return {(label, part): mean, or None} of a column."""
    cells = {(row.label, row.part): row.cells[table.columns.index(column)] for row in table.rows}
    return {key: cell and round(cell.mean, 4) for key, cell in cells.items()}


@pytest.mark.parametrize("words", [(), ("--eval-only", "--model-dir", "o/imagenet/PromptSRC/c_16shots/seed1")])
def test_the_source_is_no_target(words, tmp_path):
    put(tmp_path, "imagenet/PromptSRC/c_16shots", "PromptSRC", "imagenet", "all", 1, 70)
    for dataset, accuracy in (("imagenet", 71), ("dtd", 40), ("eurosat", 50)):
        put(tmp_path, f"evaluation/PromptSRC/c_16shots/{dataset}", "PromptSRC", dataset, "all", 1, accuracy, -1,
            words=words)
    made = by_setting(tmp_path)["xd"]
    assert made.columns == ["imagenet", "dtd", "eurosat", "average"]
    assert [round(cell.mean, 4) for cell in made.rows[0].cells] == [70, 40, 50, 45]
    assert any("ImageNet are left out" in note for note in texts(made.notes))


def test_only_the_source_that_was_trained_on_is_no_target(tmp_path):
    for dataset in ("imagenet", "dtd", "eurosat"):
        put(tmp_path, f"evaluation/PromptSRC/c_16shots/{dataset}", "PromptSRC", dataset, "all", 1, 40, -1,
            words=("--eval-only", "--model-dir", "o/dtd/PromptSRC/c_16shots/seed1"))
    assert by_setting(tmp_path)["xd"].columns == ["imagenet", "eurosat", "average"]


def test_folders_above_the_root_say_nothing(tmp_path):
    root = tmp_path / "evaluation" / "train_base_9shots" / "nctx4_cscTrue_ctpend" / "shots_1_4.0" / "out"
    put(root, "dtd/PromptSRC/c_16shots", "PromptSRC", "dtd", "all", 1, 40)
    put(root, "evaluation/PromptSRC/c_16shots/dtd", "PromptSRC", "dtd", "all", 1, 40, -1)
    below, above = collect([root])
    assert (below.setting, below.shots, below.variant) == ("few_shot", 16, "")
    assert (above.setting, above.shots, above.variant) == ("xd", 16, "")
    base2new(root, "PromptSRC", "dtd", 1, 50, 50)
    put(root, "base2new/a/dtd", "PromptSRC", "dtd", "base", 1, 99)  # the training's own figure wins
    assert figures(by_setting(root)["base2new"], "dtd")["PromptSRC", "Base"] == 50


@pytest.mark.parametrize("inside", ["evaluation", "evaluation/PromptSRC", "evaluation/PromptSRC/c_16shots/dtd/seed1"])
def test_evaluations_are_known_from_within(inside, tmp_path, monkeypatch):
    put(tmp_path, "evaluation/PromptSRC/c_16shots/dtd", "PromptSRC", "dtd", "all", 1, 40, -1, words=["--eval-only"])
    monkeypatch.chdir(tmp_path / inside)
    run, = collect(["."])
    assert (run.setting, run.shots) == ("xd", 16)


def test_backbone_and_shots_are_told_where_they_differ(tmp_path, capsys):
    base2new(tmp_path, "ZeroshotCLIP", "dtd", 1, 50, 50, shots=-1)
    base2new(tmp_path, "PromptSRC", "dtd", 1, 50, 50)
    made = by_setting(tmp_path)["base2new"]
    assert list(dict.fromkeys(row.label for row in made.rows)) == ["ZeroshotCLIP", "PromptSRC"]
    assert render.title(made) == "Base-to-new, DTD, 16 shots"
    base2new(tmp_path, "ProGrad", "dtd", 1, 50, 50, shots=4, backbone="RN50")
    made = by_setting(tmp_path)["base2new"]
    assert list(dict.fromkeys(row.label for row in made.rows)) == [
        "ZeroshotCLIP (ViT-B/16)", "ProGrad (RN50, 4 shots)", "PromptSRC (ViT-B/16, 16 shots)"]
    assert main([str(tmp_path), "--format", "csv"]) == 0
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert {(row["method"], row["backbone"], row["shots"]) for row in rows} == {
        ("ZeroshotCLIP", "ViT-B/16", "-1"), ("PromptSRC", "ViT-B/16", "16"), ("ProGrad", "RN50", "4")}


def test_zero_shot_run_with_shots_makes_no_difference(tmp_path):
    base2new(tmp_path, "ZeroshotCLIP", "dtd", 1, 50, 50, shots=16)
    base2new(tmp_path, "ProGrad", "dtd", 1, 50, 50, shots=4)
    made = by_setting(tmp_path)["base2new"]
    assert [row.label for row in made.rows[::3]] == ["ZeroshotCLIP", "ProGrad"]
    assert render.title(made) == "Base-to-new, DTD, 4 shots"


def test_averages_are_over_the_seeds_that_all_have(tmp_path, capsys):
    for seed, (base, new) in {1: (50, 40), 2: (90, 80), 3: (90, 80)}.items():
        base2new(tmp_path, "PromptSRC", "dtd", seed, base, new)
    base2new(tmp_path, "PromptSRC", "eurosat", 1, 40, 20)
    for seed, dataset in ((1, "dtd"), (2, "dtd"), (2, "eurosat"), (3, "eurosat")):
        put(tmp_path, f"{dataset}/PromptSRC/c_16shots", "PromptSRC", dataset, "all", seed, 10 * seed)
        put(tmp_path, f"evaluation/PromptSRC/c_16shots/{dataset}", "PromptSRC", dataset, "all", seed, 20 * seed, -1)
    made = by_setting(tmp_path)
    for setting, column, expected in (("base2new", "average", [45, 30, 36]), ("few_shot", "average", [20]),
                                      ("xd", "average", [40]), ("base2new", "dtd", [230 / 3, 200 / 3, 71.3178])):
        assert list(figures(made[setting], column).values()) == pytest.approx(expected, abs=1e-4)
    for table in made.values():
        for row in table.rows:
            if row.part != "H":
                assert all(cell.mean == pytest.approx(np.mean(list(cell.values.values()))) for cell in row.cells)
    assert texts(made["base2new"].notes) == ["average of PromptSRC, Base over seed 1 alone: EuroSAT lacks 2, 3",
                                      "average of PromptSRC, New over seed 1 alone: EuroSAT lacks 2, 3"]
    assert texts(made["xd"].notes) == ["average of PromptSRC over seed 2 alone: DTD lacks 3; EuroSAT lacks 1"]
    assert main([str(tmp_path), "--format", "csv"]) == 0
    out = capsys.readouterr()
    assert "note: average of PromptSRC, 16 shots over seed 2 alone: DTD lacks 3; EuroSAT lacks 1\n" in out.err
    for row in csv.DictReader(io.StringIO(out.out)):
        assert (row["std"] == "") == (row["interval95"] == "") == (len(row["seeds"].split()) == 1)


def test_h_is_over_the_seeds_of_both_parts(tmp_path):
    for dataset, base, new in (("dtd", (1, 2, 3), (2, 3)), ("eurosat", (1, 2), (3, 4))):
        for classes, seeds, part in (("base", base, "train_base"), ("new", new, "test_new")):
            for seed in seeds:
                put(tmp_path, f"base2new/{part}/{dataset}/shots_16/A/c", "A", dataset, classes, seed,
                    {1: 90, 2: 80, 3: 60, 4: 60}[seed])
    table = by_setting(tmp_path)["base2new"]
    assert figures(table, "dtd")["A", "H"] == 70 and figures(table, "eurosat")["A", "H"] is None
    assert figures(table, "average") == {("A", "Base"): 85, ("A", "New"): 60, ("A", "H"): None}
    assert "H of A on DTD over seeds 2, 3 alone: New lacks 1" in texts(table.notes)
    assert "no H of A on EuroSAT, for no seed is in all its parts: Base lacks 3, 4; New lacks 1, 2" in texts(
        table.notes)


def test_a_sweep_prints_the_notes_of_its_tables(tmp_path, capsys):
    for seed, dataset in ((1, "dtd"), (2, "dtd"), (2, "eurosat")):
        put(tmp_path, f"{dataset}/PromptSRC/c_16shots", "PromptSRC", dataset, "all", seed, 10 * seed)
    folders = sorted(str(path.parent) for path in tmp_path.rglob("result.json"))
    job = SimpleNamespace(steps=[SimpleNamespace(finished=True, folders=folders)])
    print_tables([job], Console(file=io.StringIO(), width=200), str(tmp_path))
    assert "note: average of PromptSRC, 16 shots over seed 2 alone: EuroSAT lacks 1\n" in capsys.readouterr().err


def few_shot(root, config, dataset, accuracy, shots=16, seed=1):
    put(root, f"{dataset}/CoOp/{config}_{shots}shots", "CoOp", dataset, "all", seed, accuracy, shots, config=config)


def test_only_published_epochs_are_one_row(tmp_path):
    for config, dataset, accuracy in (("rn50", "dtd", 50), ("rn50_ep50", "dtd", 80), ("rn50_ep50", "eurosat", 81),
                                      ("rn50_ep50", "imagenet", 60)):
        few_shot(tmp_path, config, dataset, accuracy)
    few_shot(tmp_path, "rn50_ep100", "dtd", 40, shots=4)
    few_shot(tmp_path, "rn50_ep50", "dtd", 30, shots=1)
    made = by_setting(tmp_path)["few_shot"]
    assert figures(made, "dtd") == {("CoOp (rn50)", "1 shot"): 30, ("CoOp (rn50)", "4 shots"): 40,
                                    ("CoOp (rn50)", "16 shots"): 50, ("CoOp (rn50_ep50)", "16 shots"): 80}
    assert figures(made, "imagenet")["CoOp (rn50)", "16 shots"] == 60
    assert figures(made, "eurosat") == {("CoOp (rn50)", "1 shot"): None, ("CoOp (rn50)", "4 shots"): None,
                                        ("CoOp (rn50)", "16 shots"): None, ("CoOp (rn50_ep50)", "16 shots"): 81}
    few_shot(tmp_path, "rn50", "dtd", 99, shots=1)
    found = figures(by_setting(tmp_path)["few_shot"], "dtd")
    assert found["CoOp (rn50, epochs by shots)", "1 shot"] == 30 and found["CoOp (rn50)", "1 shot"] == 99


def test_one_config_for_all_shots_is_one_curve(tmp_path):
    for shots in (1, 4, 16):
        few_shot(tmp_path, "vit_b16_ep50", "dtd", shots, shots)
    made = by_setting(tmp_path)["few_shot"]
    assert figures(made, "dtd") == {("CoOp", "1 shot"): 1, ("CoOp", "4 shots"): 4, ("CoOp", "16 shots"): 16}
    assert {row.line.config for row in made.rows} == {"vit_b16_ep50"}


@pytest.mark.parametrize("dataset", ["dtd", "imagenet"])
@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
def test_epochs_by_shots_are_the_scripts(dataset, shots):
    job, = plan(["CoOp"], "few_shot", [dataset], [1], [shots], {"CFG": ""})
    assert Path(following(job.steps[0].commands[0], "--config-file")).stem == epochs_by_shots(
        "rn50", dataset, shots)


@pytest.fixture
def calls(tmp_path, capsys, monkeypatch):
    """Return a function: the calls that --missing prints for the runs below tmp_path, without OUTPUT."""
    for name in ("CFG", "SHOTS", "OUTPUT", "DATA", "SEEDS"):
        monkeypatch.delenv(name, raising=False)

    def printed_calls(*flags):
        assert main([str(tmp_path), "--missing", *flags]) == 0
        return capsys.readouterr().out.replace(f"OUTPUT={tmp_path} ", "").splitlines()
    return printed_calls


def test_a_missing_source_is_trained_by_its_own_script(tmp_path, calls):
    config = "vit_b16_c2_ep20_batch4_4+4ctx_cross_datasets"
    for seed in (1, 2):
        for dataset in ("dtd", "imagenet_a"):
            put(tmp_path, f"evaluation/PromptSRC/{config}_16shots/{dataset}", "PromptSRC", dataset, "all", seed, 50, -1,
                config=config)
    put(tmp_path, f"imagenet/PromptSRC/{config}_16shots", "PromptSRC", "imagenet", "all", 1, 70, config=config)
    for setting in ("xd", "dg"):
        assert calls("--setting", setting) == ["SHOTS=16 bash scripts/promptsrc/xd_train.sh imagenet 2"]


def test_a_missing_run_is_of_the_very_config(tmp_path, calls):
    for dataset, seed in (("dtd", 1), ("eurosat", 1), ("eurosat", 2)):
        base2new(tmp_path, "CoOp", dataset, seed, 50, 50, config="rn50", shots=4, backbone="RN50")
    assert calls() == [f"CFG=rn50 SEEDS=2 SHOTS=4 bash scripts/coop/base2new_{part}.sh dtd"
                       for part in ("train", "test")]


def test_a_missing_run_has_the_epochs_of_its_shots(tmp_path, calls):
    for seed in (1, 2):
        few_shot(tmp_path, "vit_b16_ep50", "dtd", 50, 1, seed)
        few_shot(tmp_path, "vit_b16_ep100", "dtd", 50, 4, seed)
    few_shot(tmp_path, "vit_b16_ep50", "eurosat", 50, 1)
    few_shot(tmp_path, "vit_b16_ep100", "eurosat", 50, 4)
    assert calls() == ["CFG=vit_b16_ep50 SEEDS=2 bash scripts/coop/main.sh eurosat 1",
                       "CFG=vit_b16_ep100 SEEDS=2 bash scripts/coop/main.sh eurosat 4"]


LONG = "OPTIM:\n  LR: {}\n  NAME: sgd\nOUTPUT_DIR: o/{}\nSEED: {}\nTRAINER:\n  PROMPTSRC:\n    GPA_MEAN: {}\n"


def test_a_row_of_several_configs_is_said(tmp_path):
    for n, dataset in enumerate(("dtd", "eurosat", "ucf101")):
        for seed in (1, 2):
            put(tmp_path, f"{dataset}/PromptSRC/c_16shots", "PromptSRC", dataset, "all", seed, 50,
                text=f"DATASET:\n  NAME: x\n  ROOT: {seed}\n" + LONG.format(0.1, seed, seed, n))
    assert texts(by_setting(tmp_path)["few_shot"].notes) == []
    put(tmp_path, "dtd/PromptSRC/c_16shots", "PromptSRC", "dtd", "all", 2, 50, text=LONG.format(0.2, 2, 2, 0))
    assert texts(by_setting(tmp_path)["few_shot"].notes) == ["PromptSRC (c): OPTIM.LR differs between its runs"]
    put(tmp_path, "dtd/PromptSRC/c_16shots", "PromptSRC", "dtd", "all", 2, 50, text=LONG.format(0.2, 2, 2, 9))
    assert texts(by_setting(tmp_path)["few_shot"].notes) == [
        "PromptSRC (c): OPTIM.LR, TRAINER.PROMPTSRC.GPA_MEAN differ between its runs"]
    put(tmp_path, "dtd/PromptSRC/c_16shots", "PromptSRC", "dtd", "all", 2, 50, text="a: [")
    assert texts(by_setting(tmp_path)["few_shot"].notes) == [], "what is no config says nothing"


def test_a_source_of_another_config_or_left_out_is_said(tmp_path):
    for root, rate in (("a", 0.1), ("b", 0.2)):
        put(tmp_path / root, "imagenet/PromptSRC/c_16shots", "PromptSRC", "imagenet", "all", 1, 70,
            text=LONG.format(rate, 1, 1, 1))
    put(tmp_path / "a", "evaluation/PromptSRC/c_16shots/dtd", "PromptSRC", "dtd", "all", 1, 40, -1,
        text=LONG.format(0.3, 1, 1, 1))
    first, second = texts(by_setting(tmp_path)["xd"].notes)
    assert first.startswith(str(tmp_path / "b")) and " is left out: " in first
    assert second == "PromptSRC (c): OPTIM.LR differs between its runs"


def test_validation_figures_are_said(tmp_path):
    base2new(tmp_path, "PromptSRC", "dtd", 1, 50, 50)
    base2new(tmp_path, "ProGrad", "dtd", 1, 50, 50, split="val")
    said = ["ProGrad (c, validation): figures of the validation set, not of the test set"]
    assert texts(by_setting(tmp_path)["base2new"].notes) == said
    base2new(tmp_path, "ProGrad", "dtd", 2, 60, 60)
    made = by_setting(tmp_path)["base2new"]
    assert texts(made.notes)[:1] == said
    assert figures(made, "dtd")["ProGrad", "Base"] == 60 and figures(made, "dtd")["ProGrad (validation)", "Base"] == 50


def test_configs_of_a_thousand_runs_are_compared_in_a_second(tmp_path):
    text = get_cfg_default().dump()
    for seed in range(1, 1001):
        put(tmp_path, "dtd/PromptSRC/c_16shots", "PromptSRC", "dtd", "all", seed, 50.0,
            text=text.replace("SEED: -1", f"SEED: {seed}").replace("OUTPUT_DIR: ./output", f"OUTPUT_DIR: o/{seed}"))
    runs = collect([tmp_path])
    assert len({run.content["config"] for run in runs}) == 1000
    begin = time.process_time()
    assert texts(tables(runs)[0].notes) == []
    assert time.process_time() - begin < 1


def test_contexts_given_as_folders_are_two_rows(tmp_path):
    folders = [f"dtd/CoOp/rn50_16shots/nctx{n}_cscFalse_ctpend" for n in (4, 16)]
    for folder in folders:
        put(tmp_path, folder, "CoOp", "dtd", "all", 1, 40, config="rn50")
    made = by_setting(tmp_path, *(tmp_path / folder for folder in folders))["few_shot"]
    assert len(made.rows) == 2 and texts(made.notes) == []


def test_same_run_twice_is_said(tmp_path, capsys):
    base2new(tmp_path / "a", "PromptSRC", "dtd", 1, 50, 50)
    base2new(tmp_path / "b", "PromptSRC", "dtd", 1, 60, 60)
    assert main([str(tmp_path), "--format", "markdown"]) == 0
    out = capsys.readouterr()
    assert "50.00" in out.out and "60.00" not in out.out and "is left out" in out.err


@pytest.mark.parametrize("state,words", [
    ("none", "no finished run"), ("folder", "there is no folder"), ("broken", "not a whole")])
def test_nothing_to_read_is_one_line(state, words, tmp_path, capsys):
    if state == "broken":
        base2new(tmp_path, "PromptSRC", "dtd", 1, 50, 50)
        next(tmp_path.rglob("result.json")).write_text('{"trainer": ')
    assert main([str(tmp_path / "x" if state == "folder" else tmp_path)]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


@pytest.mark.parametrize("change", [
    {"accuracy": value} for value in (float("nan"), float("inf"), 250, -5, True, "50.0")] + [
    {"per_class": {"cat": {"correct": 3, "total": 2}}}, {"per_class": {"cat": {"correct": 3}}}, {"per_class": [1]},
    {"classes": "foo"}, {"classes": ["all"]}, {"seconds": "x"}, {"peak_memory_mib": True}, {"shots": -7},
    {"shots": 1.5}, {"seed": "1"}, {"versions": "3.12"}], ids=str)
def test_a_result_edited_by_hand_is_one_line(change, tmp_path, capsys):
    put(tmp_path, "dtd/CoOp/c_16shots", "CoOp", "dtd", "all", 1, 50.0)
    path = next(tmp_path.rglob("result.json"))
    content = json.loads(path.read_text())
    (content["results"]["test"] if {"accuracy", "per_class"} & set(change) else content).update(change)
    path.write_text(json.dumps(content))
    assert main([str(tmp_path), "--html", str(tmp_path / "page.html")]) == 2
    out = capsys.readouterr()
    assert out.out == "" and f"{path} is not a whole result" in out.err and out.err.count("\n") == 1


def test_a_thousand_runs_in_five_seconds(tmp_path):
    classes = {f"class {n}": {"correct": 3, "total": 5} for n in range(100)}
    for shots in range(1, 21):
        for seed in range(1, 51):
            put(tmp_path, f"dtd/PromptSRC/c_{shots}shots", "PromptSRC", "dtd", "all", seed, 50.0, shots,
                per_class=classes)
    begin = time.process_time()
    made = tables(collect([tmp_path]))
    assert time.process_time() - begin < 5
    assert sum(cell.n for row in made[0].rows for cell in row.cells if isinstance(cell, Cell)) == 1000


def test_pictures(tree, tmp_path):
    runs = collect([tree[0]])
    paths = plots.write_plots(runs, tables(runs), tmp_path / "p")
    assert sorted(path.stem for path in paths) == ["base_new", "few_shot", "gains", "training"]
    for path in paths:
        assert path.read_bytes()[:4] == b"\x89PNG" and path.with_suffix(".pdf").read_bytes()[:4] == b"%PDF"
    looks = plots.method_styles(run.method for run in runs)
    figure = plots.few_shot(next(table for table in tables(runs) if table.setting == "few_shot"), looks)
    panel = next(axis for axis in figure.axes if axis.get_title() == "DTD")
    line = next(c for c in panel.containers if c.get_label() == "ProGrad")[0]
    assert list(line.get_xdata()) == [1, 4, 16]
    assert line.get_ydata()[1] == pytest.approx(np.mean([tree[1]["ProGrad", "dtd", 4, seed] for seed in (1, 2, 3)]))
    steps = list(range(1, 10))
    assert plots.curve(next(run.folder for run in runs)) == (steps, [float(f"{3.3 / e:.4f}") for e in steps])
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == len(looks) >= 16


@pytest.mark.skipif(not browser.find(), reason="no Chromium is installed (apt-get install chromium)")
def test_report_in_a_browser(tree, tmp_path):
    runs = collect([tree[0]])
    report.write_report(runs, tables(runs), tmp_path / "report.html", ["bash scripts/x.sh"])
    page = browser.Browser(tmp_path / "profile")
    try:
        page.open((tmp_path / "report.html").as_uri())
        assert page.evaluate("[...document.images].length") == 4
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 300)")
        rows = "[...document.querySelectorAll('table')[0].tBodies[0].rows]"
        column = f"{rows}.map(r => parseFloat(r.cells[3].textContent))"
        before = page.evaluate(column)
        page.click("table th:nth-child(4) button")
        assert page.evaluate(column) == sorted(before, reverse=True)
        page.click("table th:nth-child(4) button")
        assert page.evaluate(column) == sorted(before)
        page.click("table th:first-child button")
        methods = page.evaluate(f"{rows}.map(r => r.cells[0].textContent)")
        assert methods == sorted(methods)
        page.click("details summary")
        assert "OPTIM: <&>" in page.evaluate("document.querySelector('details[open] pre').textContent")
        assert page.problems == []
        page.evaluate("console.error('heard')")
        assert page.problems, "the browser's errors would not be heard"
    finally:
        page.close()
