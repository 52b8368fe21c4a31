"""A table's column is one dataset: own images by their name, told apart by content; so are weights under one name."""
import csv
import io
import json
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from trainers.cli.results import main
from trainers.sweep.command import print_tables

A, B = "a" * 32, "b" * 32


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("CFG", "SHOTS", "OUTPUT", "DATA", "SEEDS"):
        monkeypatch.delenv(name, raising=False)


def put(folder, accuracy=50.0, seed=1, root="/x/pets", dataset="ImageFolder", method="CoOp", label=None, content=None,
        weights=None, classes="all", words=(), **more):
    """Write one run's result.json, without ``identity`` where neither content nor weights are given."""
    path = folder / f"seed{seed}"
    path.mkdir(parents=True)
    result = {"trainer": method, "dataset": dataset, "classes": classes, "shots": 16, "seed": seed,
              "backbone": "ViT-B/16", "results": {"test": {"accuracy": accuracy}},
              "config": yaml.safe_dump({"DATASET": {"NAME": dataset, "ROOT": str(root)}, "SEED": seed}),
              "command": ["x", "--config-file", "a/rn50.yaml", *words], **more}
    if content or weights:
        result["identity"] = {"dataset": content, "classnames": content, "split": content, "weights": weights}
    if label:
        result["dataset_label"] = label
    (path / "result.json").write_text(json.dumps(result))
    return path


def rows(capsys, *words):
    assert main([*map(str, words), "--format", "csv"]) == 0
    said = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(said.out))), said.err


def means(found):
    return {row["dataset"]: float(row["mean"]) for row in found if row["dataset"] != "average"}


@pytest.mark.parametrize("recorded", [True, False])
def test_two_collections_are_two_columns(recorded, tmp_path, capsys):
    for name, accuracy, content, seed in (("pets", 50.0, A, 1), ("birds", 90.0, B, 2)):
        given = {"label": name, "content": content} if recorded else {}
        put(tmp_path / name / "CoOp" / "rn50_16shots", accuracy, seed, f"/x/{name}", **given)
    assert means(rows(capsys, tmp_path)[0]) == {"pets": 50.0, "birds": 90.0}


def test_the_same_seed_of_another_collection_is_not_left_out(tmp_path, capsys):
    put(tmp_path / "a", 50.0, root="/x/pets")
    put(tmp_path / "b", 90.0, root="/x/birds.csv")
    found, err = rows(capsys, tmp_path)
    assert means(found) == {"pets": 50.0, "birds": 90.0} and "left out" not in err


@pytest.mark.parametrize("recorded", [True, False])
def test_one_name_of_two_contents_is_told_apart_by_the_path(recorded, tmp_path, capsys):
    for number, (place, content) in enumerate((("p1", A), ("p2", B)), 1):
        given = {"label": "data", "content": content} if recorded else {}
        put(tmp_path / place, 40.0 * number, root=f"/x/{place}/data", **given)
    assert means(rows(capsys, tmp_path)[0]) == {"p1/data": 40.0, "p2/data": 80.0}


def test_one_path_of_two_contents_is_told_apart_by_the_hash(tmp_path, capsys):
    put(tmp_path / "a", 40.0, 1, content=A, label="pets")
    put(tmp_path / "b", 80.0, 2, content=B, label="pets")
    assert means(rows(capsys, tmp_path)[0]) == {"pets (aaaaaaaa)": 40.0, "pets (bbbbbbbb)": 80.0}


def test_one_content_in_two_places_is_one_dataset(tmp_path, capsys):
    put(tmp_path / "a", 40.0, 1, root="/x/pets", content=A, label="pets")
    put(tmp_path / "b", 80.0, 2, root="/y/pets", content=A, label="pets")
    assert means(rows(capsys, tmp_path)[0]) == {"pets": 60.0}


def test_an_own_folder_is_not_taken_for_a_published_dataset(tmp_path, capsys):
    put(tmp_path / "a", 40.0, root="/x/dtd")
    put(tmp_path / "b", 80.0, root="/x/average")
    put(tmp_path / "c", 60.0, dataset="DescribableTextures", root="data")
    put(tmp_path / "d", 70.0, root="/x/pets")
    assert means(rows(capsys, tmp_path)[0]) == {"x/dtd": 40.0, "x/average": 80.0, "dtd": 60.0, "pets": 70.0}
    put(tmp_path / "e", 90.0, dataset="OxfordPets", root="data")  # "Pets" in tables
    found = means(rows(capsys, tmp_path)[0])
    assert found["x/pets"] == 70.0 and found["oxford_pets"] == 90.0 and "pets" not in found


def test_another_split_seed_is_another_dataset(tmp_path, capsys):
    for seed in (1, 2):
        put(tmp_path / f"s{seed}", 40.0 * seed, seed,
            config=yaml.safe_dump({"DATASET": {"NAME": "ImageFolder", "ROOT": "/x/pets", "SPLIT_SEED": seed}}))
    assert sorted(means(rows(capsys, tmp_path)[0]).values()) == [40.0, 80.0]


def test_a_published_dataset_of_two_contents_is_not_averaged(tmp_path, capsys):
    put(tmp_path / "a", 40.0, 1, "data", "DescribableTextures", content=A)
    put(tmp_path / "b", 80.0, 2, "data", "DescribableTextures", content=B)
    assert means(rows(capsys, tmp_path)[0]) == {"DTD (aaaaaaaa)": 40.0, "DTD (bbbbbbbb)": 80.0}


def test_old_runs_are_read_beside_new_ones_with_one_note(tmp_path, capsys):
    put(tmp_path / "a", 40.0, 1, content=A, label="pets", weights=B)
    put(tmp_path / "b", 80.0, 2)
    found, err = rows(capsys, tmp_path)
    assert means(found) == {"pets": 60.0}
    assert err.count("note: ") == 1 and "1 of 2 runs" in err and "content" in err


def test_weights_of_one_name_and_two_contents_are_two_rows(tmp_path, capsys):
    put(tmp_path / "a", 40.0, 1, content=A, weights=A)
    put(tmp_path / "b", 80.0, 2, content=A, weights=B)
    put(tmp_path / "c", 90.0, 1, content=A, weights=B, method="ProGrad")
    found, _ = rows(capsys, tmp_path)
    assert [(row["method"], row["backbone"], row["weights"], float(row["mean"])) for row in found] == [
        ("CoOp", "ViT-B/16 weights aaaaaaaa", A, 40.0), ("CoOp", "ViT-B/16 weights bbbbbbbb", B, 80.0),
        ("ProGrad", "ViT-B/16 weights bbbbbbbb", B, 90.0)]
    assert main([str(tmp_path), "--paired", "CoOp", "ProGrad"]) == 2, "CoOp's seed 1 has other weights than ProGrad's"
    assert "there are no runs of both" in capsys.readouterr().err


def test_the_name_is_in_title_page_and_picture(tmp_path, capsys):
    put(tmp_path / "a", 40.0, content=A, label="pets")
    assert main([str(tmp_path), "--format", "markdown", "--html", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "**Few-shot, pets, 16 shots.**" in capsys.readouterr().out
    assert "imagefolder" not in page.lower().replace("name: imagefolder", "")
    assert "<title>Results on pets" in page and "<td class=\"word\">pets</td>" in page


def test_paired_does_not_pair_two_collections(tmp_path, capsys):
    put(tmp_path / "a", 40.0, root="/x/pets")
    put(tmp_path / "b", 80.0, root="/x/birds", method="ProGrad")
    assert main([str(tmp_path), "--paired", "CoOp", "ProGrad"]) == 2
    assert "there are no runs of both" in capsys.readouterr().err


def test_a_sweeps_table_names_the_dataset(tmp_path, capsys):
    folders = [str(put(tmp_path / name, 40.0, seed, f"/x/{name}")) for seed, name in enumerate(("pets", "birds"), 1)]
    console = Console(file=io.StringIO(), width=200)
    print_tables([SimpleNamespace(steps=[SimpleNamespace(finished=True, folders=folders)])], console, str(tmp_path))
    assert "pets" in console.file.getvalue() and "birds" in console.file.getvalue()


def test_missing_runs_of_own_images_can_be_run(tmp_path, capsys):
    data = tmp_path / "birds"
    data.mkdir()
    out = tmp_path / "o"
    for shots in (1, 4):
        for seed in (1, 2)[:1 + (shots == 1)]:
            put(out / f"image_folder/CoOp/rn50_{shots}shots/nctx16_cscFalse_ctpend", 50.0, seed, data, shots=shots)
    assert main([str(out), "--missing"]) == 0
    assert capsys.readouterr().out == (
        f"CFG=rn50 DATA={data} OUTPUT={out} SEEDS=2 bash scripts/coop/main.sh image_folder 4\n")


def test_missing_runs_that_scripts_would_mix_up_are_not_named(tmp_path, capsys):
    """The scripts put every image folder below OUTPUT/image_folder: two collections would meet there."""
    for name, seeds in (("birds", (1, 2)), ("pets", (3,))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            put(tmp_path / "o/image_folder/CoOp/rn50_1shots/nctx16_cscFalse_ctpend", 50.0, seed, tmp_path / name,
                shots=1)
    assert main([str(tmp_path / "o"), "--missing"]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "birds" in said.err and "pets" in said.err and "OUTPUT" in said.err


def test_names_and_notes_are_no_markup(tmp_path, capsys):
    """Labels, hashes and notes come out of a file, as all names do."""
    name = "<img src=x onerror=alert(1)>"
    trained = put(tmp_path / "CoOp/rn50_16shots", label=name, content="\ud800<b>", weights="</script><b>", notes=[name])
    put(tmp_path / "x", label=name, content=B, weights=B, notes=["\x1b[2J\n=1"],
        config="DATASET:\n  NAME: ImageFolder\n  ROOT: \"/x/\\ud800<b>\"\nMAX_EPOCH: " + "9" * 5000)
    put(tmp_path / "evaluation/CoOp/rn50_16shots/dtd", dataset="DescribableTextures", content=A,
        words=["--eval-only", "--model-dir", str(trained), "--load-epoch", "9" * 5000])
    for form in ("terminal", "markdown", "latex", "csv"):
        assert main([str(tmp_path), "--format", form, "--html", str(tmp_path / "page.html"),
                     "--pictures", str(tmp_path / "pictures")]) == 0
        said = capsys.readouterr()
        assert "trained on" in said.out or form == "csv"
        assert "\x1b[2J" not in said.out + said.err and "\r" not in said.out + said.err
        assert form != "markdown" or "<img" not in said.out and "<b>" not in said.out
    page = (tmp_path / "page.html").read_text()
    assert "<img src=x" not in page and "<b>" not in page and page.count("</script>") == 1


@pytest.mark.parametrize("source, name", [("caltech101", "Caltech101"), ("image_folder", "pets")])
def test_another_source_is_its_own_table(source, name, tmp_path, capsys):
    """Evaluations of prompts from two sources were one row, and the source's column was always ImageNet's."""
    data = {"caltech101": "Caltech101", "image_folder": "ImageFolder"}[source]
    for place, dataset, accuracy in ((source, data, 95.0), ("imagenet", "ImageNet", 70.0)):
        trained = put(tmp_path / f"{place}/CoOp/rn50_16shots", accuracy, 1, "/x/pets", dataset)
        for seed in (1, 2):
            put(tmp_path / place / "o/evaluation/CoOp/rn50_16shots/dtd", accuracy - 10, seed, "/x",
                "DescribableTextures", shots=-1,
                words=["--eval-only", "--model-dir", str(trained.parent / f"seed{seed}")])
    assert main([str(tmp_path), "--setting", "xd", "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    tables = [text for text in out.split("**Cross-dataset, ") if text]
    assert len(tables) == 2
    first, second = sorted(tables, key=lambda text: "trained on ImageNet" in text)
    assert "trained on ImageNet" in second and "| ImageNet | DTD |" in second and "60.00 ± 0.00" in second
    assert f"trained on {name}" in first and f"| {name} | DTD |" in first and "85.00 ± 0.00" in first
