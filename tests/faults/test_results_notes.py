"""What a reader must know of a figure stands beside it, in every format; nothing is averaged that does not belong."""
import csv
import io
import json
import re

import numpy as np
import pytest
import yaml

import parse_test_res
from trainers.cli.results import main
from trainers.results import plots
from trainers.results.collect import collect
from trainers.results.table import tables

DATASETS = {"dtd": "DescribableTextures", "eurosat": "EuroSAT", "imagenet": "ImageNet", "ucf101": "UCF101"}


def put(folder, accuracy=50.0, seed=1, dataset="dtd", method="CoOp", shots=16, config="rn50", backbone="ViT-B/16",
        split="test", classes="all", per_class=None, words=(), cfg=None, notes=None, weights="f" * 32, **more):
    """Write one run's result.json, with an ``identity``."""
    path = folder / f"seed{seed}"
    path.mkdir(parents=True)
    result = {"trainer": method, "dataset": DATASETS[dataset], "classes": classes, "shots": shots, "seed": seed,
              "backbone": backbone, "results": {split: {"accuracy": accuracy, "per_class": per_class or {}}},
              "config": yaml.safe_dump({"OPTIM": {"MAX_EPOCH": 50}, "SEED": seed, **(cfg or {})}),
              "command": ["x", "--config-file", f"a/{config}.yaml", *words], "notes": notes or [],
              "dataset_label": dataset,
              "identity": {"dataset": dataset, "classnames": None, "split": None, "weights": weights}, **more}
    (path / "result.json").write_text(json.dumps(result))
    return path


def notes(root):
    return [str(note) for table in tables(collect([root])) for note in table.notes]


def text_of(root, form, capsys):
    if form == "html":
        assert main([str(root), "--html", str(root / "page.html")]) == 0
        return (root / "page.html").read_text()
    assert main([str(root), "--format", form]) == 0
    return capsys.readouterr().out


@pytest.fixture
def uneven(tmp_path):
    """Runs of which the average is over fewer seeds; one is left out, and one has a note of its own."""
    for seed, dataset in ((1, "dtd"), (2, "dtd"), (2, "eurosat")):
        put(tmp_path / dataset, 10.0 * seed, seed, dataset,
            notes=["ALLOW_MISMATCH: the prompts are of RN50"] if dataset == "eurosat" else [])
    put(tmp_path / "z", 70.0, 1)
    return tmp_path


@pytest.mark.parametrize("form", ["html", "markdown", "latex", "csv"])
def test_notes_stand_in_every_format(form, uneven, capsys):
    text = text_of(uneven, form, capsys).replace("\\_", "_")
    for word in ("over seed 2 alone: EuroSAT lacks 1", "is left out", "ALLOW_MISMATCH: the prompts are of RN50"):
        assert word in text, form


def test_notes_of_a_csv_stand_in_their_rows(uneven, capsys):
    rows = {row["dataset"]: row["notes"] for row in csv.DictReader(io.StringIO(text_of(uneven, "csv", capsys)))}
    assert "is left out" in rows["dtd"] and "ALLOW_MISMATCH" not in rows["dtd"]
    assert "ALLOW_MISMATCH" in rows["eurosat"] and "is left out" not in rows["eurosat"]
    assert "over seed 2 alone" in rows["average"] and "over seed 2 alone" not in rows["dtd"]


def test_a_runs_own_note_is_said_once_with_its_runs(tmp_path, capsys):
    for seed in (1, 2):
        put(tmp_path / "a", seed=seed, notes=["a third of the images is missing"])
    put(tmp_path / "b", seed=3)
    text = text_of(tmp_path, "markdown", capsys)
    assert text.count("a third of the images is missing") == 1
    assert f"{tmp_path}/a/seed1" in text.replace("\\_", "_") and f"{tmp_path}/b" not in text.replace("\\_", "_")


@pytest.mark.parametrize("form", ["html", "markdown", "latex", "terminal"])
def test_every_table_names_backbone_and_weights(form, tmp_path, capsys):
    put(tmp_path / "a")
    assert "ViT-B/16 (weights ffffffff)" in text_of(tmp_path, form, capsys)
    put(tmp_path / "b", method="ProGrad", backbone="RN50", weights="e" * 32)
    text = text_of(tmp_path, form, capsys)
    assert "ViT-B/16 (weights ffffffff)" in text and "RN50 (weights eeeeeeee)" in text


def test_validation_figures_are_not_averaged_with_test_figures(tmp_path):
    put(tmp_path / "a", 90.0, 1, split="val")
    put(tmp_path / "b", 50.0, 2)
    table, = tables(collect([tmp_path]))
    assert {row.label: row.cells[0].mean for row in table.rows} == {"CoOp": 50.0, "CoOp (validation)": 90.0}
    assert notes(tmp_path)[0] == "CoOp (rn50, validation): figures of the validation set, not of the test set"


def test_figures_of_several_epochs_are_said(tmp_path):
    put(tmp_path / "train_base", classes="base")
    put(tmp_path / "test_new", classes="new", words=["--eval-only", "--load-epoch", "10"])
    assert notes(tmp_path) == ["CoOp (rn50): figures of different epochs: 10 in 1 run, 50 in 1 run"]


def test_seeds_of_the_same_prompts_are_said(tmp_path):
    for seed in (1, 2):
        put(tmp_path / "a", seed=seed, words=["--eval-only", "--model-dir", "o/seed1"], prompts="c" * 32)
    put(tmp_path / "a", seed=3, words=["--eval-only", "--model-dir", "o/seed3"], prompts="d" * 32)
    assert notes(tmp_path) == ["CoOp (rn50): seeds 1, 2 are evaluations of the same prompts on DTD"]


def test_a_cross_dataset_row_of_several_trainings_is_said(tmp_path):
    for dataset, prompts in (("dtd", "c"), ("eurosat", "d")):
        put(tmp_path / "evaluation/CoOp/rn50_16shots" / dataset, dataset=dataset, prompts=prompts,
            words=["--eval-only", "--model-dir", "o/imagenet/CoOp/rn50_16shots/seed1"])
    assert notes(tmp_path) == ["CoOp (rn50): seed 1 is of different prompts on different datasets"]


@pytest.mark.parametrize("val, said", [(None, "without figures of a validation set"),
                                       (20, "as many validation as test images"), (10, None)])
def test_how_the_best_epoch_was_chosen_is_said(val, said, tmp_path):
    path = put(tmp_path / "a", cfg={"TEST": {"FINAL_MODEL": "best_val"}}) / "result.json"
    content = json.loads(path.read_text())
    content["results"] = {"test": {"accuracy": 50.0, "total": 20, "correct": 10}}
    if val:
        content["results"]["val"] = {"accuracy": 50.0, "total": val, "correct": val / 2}
    path.write_text(json.dumps(content))
    assert [said in note for note in notes(tmp_path)] == ([True] if said else [])


def test_figures_over_other_images_are_said(tmp_path):
    put(tmp_path / "a", per_class={"cat": {"correct": 1, "total": 2}, "dog": {"correct": 1, "total": 2}})
    put(tmp_path / "b", method="ProGrad", per_class={"cat": {"correct": 1, "total": 2}})
    said, = notes(tmp_path)
    assert "DTD" in said and "4 images of 2 classes" in said and "2 images of 1 class" in said


def test_few_shot_sets_that_differ_are_said(tmp_path):
    for method, split in (("CoOp", "1"), ("ProGrad", "2")):
        put(tmp_path / method, method=method, identity={"dataset": "d", "weights": "f" * 32, "split": split})
    assert notes(tmp_path) == ["DTD, 16 shots, seed 1: not all runs have learned from the same images"]


def test_rows_over_fewer_seeds_than_others_are_said(tmp_path):
    for seed in (1, 2, 3):
        put(tmp_path / "a", seed=seed)
    put(tmp_path / "b", method="ProGrad", seed=2)
    put(tmp_path / "c", method="ZeroshotCLIP", shots=-1)  # which has no seed
    assert notes(tmp_path) == ["ProGrad: over seed 2 alone, where other rows have 1, 2, 3"]


def test_two_names_of_one_dataset_are_said(tmp_path):
    put(tmp_path / "a", identity={"dataset": "d" * 32, "weights": "f" * 32})
    put(tmp_path / "b", dataset="eurosat", identity={"dataset": "d" * 32, "weights": "f" * 32})
    assert notes(tmp_path) == ["DTD, EuroSAT are the same images, classes and splits"]


def test_many_configs_are_not_passed_over_in_silence(tmp_path):
    for seed in range(1, 31):
        put(tmp_path / "a", seed=seed, cfg={"INPUT": {"SIZE": [224, 224 + (seed > 28)]}, "EXTRA": seed})
    assert any("INPUT.SIZE" in note or "not compared" in note for note in notes(tmp_path))


def test_notes_name_the_row_of_several(tmp_path):
    for shots in (1, 4):
        for seed in (1, 2):
            put(tmp_path / f"{shots}", seed=seed, shots=shots, cfg={"INPUT": {"CROP_PADDING": seed * (shots == 4)}})
    assert notes(tmp_path) == ["CoOp (rn50, 4 shots): INPUT.CROP_PADDING differs between its runs"]


@pytest.mark.parametrize("change", [{"notes": "x"}, {"notes": [1]}, {"identity": "x"}, {"identity": {"weights": 1}},
                                    {"dataset_label": 3}, {"prompts": 3},
                                    {"results": {"test": {"accuracy": 85.0, "correct": 10, "total": 20}}}], ids=str)
def test_a_result_that_contradicts_itself_is_refused(change, tmp_path, capsys):
    put(tmp_path / "a", **change)
    assert main([str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "is not a whole result" in err and err.count("\n") == 1


def test_paired_separates_what_tables_separate(tmp_path, capsys):
    for shots, config, gap in ((1, "rn50", 1.0), (4, "rn50", 3.0), (4, "own", 9.0)):
        for seed in (1, 2):
            put(tmp_path / f"a{shots}{config}", 50.0 + gap, seed, shots=shots, config=config)
            put(tmp_path / f"b{shots}{config}", 50.0, seed, shots=shots, method="ProGrad")
    put(tmp_path / "rn", 10.0, 1, shots=4, backbone="RN50", method="ProGrad")
    assert main([str(tmp_path), "--paired", "CoOp", "ProGrad"]) == 0
    out = capsys.readouterr().out
    assert [float(number) for number in re.findall(r"- ProGrad.*: ([+-][\d.]+) points", out)] == [1.0, 9.0, 3.0]
    assert "own" in out and "1 shot" in out and "4 shots" in out


def panels(figure):
    """Return {title of an axis with bars: their widths}."""
    return {axis.get_title(): [round(bar.get_width(), 4) for bar in axis.patches] for axis in figure.axes}


def test_gains_are_of_one_setting_a_panel(tmp_path):
    def classes(correct):
        return {"cat": {"correct": correct, "total": 100}}
    put(tmp_path / "z", 50.0, method="ZeroshotCLIP", shots=-1, per_class=classes(50))
    for shots, config, correct in ((1, "rn50", 60), (16, "rn50", 80), (16, "own", 90)):
        for seed in (1, 2):
            put(tmp_path / f"{shots}{config}", correct, seed, shots=shots, config=config, per_class=classes(correct))
    put(tmp_path / "rn", 5.0, 1, backbone="RN50", per_class=classes(5), weights="e" * 32)
    figure = plots.gains(collect([tmp_path]))
    assert panels(figure) == {"CoOp (own)": [40.0], "CoOp (rn50)": [30.0]}
    for word in ("DTD", "16 shots", "ViT-B/16"):
        assert word in figure.get_suptitle()


def test_gains_of_base_and_new_are_panels_of_their_own(tmp_path):
    for classes, correct in (("base", 80), ("new", 60)):
        per_class = {"cat": {"correct": correct, "total": 100}}
        put(tmp_path / classes, correct, classes=classes, per_class=per_class)
        put(tmp_path / f"z{classes}", 50.0, classes=classes, method="ZeroshotCLIP",
            per_class={"cat": {"correct": 50, "total": 100}})
    assert panels(plots.gains(collect([tmp_path]))) == {"CoOp, base classes": [30.0], "CoOp, new classes": [10.0]}


def test_training_curves_are_of_one_config_a_line(tmp_path):
    for config, losses in (("rn50", (4, 2)), ("own", (2, 1))):
        path = put(tmp_path / config, config=config)
        (path / "log.txt").write_text("".join(f"epoch [{n}/2] batch [1/1] loss 1.0 ({loss})\n"
                                              for n, loss in enumerate(losses, 1)))
    axis, = plots.training(collect([tmp_path])).axes
    assert {line.get_label(): list(line.get_ydata()) for line in axis.lines} == {
        "CoOp (rn50)": [4.0, 2.0], "CoOp (own)": [2.0, 1.0]}


def test_a_method_has_one_colour_and_marker_on_all_pictures(tmp_path):
    log = "".join(f"epoch [{n}/3] batch [1/1] loss 1.0 ({1 / n})\n" for n in (1, 2, 3))
    for method in ("ProGrad", "PromptSRC", "Mine", "Other"):
        for folder, more in (("few", {}), ("base", {"classes": "base"}), ("new", {"classes": "new"})):
            if (method, folder) != ("ProGrad", "few") and method != "Other" or folder == "few":
                (put(tmp_path / method / folder, method=method, **more) / "log.txt").write_text(log)
    (tmp_path / "ProGrad/few/seed1/result.json").unlink()  # which moved the colours of all others
    runs = collect([tmp_path])
    made = {table.setting: table for table in tables(runs)}

    def kinds(figure):
        return {label: (handle[0] if isinstance(handle, tuple) else handle)
                for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    found = {}
    looks = plots.method_styles(run.method for run in runs)
    for figure in (plots.few_shot(made["few_shot"], looks), plots.base_new(made["base2new"], looks),
                   plots.training(runs, looks)):
        for label, handle in kinds(figure).items():
            line = handle[0] if hasattr(handle, "__getitem__") else handle
            found.setdefault(label, set()).add((line.get_color(), line.get_marker()))
    assert set(found) == {"ProGrad", "PromptSRC", "Mine", "Other"}
    assert all(len(kinds) == 1 for kinds in found.values()) and len(set.union(*found.values())) == 4
    assert plots.method_styles(["ProGrad"])["ProGrad"] == looks["ProGrad"], "whatever stands beside it"


# ---------------------------------------------------------------- parse_test_res

@pytest.mark.parametrize("value", [250, -5, True, "NaN"], ids=str)
@pytest.mark.parametrize("words", [[], ["--multi-exp"], ["--keyword", "macro_f1"]], ids=str)
def test_parser_refuses_a_figure_that_is_no_percentage(value, words, tmp_path, capsys):
    top = tmp_path / "x" if "--multi-exp" in words else tmp_path
    for seed in (1, 2):
        path = put(top, seed=seed) / "result.json"
        given = json.dumps(value) if seed == 2 else "50.0"
        path.write_text(path.read_text().replace('"accuracy": 50.0', f'"macro_f1": 40.0, "accuracy": {given}'))
    assert parse_test_res.main([str(tmp_path), *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "seed2/result.json" in said.err


def test_parser_refuses_a_log_of_no_percentage(tmp_path, capsys):
    for seed, accuracy in ((1, "50.0"), (2, "250.0")):
        (tmp_path / f"seed{seed}").mkdir()
        (tmp_path / f"seed{seed}" / "log.txt").write_text(f"Finish training\n=> result\n* accuracy: {accuracy}%\n")
    assert parse_test_res.main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "seed2/log.txt" in said.err and "250" in said.err


def test_parser_says_what_it_averages_over(tmp_path, capsys):
    put(tmp_path / "a", 50.0, 1, shots=4)
    put(tmp_path / "a", 70.0, 2, "eurosat", notes=["odd"])
    assert parse_test_res.main([str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    assert "* accuracy: 60.00% +- 10.00%" in said.out
    assert "dataset (DescribableTextures, EuroSAT)" in said.err and "shots (4, 16)" in said.err and "odd" in said.err


def test_parser_says_where_experiments_have_other_numbers_of_runs(tmp_path, capsys):
    for name, seeds in (("a", (1, 2, 3)), ("b", (1, 2))):
        for seed in seeds:
            put(tmp_path / name, 50.0, seed)
    assert parse_test_res.main([str(tmp_path), "--multi-exp"]) == 0
    said = capsys.readouterr()
    assert "Average performance\n* accuracy: 50.00%\n" in said.out
    assert said.err == "note: the average is over experiments of different numbers of runs: 3 in a; 2 in b\n"


def test_figures_printed_do_not_change(tmp_path, capsys):
    """The published format, to the character, and nothing on stderr."""
    for seed, accuracy in enumerate((50.0, 60.0, 70.0), 1):
        put(tmp_path / "a", accuracy, seed)
    assert parse_test_res.main([str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    summary = said.out.partition("===\n")[2].replace(str(tmp_path), "")
    assert summary == f"Summary of directory: /a\n* accuracy: 60.00% +- {np.std([50, 60, 70]):.2f}%\n===\n"
    assert said.err == ""
