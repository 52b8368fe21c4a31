"""Trained prompts outside of Dassl's loop: PromptedCLIP, its files, and ONNX."""
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support import reference
from support.paths import GOLDEN, ROOT
from support.reference import tiny_clip

import trainers
from trainers.cli import classify, export, train
from trainers.clip.templates import PLAIN, SELECTED
from trainers.errors import InputError
from trainers.inference.export import onnx_metadata
from trainers.inference.prompted_clip import PromptedCLIP
from trainers.prompts import Prompts
from trainers.training import checkpoint
from trainers.training.compatibility import load_prompts_into

CASE_OF = {"CoOp": "coop_end", "KgCoOp": "kgcoop", "ProGrad": "prograd", "IVLP": "ivlp", "PromptSRC": "promptsrc",
           "VPT": "vpt", "MaPLe": "maple", "CoCoOp": "cocoop"}
DEPTHS = {"IVLP": ("TEXT", "VISION"), "PromptSRC": ("TEXT", "VISION"), "VPT": ("VISION",)}
LAYERS = 3
FOUND = {}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with the golden files' tiny CLIPs, cut to their first layers."""
    folder = tmp_path_factory.mktemp("weights")
    for kind in ("vit", "rn"):
        reference.weights_file(kind, folder, LAYERS)
    return folder


def trained(name, weights, tmp_path_factory):
    """A trainer of one epoch, its checkpoint's folder and its logits of the first golden batch; made once a method."""
    if name not in FOUND:
        case, kind = CASE_OF[name], "rn" if name == "ProGrad" else "vit"
        depth = [x for tower in DEPTHS.get(name, ()) for x in (f"TRAINER.{name.upper()}.PROMPT_DEPTH_{tower}", LAYERS)]
        output, size = tmp_path_factory.mktemp(name), tiny_clip.CONFIG[kind]["image_size"]
        trainer = reference.make(case, weights / f"tiny_{kind}.safetensors", output,
                                 settings=[*depth, "OPTIM.MAX_EPOCH", 1, "INPUT.SIZE", (size, size)])
        trainer.train()
        images = torch.tensor(tiny_clip.batches(kind)[0][0])
        FOUND[name] = output, images, reference.evaluate(trainer, images), kind
    return FOUND[name]


@pytest.mark.parametrize("name", CASE_OF)
def test_it_classifies_as_the_trainer_did(name, weights, tmp_path_factory):
    output, images, logits, kind = trained(name, weights, tmp_path_factory)
    model = PromptedCLIP.from_checkpoint(output)
    torch.testing.assert_close(model.logits(images), logits, atol=1e-5, rtol=0)
    assert model.classnames == tiny_clip.CLASSNAMES
    assert model.classify(images).argmax(-1).tolist() == logits.argmax(-1).tolist()
    best = model.classify(images, top=2)
    assert [row[0][0] for row in best] == [tiny_clip.CLASSNAMES[i] for i in logits.argmax(-1)]


@pytest.mark.parametrize("name", ["CoOp", "PromptSRC", "VPT"])
def test_the_interface_is_open_clips(name, weights, tmp_path_factory):
    output, images, logits, _ = trained(name, weights, tmp_path_factory)
    model = PromptedCLIP.from_checkpoint(output)
    image, text, scale = model(images)
    torch.testing.assert_close(scale * image @ text.T, logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(len(text)))
    assert text.shape == (6, model.embed_dim) and not text.requires_grad
    new = model.encode_text(tiny_clip.NEW_CLASSNAMES)
    torch.testing.assert_close(new, model.with_classnames(tiny_clip.NEW_CLASSNAMES).encode_text())
    assert new.shape == (5, model.embed_dim)
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 50, 3), dtype=np.uint8))
    assert model.preprocess(picture).shape == (3, 32, 32)
    torch.testing.assert_close(model.classify([picture, picture])[1], model.classify(picture)[0])


def test_callers_generator_stays_as_it_was(weights, tmp_path_factory):
    output, *_ = trained("CoOp", weights, tmp_path_factory)
    before = torch.get_rng_state()
    PromptedCLIP.from_checkpoint(output).with_classnames(["one", "two"])
    assert torch.equal(before, torch.get_rng_state())


def test_in_a_fresh_process(weights, tmp_path_factory):
    """From another folder, with nothing of the training but the checkpoint and CLIP's weights."""
    output, images, logits, kind = trained("PromptSRC", weights, tmp_path_factory)
    torch.save(images, output / "images.pt")
    code = ("import promptreg, torch, sys; model = promptreg.PromptedCLIP.from_checkpoint(sys.argv[1]);"
            "torch.save(model.logits(torch.load(sys.argv[1] + '/images.pt')), sys.argv[1] + '/logits.pt')")
    subprocess.run([sys.executable, "-c", code, str(output)], check=True, cwd=weights, timeout=300,
                   env={**os.environ, "PYTHONPATH": str(ROOT / "dropin")})
    torch.testing.assert_close(torch.load(output / "logits.pt"), logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["ProGrad", "CoCoOp"])
def test_an_exported_file_holds_all_but_clips_weights(name, weights, tmp_path_factory, tmp_path):
    output, images, logits, kind = trained(name, weights, tmp_path_factory)
    assert export.main([str(output), str(tmp_path / "prompts.safetensors")]) == 0
    model = PromptedCLIP.from_checkpoint(tmp_path / "prompts.safetensors",
                                         backbone=weights / f"tiny_{kind}.safetensors")
    torch.testing.assert_close(model.logits(images), logits, atol=1e-5, rtol=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prompts.safetensors"]


@pytest.mark.parametrize("name", ["PromptSRC", "ProGrad"])
def test_onnx_equals_ours(name, weights, tmp_path_factory, tmp_path, caplog):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    output, images, logits, _ = trained(name, weights, tmp_path_factory)
    with caplog.at_level("WARNING"):  # at pytest's own level the exporter logs for minutes
        assert export.main([str(output), str(tmp_path / "model.onnx")]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (images, images[:1], torch.cat([images] * 2)):
        found, = session.run(["logits"], {"images": batch.numpy()})
        expected = PromptedCLIP.from_checkpoint(output).logits(batch)
        assert np.abs(found - expected.numpy()).max() < 1e-4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx"]
    about = session.get_modelmeta().custom_metadata_map
    model = PromptedCLIP.from_checkpoint(output)
    assert json.loads(about["classnames"]) == model.classnames and about["trainer"] == name
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 50, 3), dtype=np.uint8))
    assert np.allclose(prepared(picture, about), model.preprocess(picture).numpy(), atol=1e-5), "by metadata alone"
    assert about["backbone"] == model.method.cfg.MODEL.BACKBONE.NAME and about["promptreg"] == trainers.__version__
    assert about["prompts"] == "learned" and json.loads(about["prompt_settings"]) == dict(model.method.method_cfg)


def test_zero_shots_metadata_are_its_templates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main("ZeroshotCLIP/demo digits --output run --trainer ZeroshotCLIP2 DATASET.NUM_SHOTS 1".split()) == 0
    about = onnx_metadata(PromptedCLIP.from_checkpoint("run"))
    assert about["prompts"] == "templates" and "prompt_settings" not in about
    assert json.loads(about["templates"]) == [*SELECTED, PLAIN]


def prepared(picture, about):
    """What any program that reads the metadata makes of a picture: [3, S, S]."""
    size = int(about["image_size"])
    scale = size / min(picture.size)
    picture = picture.resize([int(side * scale) for side in picture.size],
                             getattr(Image.Resampling, about["interpolation"].upper()))
    left, top = (round((side - size) / 2) for side in picture.size)
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32) / 255
    return ((pixels - json.loads(about["mean"])) / json.loads(about["std"])).transpose(2, 0, 1)


def test_what_cannot_be_exported_is_told(weights, tmp_path_factory, tmp_path, capsys):
    output, *_ = trained("CoCoOp", weights, tmp_path_factory)
    assert export.main([str(output), str(tmp_path / "model.onnx")]) == 2
    assert "CoCoOp's text features depend on the image" in capsys.readouterr().err
    assert export.main([str(output), str(tmp_path / "model.bin")]) == 2
    assert "ends in .safetensors or .onnx" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_published_checkpoints_need_their_method_and_classes(weights, tmp_path_factory, tmp_path):
    """A file as the published PromptSRC writes it: the whole model's names, and neither method nor class names."""
    output, images, logits, kind = trained("PromptSRC", weights, tmp_path_factory)
    state, epoch = checkpoint.read_prompts(checkpoint.find_checkpoint(output, "VLPromptLearner"))
    path = tmp_path / "model.pth.tar-20"
    torch.save({"state_dict": {**state, "prompt_learner.token_prefix": torch.zeros(6, 1, 64)}, "epoch": epoch}, path)
    with pytest.raises(InputError, match="does not say which method"):
        PromptedCLIP.from_checkpoint(path)
    with pytest.raises(InputError, match="does not name its classes"):
        PromptedCLIP.from_checkpoint(path, trainer="PromptSRC")
    model = PromptedCLIP.from_checkpoint(path, tiny_clip.CLASSNAMES, weights / f"tiny_{kind}.safetensors",
                                         trainer="PromptSRC", precision="fp32", opts=[
                                             "INPUT.SIZE", (32, 32), "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT", LAYERS,
                                             "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION", LAYERS])
    torch.testing.assert_close(model.logits(images), logits, atol=1e-5, rtol=0)


DEEP = [f"transformer.resblocks.{layer}.VPT_shallow" for layer in range(1, LAYERS)]
VISUAL = ["image_encoder.VPT", *(f"image_encoder.{name}" for name in DEEP)]
BOTH = ["prompt_learner.ctx", *VISUAL, *(f"text_encoder.{name}" for name in DEEP)]
READ_BY = {  # method -> the folder and the parameters' names of its published implementation
    "CoOp": ("prompt_learner", ["ctx"]), "KgCoOp": ("prompt_learner", ["ctx"]), "ProGrad": ("prompt_learner", ["ctx"]),
    "CoCoOp": ("prompt_learner", ["ctx", *(f"meta_net.linear{i}.{x}" for i in (1, 2) for x in ("weight", "bias"))]),
    "VPT": ("prompt_learner", VISUAL), "IVLP": ("VLPromptLearner", BOTH), "PromptSRC": ("VLPromptLearner", BOTH),
    "MaPLe": ("MultiModalPromptLearner", ["prompt_learner.ctx", *(
        f"prompt_learner.{name}" for name in ("proj.weight", "proj.bias", *(
            f"compound_prompt{name}" for i in (0, 1) for name in (
                f"s_text.{i}", f"_projections.{i}.weight", f"_projections.{i}.bias"))))])}


@pytest.mark.parametrize("name", CASE_OF)
def test_published_implementations_read_what_is_written_for_them(name, weights, tmp_path_factory, tmp_path, capsys):
    output, images, logits, kind = trained(name, weights, tmp_path_factory)
    folder, names = READ_BY[name]
    golden = np.load(GOLDEN / f"trainer_{CASE_OF[name]}.npz").files
    recorded = {key.split("[")[0].removeprefix("final/") for key in golden if key.startswith("final/")}
    assert {n if n in recorded else f"prompt_learner.{n}" for n in names} <= recorded
    assert export.main([str(output), str(tmp_path), "--published"]) == 0
    path = tmp_path / folder / "model.pth.tar-1"
    assert capsys.readouterr().out.split()[-1] == str(path)

    from dassl.utils import load_checkpoint
    content = load_checkpoint(str(path))
    assert content["epoch"] == 1 and set(content["state_dict"]) == set(names)
    model = Prompts()  # stands for the module that load_model fills
    for n, value in content["state_dict"].items():
        model.put(n, torch.zeros_like(value, dtype=torch.float16))
    assert model.load_state_dict(content["state_dict"], strict=False) == ([], [])
    again = PromptedCLIP.from_checkpoint(output)
    load_prompts_into(again.method.prompts, content["state_dict"], path)
    torch.testing.assert_close(again.logits(images), logits, atol=1e-5, rtol=0)


def test_what_cannot_be_written_as_published_is_told(weights, tmp_path_factory, tmp_path, capsys):
    output, *_ = trained("CoOp", weights, tmp_path_factory)
    path = checkpoint.find_checkpoint(output, "prompt_learner")
    torch.save({"state_dict": checkpoint.read_prompts(path)[0], "epoch": 3}, tmp_path / "theirs")
    assert export.main([str(tmp_path / "theirs"), str(tmp_path / "out"), "--published"]) == 2
    assert "does not say which method" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert export.main([str(tmp_path / "theirs"), str(tmp_path / "out"), "--published", "--trainer", "KgCoOp"]) == 0
    assert (tmp_path / "out/prompt_learner/model.pth.tar-3").is_file()
    assert export.main([str(tmp_path / "none"), str(tmp_path / "out"), "--published"]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
    assert export.main([str(tmp_path / "x.safetensors"), str(tmp_path / "out"), "--published"]) == 2
    assert "is an exported file already: give the run's folder" in capsys.readouterr().err


@pytest.mark.parametrize("best", [False, True])
def test_no_checkpoint_is_written_over_or_beside(best, weights, tmp_path_factory, tmp_path, capsys):
    output, *_ = trained("CoOp", weights, tmp_path_factory)
    run = tmp_path / "run"
    shutil.copytree(output, run)
    path = checkpoint.find_checkpoint(run, "prompt_learner")
    if best:  # then none of its epoch need be there
        path = path.rename(path.with_name("model-best.pth.tar"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert export.main([str(run), str(run / ".." / "run"), "--published"]) == 2
    assert "give another folder" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert export.main([str(run), str(tmp_path / "out"), "--published"]) == 0
    assert export.main([str(run), str(tmp_path / "out"), "--published"]) == 2


def test_errors_are_one_line_with_what_to_do(weights, tmp_path_factory, tmp_path, capsys):
    output, images, *_ = trained("CoOp", weights, tmp_path_factory)
    with pytest.raises(InputError, match=r"\[B, 3, 32, 32\], got \[2, 3, 16, 16\]: put them through preprocess"):
        PromptedCLIP.from_checkpoint(output).classify(torch.zeros(2, 3, 16, 16))
    with pytest.raises(InputError, match="there is no checkpoint .*none.safetensors"):
        PromptedCLIP.from_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"12345")
    with pytest.raises(InputError, match="torn.safetensors cannot be read"):
        PromptedCLIP.from_checkpoint(tmp_path / "torn.safetensors")
    with pytest.raises(InputError, match="trainer 'Other' is not one of ours"):
        PromptedCLIP.from_checkpoint(output, trainer="Other")


def test_images_are_classified_from_the_shell(weights, tmp_path_factory, tmp_path, capsys):
    output, *_ = trained("CoOp", weights, tmp_path_factory)
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 50, 3), dtype=np.uint8))
    picture.save(tmp_path / "one.png")
    (tmp_path / "names.txt").write_text("cat\ndog\n\n")
    assert classify.main([str(output), str(tmp_path / "one.png"), "--classnames", str(tmp_path / "names.txt"),
                      "--top", "2"]) == 0
    path, best, second = capsys.readouterr().out.splitlines()[-1].split("\t")
    assert path.endswith("one.png") and {best.split()[0], second.split()[0]} == {"cat", "dog"}
    assert int(best.split()[1]) + int(second.split()[1]) == pytest.approx(100, abs=1) and best.endswith(" %")
    assert classify.main([str(output), str(tmp_path / "none.png")]) == 2
    assert "none.png: there is no such image" in capsys.readouterr().err


@pytest.mark.parametrize("given, code, words", [
    ("nofile.txt", 2, "there is no such file"), ("folder/names", 2, "there is no such file"),
    ("/dev/null", 2, "no names in it"), ("", 2, "no names in it"), (",", 2, "no names in it"),
    ("latin.txt", 2, "latin.txt: not a text in UTF-8"), ("bom.txt", 0, "cat 100 %"), ("St. Bernard", 0, "St. Bernard"),
    (",".join(f"class {n}" for n in range(60)), 0, "%"), ("cat", 0, "cat 100 %")])
def test_class_names_from_the_shell(given, code, words, weights, tmp_path_factory, tmp_path, capsys, monkeypatch):
    output, *_ = trained("CoOp", weights, tmp_path_factory)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 50)).save("one.png")
    (tmp_path / "latin.txt").write_text("caf\xe9\n", encoding="latin-1")
    (tmp_path / "bom.txt").write_text("cat\n", encoding="utf-8-sig")
    (tmp_path / "cat").mkdir()
    assert classify.main([str(output), "one.png", "--classnames", given]) == code
    said = capsys.readouterr()
    assert words in (said.err if code else said.out) and said.err.count("\n") == bool(code)
