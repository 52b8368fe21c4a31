"""What people reported of repositories of this family, done on ours: a right figure, a refusal in one line, or a word.

Each test is a row of docs/appendix/situations.md, which says where it was reported.
"""
import contextlib
import importlib
import io
import json
import logging
import os
import re
import shlex
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from support import miniature
from support.paths import ROOT

import trainers  # noqa: F401  finds Dassl
from trainers.errors import InputError
from trainers.inference.prompted_clip import PromptedCLIP

PAGE = ROOT / "docs" / "appendix" / "situations.md"


# ---------------------------------------------------------------- running commands


def invoke(module, *words):
    """Call a command line in this process; returns (exit code, standard output, standard error)."""
    words = list(map(str, words))
    out, err = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(err)
    log = logging.getLogger("promptreg")
    log.addHandler(handler)
    try:
        with (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
              mock.patch("sys.argv", ["train.py", *words])):  # which a result.json keeps
            code = importlib.import_module(module).main(words)
    except SystemExit as stop:
        code = stop.code
    finally:
        log.removeHandler(handler)
    return code, out.getvalue(), err.getvalue()


def train(flags="", opts="", method="CoOp", dataset="image_folder", root="data", out="out", seed=1, shots=2, epochs=2,
          config=None):
    """Run train.py's command line; returns (exit code, standard output, standard error)."""
    return invoke("trainers.training.run", "--root", root, "--output-dir", out, "--seed", seed, "--trainer", method,
                  "--dataset-config-file", ROOT / f"configs/datasets/{dataset}.yaml",
                  "--config-file", ROOT / f"configs/trainers/{config or method}/demo.yaml", *shlex.split(flags),
                  "DATASET.NUM_SHOTS", shots, "OPTIM.MAX_EPOCH", epochs, "TRAIN.CHECKPOINT_FREQ", 1,
                  "USE_CUDA", False, *shlex.split(opts))


def figures(folder="out", split="test"):
    return json.loads(Path(folder, "result.json").read_text())["results"][split]


def done(run, out="out"):
    """Return (accuracy, standard error) of a run that must have ended well."""
    code, _, err = run
    assert code == 0, err
    return figures(out)["accuracy"], err


def refused(run, *words):
    """Hold a run against: exit code 2, one line, which has one of ``words`` in it."""
    code, _, err = run
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, (code, err)
    assert any(word in lines[0] for word in words), lines


def refused_or_told(run, *words):
    """Hold a run against: refused in one line, or done with a word on standard error; ``words`` say what of."""
    code, _, err = run
    assert code in (0, 2) and "Traceback" not in err, (code, err)
    assert any(word.lower() in err.lower() for word in words), (code, err)


# ---------------------------------------------------------------- pictures and runs


COLOURS = np.array([(220, 40, 40), (40, 200, 40), (40, 40, 220)])


def pictures(folder, classes=("cat", "cow", "dog"), count=8, size=(20, 20), seed=5):
    """Draw ``count`` noisy pictures of one colour a class into class folders."""
    draw = np.random.default_rng(seed)
    for k, name in enumerate(classes):
        Path(folder, name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = draw.integers(-60, 60, (size[1], size[0], 3))
            values = np.clip(COLOURS[k % 3] + noise, 0, 255).astype(np.uint8)
            Image.fromarray(values).save(Path(folder, name, f"{number}.png"))


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path_factory):
    """Keep to the test's own cache, and spare what takes longer than the rest."""
    monkeypatch.setenv("PROMPTREG_CACHE", str(tmp_path_factory.getbasetemp() / "situations-cache"))
    monkeypatch.setattr("dassl.utils.collect_env_info", lambda: "")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The test's folder, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with the digits as ``digits`` and runs of CoOp on them, made once: ``run/seed1`` and ``run/seed2``."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dassl.utils.collect_env_info", lambda: "")
        for seed in (1, 2):
            done(on_digits(folder, out=folder / f"run/seed{seed}", seed=seed), folder / f"run/seed{seed}")
    return folder


def on_digits(lab, *args, **more):
    return train(*args, dataset="digits", root=lab / "digits", **more)


def digit(lab, name="eight", number=0):
    """Return the path of one of the digits' images."""
    return sorted((lab / "digits/digits/images" / name).iterdir())[number]


def loaded(lab, *args, **more):
    return PromptedCLIP.from_checkpoint(lab / "run/seed1", *args, **more)


# ---------------------------------------------------------------- names and labels


def test_numeric_folders_keep_their_names(place):
    names = [str(n) for n in (1, 2, 3, 10, 11)]
    pictures("data", names)
    done(train())
    assert sorted(figures()["per_class"]) == sorted(names)
    model = PromptedCLIP.from_checkpoint("out")
    assert [place / "data" / name for name in model.classnames] == sorted(place.glob("data/[0-9]*"))


def test_imagenetv2_folders_are_numbers(place, monkeypatch):
    monkeypatch.setattr(miniature, "WNIDS", {f"n{number:08d}": f"thing {number}" for number in range(13)})
    miniature.build("ImageNetV2", place)
    _, splits = importlib.import_module("datasets.imagenetv2").ImageNetV2.whole(str(place))
    assert len(splits.test) == 130
    for item in splits.test:
        number = int(item.path.split("/")[-2])
        assert (item.label, item.classname) == (number, f"thing {number}")


def test_class_names_in_another_order_name_the_same_class(lab):
    image = Image.open(digit(lab))
    model = loaded(lab)
    turned = loaded(lab, model.classnames[::-1])
    assert [name for name, _ in model.classify(image, 3)[0]] == [name for name, _ in turned.classify(image, 3)[0]]
    assert torch.allclose(model.classify(image), turned.classify(image).flip(1), atol=1e-5)


@pytest.mark.parametrize("names", [("crane", "crane"), ("Missile", "missile"), ("hot_dog", "hot dog")])
@pytest.mark.parametrize("method", ["CoOp", "ZeroshotCLIP"])
def test_classes_with_the_same_prompt_are_named(place, names, method):
    pictures("data", ("0", "1", "2"))
    (place / "data/classnames.json").write_text(json.dumps({"0": names[0], "1": names[1], "2": "dog"}))
    refused_or_told(train(method=method), f"'{names[0]}' (class 0) and '{names[1]}' (class 1)", "both named")


def test_class_specific_contexts_tell_the_same_names_apart(place):
    pictures("data", ("0", "1"))
    (place / "data/classnames.json").write_text(json.dumps({"0": "crane", "1": "crane"}))
    code, _, err = train(opts="TRAINER.COOP.CSC True")
    assert code == 2 or "cannot tell them apart" not in err


def test_class_names_file_that_lacks_a_class(place):
    miniature.build("ImageNet", place / "data")
    path = place / "data/imagenet/classnames.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    refused(train(method="ZeroshotCLIP", dataset="imagenet"), "no class name for the folder")


def test_hidden_folders_are_no_classes(place):
    pictures("data")
    pictures("data", (".ipynb_checkpoints",))
    pictures("data/cat", (".ipynb_checkpoints",))
    done(train())
    assert sorted(figures()["per_class"]) == ["cat", "cow", "dog"]
    assert figures()["total"] == 6
    (place / "data/__MACOSX").mkdir()
    refused(train(out="other"), "__MACOSX")


def test_an_odd_number_of_classes(place):
    pictures("data")
    done(train(opts="DATASET.SUBSAMPLE_CLASSES base", out="base"), "base")
    accuracy, err = done(train(opts="DATASET.SUBSAMPLE_CLASSES new", out="new"), "new")
    assert (list(figures("base")["per_class"]), list(figures("new")["per_class"])) == (["cat", "cow"], ["dog"])
    assert accuracy == 100 and "one class only" in err


# ---------------------------------------------------------------- splits and few-shot sets


def test_flat_validation_folder(place):
    miniature.build("ImageNet", place / "data")
    val = place / "data/imagenet/images/val"
    for folder in list(val.iterdir()):
        for image in folder.iterdir():
            image.rename(val / image.name)
        folder.rmdir()
    refused(train(method="ZeroshotCLIP", dataset="imagenet"), "images/val")


def test_few_shot_set_of_another_number_of_shots(place):
    pictures("data/train")
    pictures("data/test", seed=6)
    done(train(shots=2))
    kept = place / "data/split_fewshot"
    shutil.copy(kept / "shot_2-seed_1.json", kept / "shot_4-seed_1.json")
    refused_or_told(train(shots=4, out="other"), "shot_4-seed_1.json")


def test_few_shot_set_drawn_when_there_were_fewer_images(place):
    pictures("data/train", count=2)
    pictures("data/test", seed=6)
    done(train(shots=4))
    pictures("data/train", count=8)
    refused_or_told(train(shots=4, out="other"), "shot_4-seed_1.json")


@pytest.mark.parametrize("how", ["copied", "linked", "a link to train"])
def test_images_of_the_training_in_the_test(place, how):
    pictures("data/train")
    if how == "a link to train":
        os.symlink("train", "data/test")
    else:
        pictures("data/test", seed=6)
        for name in ("cat", "cow", "dog"):
            Path(f"data/test/{name}/0.png").unlink()
            if how == "copied":
                shutil.copy(f"data/train/{name}/0.png", f"data/test/{name}/0.png")
            else:
                os.symlink(place / f"data/train/{name}/0.png", f"data/test/{name}/0.png")
    refused_or_told(train(), "in two splits")


def test_images_whose_endings_are_not_read(place):
    pictures("data")
    for ending in ("heic", "avif", "jfif"):
        shutil.copy("data/cat/0.png", f"data/cat/photo.{ending}")
    refused_or_told(train(), "photo.heic", "photo.avif", "photo.jfif")


def test_no_validation_images(place):
    pictures("data/train")
    pictures("data/test", seed=6)
    refused(train(opts="TEST.FINAL_MODEL best_val"), "validation")


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "16 bits"])
def test_the_same_image_in_another_mode(lab, place, mode):
    plain = Image.open(digit(lab)).convert("L")
    if mode == "16 bits":
        Image.fromarray(np.asarray(plain).astype(np.uint16) * 257).save("x.png")
    elif mode == "CMYK":
        plain.convert("RGB").convert("CMYK").save("x.tif")
    else:
        plain.convert(mode).save("x.png")
    path = next(place.glob("x.*"))
    assert loaded(lab).classify(Image.open(path)).allclose(loaded(lab).classify(plain), atol=1e-4)
    expected = invoke("trainers.cli.classify", lab / "run/seed1", digit(lab))[1].split("\t")[1]
    assert invoke("trainers.cli.classify", lab / "run/seed1", path)[1].split("\t")[1] == expected


def test_exif_orientation_is_not_applied(lab, place):
    image = Image.open(digit(lab)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show it
    image.save("turned.jpg", exif=exif, quality=95)
    image.save("plain.jpg", quality=95)
    turned, plain = (invoke("trainers.cli.classify", lab / "run/seed1", f"{name}.jpg")[1].split("\t")[1:]
                     for name in ("turned", "plain"))
    assert turned == plain  # as in training, here and in the published code


def test_wide_images_are_cropped_and_not_squeezed(lab):
    square = Image.open(digit(lab)).convert("RGB").resize((32, 32))
    wide = Image.new("RGB", (96, 32))
    wide.paste(square, (32, 0))
    model = loaded(lab)
    assert torch.equal(model.preprocess(wide), model.preprocess(square))


@pytest.mark.parametrize("flags, opts", [("--transforms random_flip", ""),
                                         ("", "INPUT.TRANSFORMS \"('random_flip',)\"")])
def test_transforms_without_normalize(lab, place, flags, opts):
    refused(on_digits(lab, f"--eval-only {flags}", opts, method="ZeroshotCLIP"), "normalize")


def test_another_normalization_than_the_weights(lab, place):
    run = on_digits(lab, "--eval-only", "INPUT.PIXEL_MEAN [0.5,0.5,0.5] INPUT.PIXEL_STD [0.5,0.5,0.5]",
                    method="ZeroshotCLIP")
    refused_or_told(run, "PIXEL_MEAN")


# ---------------------------------------------------------------- flags, keys, checkpoints


@pytest.mark.parametrize("flags", ["--model-dir {run}", "--load-epoch 1"])
def test_flags_of_an_evaluation_in_a_training(lab, place, flags):
    refused_or_told(on_digits(lab, flags.format(run=lab / "run/seed1")), flags.split()[0])


@pytest.mark.parametrize("method, key", [("CoOp", "TRAINER.PROMPTSRC.N_CTX_TEXT"), ("CoCoOp", "TRAINER.COOP.N_CTX")])
def test_keys_of_another_method(lab, place, method, key):
    refused_or_told(on_digits(lab, opts=f"{key} 2", method=method, epochs=1, shots=1), key)


@pytest.mark.parametrize("method, opts, told", [
    ("CoOp", "TRAINER.COOP.N_CTX 8 TRAINER.COOP.CTX_INIT 'a photo of a'", "N_CTX 8 has no effect"),
    ("CoOp", "TRAINER.COOP.CSC True TRAINER.COOP.CTX_INIT 'a photo of a'", "CSC True has no effect"),
    ("KgCoOp", "TRAINER.COOP.N_CTX 8", "N_CTX 8 has no effect"),
    ("ProGrad", "TRAINER.COOP.CSC True", "CSC True has no effect"),
    ("CoCoOp", "TRAINER.COCOOP.N_CTX 8", "N_CTX 8 has no effect"),
    ("IVLP", "TRAINER.IVLP.N_CTX_TEXT 6", "CTX_INIT has no effect"),
    ("MaPLe", "TRAINER.MAPLE.N_CTX 6 TRAINER.MAPLE.PROMPT_DEPTH 3", "CTX_INIT has no effect")])
def test_words_that_decide_over_other_keys(lab, place, method, opts, told):
    _, err = done(on_digits(lab, "--eval-only", opts, method=method, shots=1))
    assert told in err


@pytest.mark.parametrize("method", ["CoOp", "KgCoOp", "ProGrad", "CoCoOp", "IVLP", "MaPLe", "PromptSRC", "VPT"])
def test_published_keys_need_no_word(lab, place, method):
    opts = "TRAINER.MAPLE.PROMPT_DEPTH 3" if method == "MaPLe" else ""
    _, err = done(on_digits(lab, "--eval-only", opts, method=method, shots=1))
    assert "no effect" not in err and "cannot tell" not in err


def test_prompts_of_another_seed_and_other_shots(lab, place):
    refused_or_told(on_digits(lab, f"--eval-only --model-dir {lab / 'run/seed1'}", seed=3), "seed")
    refused_or_told(on_digits(lab, f"--eval-only --model-dir {lab / 'run/seed1'}", shots=16, out="more"), "shots")


def test_evaluation_gives_the_figure_of_the_training(lab, place):
    accuracy, _ = done(on_digits(lab, f"--eval-only --model-dir {lab / 'run/seed1'} --load-epoch 2"))
    assert accuracy == figures(lab / "run/seed1")["accuracy"]


@pytest.mark.parametrize("precision", ["fp16", "amp", "bf16"])
def test_half_precision_on_a_cpu(lab, place, precision):
    exact, _ = done(on_digits(lab, "--eval-only", method="ZeroshotCLIP", out="exact"), "exact")
    accuracy, _ = done(on_digits(lab, "--eval-only", f"TRAINER.ZEROSHOT.PREC {precision}", method="ZeroshotCLIP"))
    assert abs(accuracy - exact) < 1
    _, err = done(on_digits(lab, opts=f"TRAINER.COOP.PREC {precision}", out="trained"), "trained")
    assert "nan" not in err


def test_zero_shot_with_a_model(lab, place):
    run = on_digits(lab, f"--eval-only --model-dir {lab / 'run/seed1'}", method="ZeroshotCLIP")
    refused_or_told(run, "--model-dir")


def test_the_sentence_of_zero_shot_clip_is_said(lab, place):
    assert "a photo of a {}." in on_digits(lab, "--eval-only", method="ZeroshotCLIP")[1]


@pytest.mark.parametrize("epochs, opts, told", [(2, "OPTIM.WARMUP_EPOCH 2", "never reaches OPTIM.LR"),
                                                (0, "", "nothing is trained")])
def test_a_schedule_that_trains_nothing(lab, place, epochs, opts, told):
    _, err = done(on_digits(lab, opts=opts, epochs=epochs))
    assert told in err


def test_a_text_that_is_too_long(lab):
    with pytest.raises(InputError, match="CLIP reads at most 77"):
        loaded(lab).encode_text(["a very long name " * 30])


def test_a_class_that_is_added_after_the_training(lab):
    image, model = Image.open(digit(lab)), loaded(lab)
    more = model.with_classnames([*model.classnames, "a cat"])
    assert torch.allclose(more.logits(image)[:, :-1], model.logits(image), atol=1e-4)


def test_exported_prompts_give_the_same_figures(lab, place):
    assert invoke("trainers.cli.export", lab / "run/seed1", "x.safetensors")[0] == 0
    image = Image.open(digit(lab))
    exported = PromptedCLIP.from_checkpoint("x.safetensors")
    assert torch.equal(exported.classify(image), loaded(lab).classify(image))


# ---------------------------------------------------------------- runs and their means


@pytest.mark.parametrize("opts", ["DATALOADER.TEST.BATCH_SIZE 7", "DATALOADER.NUM_WORKERS 2"])
def test_how_the_test_is_batched_changes_nothing(lab, place, opts):
    model = f"--eval-only --model-dir {lab / 'run/seed1'} --load-epoch 2"
    accuracy, _ = done(on_digits(lab, model, opts))
    assert accuracy == figures(lab / "run/seed1")["accuracy"]


def test_the_same_seed_gives_the_same_figure(lab, place):
    done(on_digits(lab))
    assert figures() == figures(lab / "run/seed1")
    assert figures() != figures(lab / "run/seed2")


def test_the_data_are_spelled_otherwise(place, monkeypatch):
    pictures("my data é", ("Golden Retriever", "chien é", "dog"))
    done(train(root="my data é", out="my runs/1"), "my runs/1")
    assert "not run again" in train(root=f"{place}/my data é//", out="my runs/1")[1]
    monkeypatch.chdir(place / "my data é")
    done(train(root="../my data é/", out="../my runs/2"), "../my runs/2")
    assert figures("../my runs/2") == figures("../my runs/1")


def test_base_and_new_into_one_folder(lab, place):
    model = f"--eval-only --model-dir {lab / 'run/seed1'}"
    done(on_digits(lab, model, "DATASET.SUBSAMPLE_CLASSES base"))
    before = figures()
    refused(on_digits(lab, model, "DATASET.SUBSAMPLE_CLASSES new"), "DATASET.SUBSAMPLE_CLASSES")
    assert figures() == before


@pytest.mark.parametrize("change, told", [
    ({}, "seed (1)"), ({"seed": 2, "shots": 16}, "shots (2, 16)"), ({"seed": 2, "trainer": "VPT"}, "trainer"),
    ({"seed": 2, "classes": "new"}, "classes"), ({"seed": 2, "backbone": "ViT-B/16"}, "backbone"),
    ({"seed": 2, "dataset": "DTD"}, "dataset"), ({"seed": 2, "prompts": "0f"}, "trained prompts (0f)"),
    ({"seed": 2, "results": "val"}, "validation")])
def test_a_mean_over_runs_that_are_no_seeds(lab, place, change, told):
    content = json.loads((lab / "run/seed1/result.json").read_text())
    content["prompts"] = change.get("prompts")
    if "results" in change:
        change = {"seed": 2, "results": {"val": content["results"]["test"]}}
    both = change if change.get("seed") == 2 and "results" in change else {}
    for name, more in (("seed1", {**both, "seed": 1}), ("seed2", change)):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "result.json").write_text(json.dumps({**content, **more}))
    code, out, err = invoke("parse_test_res", "runs")
    assert code == 0 and "accuracy" in out
    assert [line for line in err.splitlines() if line.startswith("note: ") and told in line], err


def test_a_mean_over_seeds_needs_no_word(lab):
    code, _, err = invoke("parse_test_res", lab / "run")
    assert (code, err) == (0, "")


def tables(folder):
    code, out, err = invoke("trainers.cli.results", folder)
    assert code == 0, err
    return out + err


def test_another_batch_size_is_noted(lab, place):
    shutil.copytree(lab / "run/seed1", "runs/seed1")
    done(on_digits(lab, opts="DATALOADER.TRAIN_X.BATCH_SIZE 4", out="runs/seed2", seed=2), "runs/seed2")
    assert "DATALOADER.TRAIN_X.BATCH_SIZE" in tables("runs")


def test_one_model_evaluated_for_all_seeds(lab, place):
    for seed in (1, 2):
        code, _, _ = on_digits(lab, f"--eval-only --model-dir {lab / 'run/seed1'}", out=f"runs/seed{seed}", seed=seed)
    if code == 0:  # if the second is not refused in the first place
        assert re.search(r"same (trained )?prompts", tables("runs"))


def test_epochs_that_differ_within_a_row(lab, place):
    for seed in (1, 2):
        model = f"--eval-only --model-dir {lab}/run/seed{seed} --load-epoch {seed}"
        done(on_digits(lab, model, out=f"runs/seed{seed}", seed=seed), f"runs/seed{seed}")
    assert "epoch" in tables("runs").lower()


# ---------------------------------------------------------------- the page


def test_every_situation_has_its_row():
    rows = re.findall(r"^\|.*\| `(test_\w+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    here = [name for name in globals() if name.startswith("test_") and name != "test_every_situation_has_its_row"]
    assert sorted(set(rows)) == sorted(here)
