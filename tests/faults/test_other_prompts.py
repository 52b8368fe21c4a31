"""Trained prompts carry what they were made for: another method, CLIP, place in the sentence or class is refused."""
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.photos import CLASSES, evaluate, photos, result, train

from trainers.cli import export, nearest_words
from trainers.clip.weights import DEMO
from trainers.errors import InputError
from trainers.inference.export import to_safetensors
from trainers.inference.prompted_clip import PromptedCLIP
from trainers.training import checkpoint

CSC = ("TRAINER.COOP.CSC", "True")
ALLOW = ("TRAINER.PROMPTREG.ALLOW_MISMATCH", "True")
LEARNED = ("OPTIM.LR", "0.1")
RUNS = {  # a finished run: method, keys
    "coop": ("CoOp", ()), "csc": ("CoOp", CSC), "cocoop": ("CoCoOp", ()), "front": ("CoOp", (
        "TRAINER.COOP.CLASS_TOKEN_POSITION", "front")), "maple": ("MaPLe", ("TRAINER.MAPLE.PROMPT_DEPTH", "4")),
    "shallow": ("MaPLe", ("TRAINER.MAPLE.PROMPT_DEPTH", "2")), "ivlp": ("IVLP", ()),
    "prograd_csc": ("ProGrad", (*CSC, "TRAINER.COOP.CTX_INIT", "")), "vpt": ("VPT", ()),
    "kgcoop_csc": ("KgCoOp", (*CSC, "TRAINER.COOP.CTX_INIT", "")),
    "gram": ("GRAMCoOp", ("TRAINER.GRAM.META", "demo"))}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A function: name -> folder of that finished run, made once; its pictures lie beside it."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    photos(folder / "data")

    def run(name):
        if name not in made:
            method, opts = RUNS[name]
            assert train(folder / "data", folder / name, *opts, *LEARNED, method=method, shots=2) == 0
            made[name] = folder / name
        return made[name]
    run.data = folder / "data"
    return run


def refused(words, data, out, run, *opts, method, capsys, allowed=True, **options):
    """Assert that an evaluation is refused in one line, and (``allowed``) goes on with a note where it is allowed."""
    assert evaluate(data, out, run, *opts, method=method, **options) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(said) == 1 and words in said[0] and not out.exists()
    if not allowed:
        return
    assert ALLOW[0] in said[0]
    assert evaluate(data, out, run, *opts, *ALLOW, method=method, **options) == 0
    assert any(words.split(",")[0] in note for note in result(out)["notes"])


@pytest.mark.parametrize("name, method, opts, words", [
    ("cocoop", "CoOp", (), "trainer CoCoOp there, CoOp here"),
    ("coop", "KgCoOp", (), "trainer CoOp there, KgCoOp here"),
    ("gram", "CoOp", (), "trainer GRAMCoOp there, CoOp here"),
    ("front", "CoOp", (), "TRAINER.COOP.CLASS_TOKEN_POSITION front there, end here"),
    ("vpt", "VPT", ("TRAINER.VPT.CTX_INIT", "a picture of a"), "TRAINER.VPT.CTX_INIT a photo of a there"),
    ("coop", "CoOp", ("INPUT.PIXEL_MEAN", "[0.5, 0.5, 0.5]"), "INPUT.PIXEL_MEAN"),
    ("coop", "CoOp", ("INPUT.INTERPOLATION", "bilinear"), "INPUT.INTERPOLATION bicubic there, bilinear here"),
    ("maple", "MaPLe", ("TRAINER.MAPLE.PROMPT_DEPTH", "2"), "its prompts are deeper than PROMPT_DEPTH here"),
    ("ivlp", "IVLP", ("TRAINER.IVLP.PROMPT_DEPTH_VISION", "2"), "its prompts are deeper than PROMPT_DEPTH here"),
    ("ivlp", "VPT", ("TRAINER.VPT.N_CTX_VISION", "2"), "trainer IVLP there, VPT here")])
def test_a_checkpoint_of_something_else(name, method, opts, words, runs, tmp_path, capsys):
    refused(words, runs.data, tmp_path / "out", runs(name), *opts, method=method, capsys=capsys, shots=2,
            allowed=name != "ivlp" or method == "IVLP")


def test_a_shallower_checkpoint_says_what_it_is(runs, tmp_path, capsys):
    refused("its prompts are less deep than PROMPT_DEPTH here", runs.data, tmp_path / "out", runs("shallow"),
            "TRAINER.MAPLE.PROMPT_DEPTH", "4", method="MaPLe", capsys=capsys, allowed=False)


def test_the_same_config_is_as_ever(runs, tmp_path):
    for name in RUNS:
        method, opts = RUNS[name]
        assert evaluate(runs.data, tmp_path / name, runs(name), *opts, method=method, shots=2) == 0
        assert result(tmp_path / name)["notes"] == []
        assert result(tmp_path / name)["results"] == result(runs(name))["results"]


def changed_weights(path):
    state = load_file(DEMO)
    state["visual.proj"] *= 1.5
    save_file(state, path, metadata={"architecture": "openai"})
    return path


def test_prompts_of_other_weights(runs, tmp_path, capsys):
    clip = changed_weights(tmp_path / "clip.safetensors")
    refused("other CLIP weights", runs.data, tmp_path / "out", runs("coop"), method="CoOp", capsys=capsys,
            flags=["--backbone", clip], shots=2)
    with pytest.raises(InputError, match="other CLIP weights"):
        PromptedCLIP.from_checkpoint(runs("coop"), backbone=clip)
    model = PromptedCLIP.from_checkpoint(runs("coop"), backbone=clip, opts=ALLOW)
    assert model.classnames == list(CLASSES)
    assert nearest_words.main([str(next(runs("coop").rglob("model.pth.tar-1"))), "1", "--backbone", str(clip)]) == 2
    assert "other CLIP weights" in capsys.readouterr().err


def test_a_copy_of_the_weights_under_another_name_is_the_same(runs, tmp_path):
    clip = shutil.copy(DEMO, tmp_path / "copied.safetensors")
    assert evaluate(runs.data, tmp_path / "out", runs("coop"), flags=["--backbone", clip], shots=2) == 0
    assert result(tmp_path / "out")["notes"] == []


def test_an_exported_file_carries_it_too(runs, tmp_path):
    assert export.main([str(runs("csc")), str(tmp_path / "csc.safetensors")]) == 0
    with pytest.raises(InputError, match="class-specific"):
        PromptedCLIP.from_checkpoint(tmp_path / "csc.safetensors", ["cat", "cow", "emu"])
    with pytest.raises(InputError, match="other CLIP weights"):
        PromptedCLIP.from_checkpoint(tmp_path / "csc.safetensors",
                                     backbone=changed_weights(tmp_path / "clip.safetensors"))
    forced = PromptedCLIP.from_checkpoint(runs("csc"), ["ant", "bee", "fly"], opts=ALLOW)
    to_safetensors(forced, tmp_path / "forced.safetensors")
    again = PromptedCLIP.from_checkpoint(tmp_path / "forced.safetensors")
    assert again.classnames == ["ant", "bee", "fly"] and any("class-specific" in note for note in again.method.notes)
    assert export.main([str(runs("gram")), str(tmp_path / "gram.safetensors")]) == 0
    assert type(PromptedCLIP.from_checkpoint(tmp_path / "gram.safetensors").method).__name__ == "GRAMCoOp"


# ---- contexts of each class's own


@pytest.mark.parametrize("name", ["csc", "prograd_csc", "kgcoop_csc"])
@pytest.mark.parametrize("classes", [("ant", "bee", "fly"), ("cat", "cow", "Dog")], ids=["others", "one renamed"])
def test_contexts_of_classes_meet_their_own_alone(name, classes, runs, tmp_path, capsys):
    """As many classes, so that no shape can tell."""
    method, opts = RUNS[name]
    other = photos(tmp_path / "other", classes)
    refused("its contexts are class-specific", other, tmp_path / "out", runs(name), *opts, method=method,
            capsys=capsys, shots=2)


def test_base_contexts_do_not_meet_new_classes(tmp_path, capsys):
    data = photos(tmp_path / "data", ("ant", "bee", "cat", "dog"))
    base, new = ("DATASET.SUBSAMPLE_CLASSES", "base"), ("DATASET.SUBSAMPLE_CLASSES", "new")
    assert train(data, tmp_path / "run", *CSC, *base) == 0
    assert evaluate(data, tmp_path / "out", tmp_path / "run", *CSC, *new) == 2
    said = capsys.readouterr().err
    assert "of 2 classes (ant, bee); here are 2 classes (cat, dog)" in said and not (tmp_path / "out").exists()


def test_the_same_names_in_another_order_are_put_in_order(runs):
    model = PromptedCLIP.from_checkpoint(runs("csc"))
    images = torch.rand(4, 3, 32, 32) - 0.5
    order = [2, 0, 1]
    other = model.with_classnames([CLASSES[i] for i in order])
    torch.testing.assert_close(other.logits(images), model.logits(images)[:, order], atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encode_text([CLASSES[i] for i in order]), model.encode_text()[order])


def test_contexts_of_unknown_classes_are_asked_for(runs, tmp_path, capsys):
    """A published file does not say of which classes they are."""
    path = next(runs("csc").rglob("model.pth.tar-1"))
    (tmp_path / "theirs/prompt_learner").mkdir(parents=True)
    state = {"ctx": checkpoint.read_checkpoint(path)["state_dict"]["prompt_learner.ctx"]}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "theirs/prompt_learner/model.pth.tar-1")
    refused("it does not say of which classes", runs.data, tmp_path / "out", tmp_path / "theirs", *CSC, method="CoOp",
            capsys=capsys, shots=2)


@pytest.mark.parametrize("ask", [lambda model: model.with_classnames(["cat", "cow", "emu"]),
                                 lambda model: model.encode_text(["ant", "bee", "fly"]),
                                 lambda model: model.with_classnames(["cat", "cow"])])
def test_the_python_api_refuses_other_classes(ask, runs):
    with pytest.raises(InputError, match="class-specific"):
        ask(PromptedCLIP.from_checkpoint(runs("csc")))


def test_a_start_may_be_of_another_method_but_not_of_other_classes(runs, tmp_path, capsys):
    def start(name, *opts, data=runs.data, **options):
        path = next(runs(name).rglob("model.pth.tar-1"))
        return train(data, tmp_path / name, *opts, "MODEL.INIT_WEIGHTS", path, shots=2, **options)
    assert start("coop", "TRAINER.COOP.CTX_INIT", "", method="KgCoOp") == 0
    assert start("csc", *CSC, data=photos(tmp_path / "other", ("ant", "bee", "fly"))) == 2
    assert "class-specific" in capsys.readouterr().err


# ---- what a caller may give


def test_names_that_are_no_list(runs):
    model = PromptedCLIP.from_checkpoint(runs("coop"))
    for wrong in ("dog", {"dog": 0}, [], ["dog", 3], ["dog", " "], 7, {"dog", "cat"}):
        for ask in (model.encode_text, model.with_classnames, lambda n: PromptedCLIP.from_checkpoint(runs("coop"), n)):
            with pytest.raises(InputError, match="classnames must be a list"):
                ask(wrong)
    assert model.with_classnames(("a", "b")).classnames == ["a", "b"]
    assert model.with_classnames(np.array(["a", "b"])).classnames == ["a", "b"]


def test_images_of_every_usual_kind(runs):
    from PIL import Image
    model = PromptedCLIP.from_checkpoint(runs("coop"))
    path = runs.data / "cat/0.png"
    picture = Image.open(path)
    pixels = np.asarray(picture)
    expected = model.classify(picture)
    kinds = [path, str(path), pixels, torch.tensor(pixels).permute(2, 0, 1), model.preprocess(picture),
             [path], [pixels, picture], np.stack([pixels, pixels]), torch.tensor(pixels).permute(2, 0, 1)[None],
             (str(path), model.preprocess(picture))]
    for images in kinds:
        torch.testing.assert_close(model.classify(images)[:1], expected, msg=str(type(images)))
    gray = np.asarray(picture.convert("L"))
    torch.testing.assert_close(model.classify(gray), model.classify(picture.convert("L")))


@pytest.mark.parametrize("wrong, words", [
    ([], "at least one"), (7, "got int"), ([7], "got int"), (np.zeros((4, 4, 3)), "float64"), (b"\x89PNG", "got bytes"),
    (torch.zeros(2, 3, 9, 9), r"got \[2, 3, 9, 9\]"), (torch.zeros(3, 32, 32, dtype=torch.int64), "int64"),
    (np.zeros((2, 2, 7), np.uint8), "uint8"), ("none.png", "none.png: there is no such image"), ({"a": 1}, "got dict")])
def test_images_of_other_kinds(wrong, words, runs):
    with pytest.raises(InputError, match=words) as error:
        PromptedCLIP.from_checkpoint(runs("coop")).classify(wrong)
    assert "\n" not in str(error.value)


def test_tensors_that_were_not_normalized_are_warned_of(runs, caplog):
    from PIL import Image

    from trainers.inference import inputs
    inputs._warn_of_unnormalized.cache_clear()
    model = PromptedCLIP.from_checkpoint(runs("coop"))
    for shade in ("white", "black", "gray"):
        model.classify(model.preprocess(Image.new("RGB", (40, 40), shade)))
    assert "not normalized" not in caplog.text
    for _ in range(2):
        model.classify(torch.rand(1, 3, 32, 32))
    assert caplog.text.count("as if they were not normalized") == 1


def test_a_picture_of_ones_own_is_not_to_be_deleted(runs, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(InputError) as error:
        PromptedCLIP.from_checkpoint(runs("coop")).classify(tmp_path / "holiday.jpg")
    assert "delete" not in str(error.value) and "holiday.jpg cannot be read as an image" in str(error.value)


def test_a_folder_without_a_run_is_told_as_such(tmp_path):
    with pytest.raises(InputError, match=f"no checkpoint of trained prompts in {tmp_path}"):
        PromptedCLIP.from_checkpoint(tmp_path)
