"""Weights by path are built as what they are, or refused: another activation or head width gives other features."""
import copy
import hashlib
import logging

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from support.clip_files import ARCHS, OWN, config, far, features, model_of, put, refused, register, wanted

from trainers.cli import weights as fetch
from trainers.clip import architecture, load_clip, openai, weights


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    register(monkeypatch)


@pytest.mark.parametrize("arch,fits", [
    ("wide", "wide (GELU), wide-64 (GELU)"), ("small", "small (GELU), small-quickgelu (QuickGELU, as OpenAI has)"),
    ("small-quickgelu", "small (GELU), small-quickgelu (QuickGELU, as OpenAI has)")])
@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_a_bare_path_of_a_file_that_does_not_say_it_is_refused(arch, fits, form, tmp_path):
    model, path = put(tmp_path, arch)
    if form == "safetensors":
        path = tmp_path / "clip.safetensors"
        save_file(model.state_dict(), path)
    said = refused(path)
    assert f"{path} does not say which model it is" in said
    assert f"MODEL.BACKBONE.NAME as ARCH:{path}, ARCH one of those that fit: {fits}, or keep" in said


@pytest.mark.parametrize("arch", ARCHS)
def test_a_path_with_its_architecture_gives_open_clips_features(arch, tmp_path):
    model, path = put(tmp_path, arch)
    found = load_clip(f"{arch}:{path}")
    assert far(features(found), wanted(model)) < 1e-5
    others = [other for other in ("small", "small-quickgelu") if arch.startswith("small") and other != arch]
    for other in others:
        twin = load_clip(f"{other}:{path}")
        assert far(features(twin), wanted(model)) > 1e-3, "else this test could not fail"
        assert twin.fingerprint != found.fingerprint, "caches must tell them apart"


def test_a_published_architecture(tmp_path):
    """A checkpoint as open_clip's training leaves it."""
    torch.manual_seed(0)
    model, path = open_clip.create_model("ViT-S-32-alt", pretrained=None).eval(), tmp_path / "epoch_3.pt"
    torch.save({"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path)
    images, found = torch.randn(2, 3, 224, 224), load_clip(f"ViT-S-32-alt:{path}")
    with torch.no_grad():
        assert far(found.vision(found.vision.embed(images)), model.encode_image(images)) < 1e-5
    assert "ARCH one of those that fit: ViT-S-32-alt (GELU), or" in refused(path)
    said = refused(f"ViT-B-16:{path}")
    assert f"{path} does not have the shapes of open_clip's ViT-B-16: give ARCH:" in said
    assert "ViT-S-32-alt (GELU)" in said


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-quickgelu", "RN50", "RN50-quickgelu", "ViT-H-14-378",
                                  "convnext_base_w", "EVA02-L-14-336"])
def test_the_architectures_that_fit_are_those_of_the_same_shapes(name):
    """Shapes alone decide, so tensors without memory do."""
    with torch.device("meta"):
        state = open_clip.factory.get_model_config(name)
        timm = "timm_model_name" in state["vision_cfg"]
        state = {"visual.trunk.x": torch.zeros(1)} | text_of(state) if timm else openai.skeleton(
            open_clip.model.CLIP, state).state_dict()
    found = architecture.fitting(state)
    assert found[name] is ("quickgelu" in name)
    twins = {"ViT-B-32", "ViT-B-32-quickgelu"}, {"RN50", "RN50-quickgelu"}, {"ViT-H-14-378", "ViT-H-14-378-quickgelu"}
    assert timm or set(found) in twins


def text_of(cfg):
    with torch.device("meta"):
        plain = openai.skeleton(open_clip.model.CLIP, cfg | {"vision_cfg": {"layers": 1}}).state_dict()
    return {key: value for key, value in plain.items() if "visual" not in key}


def test_coops_name_means_openais_model(tmp_path, monkeypatch):
    """ViT-B/16 is QuickGELU's; open_clip's own ViT-B-16 is not."""
    monkeypatch.setitem(weights.COOP_NAMES, "sm/all", "small")
    model, path = put(tmp_path, "small-quickgelu")
    assert far(features(load_clip(f"sm/all:{path}")), wanted(model)) < 1e-5


def test_openais_own_entries_say_it(tmp_path):
    """The three numbers that OpenAI's archives hold, kept by a state dict that was saved anew."""
    model, path = put(tmp_path, "small-quickgelu")
    torch.save(model.state_dict() | OWN, path)
    found = load_clip(str(path))
    assert far(features(found), wanted(model)) < 1e-5 and found.normalization == openai.NORMALIZATION
    assert found.fingerprint == load_clip(f"openai:{path}").fingerprint == weights.fingerprint(path)
    assert load_clip(f"small-quickgelu:{path}").fingerprint == found.fingerprint
    assert "quick_gelu False and True" in refused(f"small:{path}")
    torch.save(model.state_dict() | {"context_length": torch.tensor(77)}, path)
    assert "does not say which model it is" in refused(path), "others have one of these names as well"


def test_openais_style_is_said_by_openai(tmp_path):
    model, path = put(tmp_path, "small-quickgelu", "mine.pth")
    assert far(features(load_clip(f"openai:{path}")), wanted(model)) < 1e-5
    state = {name: value for name, value in model.state_dict().items() if "resblocks.1" not in name}
    torch.save(state, path)
    assert "ARCH openai if it is made as OpenAI's: QuickGELU, heads of 64 (none of open_clip's fits)" in refused(path)
    assert load_clip(f"openai:{path}").embed_dim == 24


def test_a_published_file_is_known_by_its_check_sum(tmp_path, monkeypatch):
    model, path = put(tmp_path, "small")
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    plain = {"url": f"https://x.org/models/{sha}/small.pt", "hf_hub": "", "mean": (0.5,) * 3, "std": (0.25,) * 3}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "small", {"here": plain})
    assert far(features(load_clip(str(path))), wanted(model)) < 1e-5, "GELU, where nothing is said"
    model, path = put(tmp_path, "small-quickgelu")
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    for url in (f"https://x.org/models/{sha}/small.pt", f"https://x.org/small-laion-{sha[:8]}.pt"):
        about = {"url": url, "hf_hub": "", "mean": (0.5,) * 3, "std": (0.25,) * 3, "quick_gelu": True}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "small", {"here": about})
        found = load_clip(str(path))
        assert far(features(found), wanted(model)) < 1e-5
        assert found.normalization == ((0.5,) * 3, (0.25,) * 3)
        assert "check sum, of small:here, says otherwise (quick_gelu False and True)" in refused(f"small:{path}")
    monkeypatch.setitem(about, "url", f"https://x.org/small-laion-{sha[1:9]}.pt")
    assert "does not say which model it is" in refused(path)


@pytest.mark.parametrize("wrap", [
    lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3, "optimizer": {"state": {0: torch.ones(1)}}},
    lambda s: {"epoch": torch.tensor(1), "model_state_dict": {f"module.{k}": v for k, v in s.items()}},
    lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}},
    lambda s: {f"module._orig_mod.clip.{k}": v for k, v in s.items()}])
def test_what_frameworks_wrap_weights_in_is_taken_off(wrap, tmp_path):
    model, path = put(tmp_path, "small")
    torch.save(wrap(model.state_dict()), path)
    assert far(features(load_clip(f"small:{path}")), wanted(model)) < 1e-5


def test_several_models_in_a_file_are_refused(tmp_path):
    state = model_of("small").state_dict()
    torch.save({"state_dict": state, "ema": {name: value * 2 for name, value in state.items()}}, tmp_path / "clip.pt")
    assert "clip.pt: several models are in it (state_dict, ema): save the wanted one alone" in refused(
        f"small:{tmp_path}/clip.pt")
    half = {f"model.{k}" if "visual" in k else k: v for k, v in state.items()}
    torch.save(half, tmp_path / "clip.pt")
    assert "not the weights of a CLIP" in refused(f"small:{tmp_path}/clip.pt")


def test_a_text_tower_of_its_own_is_taken_out(tmp_path):
    """open_clip's CustomTextCLIP calls it ``text.``; so does what it saves."""
    torch.manual_seed(0)
    model = open_clip.create_model("small", pretrained=None, force_custom_text=True).eval()
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    assert far(features(load_clip(f"small:{tmp_path}/clip.pt")), wanted(model)) < 1e-5


def test_a_vision_tower_of_timms(tmp_path, monkeypatch):
    own = config() | {"vision_cfg": {"timm_model_name": "resnet18", "image_size": 32}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "of-timm", own)
    torch.manual_seed(0)
    model = open_clip.create_model("of-timm", pretrained=None).eval()
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    assert far(features(load_clip(f"of-timm:{tmp_path}/clip.pt")), wanted(model)) < 1e-5
    assert "ARCH one of those that fit: of-timm (GELU), or keep" in refused(tmp_path / "clip.pt")
    assert "does not have the shapes of open_clip's small" in refused(f"small:{tmp_path}/clip.pt")
    torch.save(model.state_dict() | {"visual.trunk.conv1.weight": torch.zeros(3)}, tmp_path / "clip.pt")
    assert "does not have the shapes of open_clip's of-timm (Error" in refused(f"of-timm:{tmp_path}/clip.pt")


def test_half_precision_is_read_in_whole(tmp_path):
    model, path = put(tmp_path, "wide")
    half = copy.deepcopy(model).half()
    torch.save(half.state_dict(), path)
    found = load_clip(f"wide:{path}")
    assert {value.dtype for value in found.model.state_dict().values()} == {torch.float32}
    assert far(features(found), wanted(half.float())) < 1e-5


def test_names_of_files(tmp_path, monkeypatch):
    """What stands before the colon is an architecture where there is one of that name, else the path's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, found in (("a.pt", ("", "a.pt")), ("ViT-B/16:a.pt", ("ViT-B/16", "a.pt")), ("RN50:./a", ("RN50", "a")),
                        ("ViT-B-16-quickgelu:~/x/a.PT", ("ViT-B-16-quickgelu", str(tmp_path / "x" / "a.PT"))),
                        ("~/a.bin", ("", str(tmp_path / "a.bin"))), ("C:\\clip\\a.pt", ("", "C:\\clip\\a.pt")),
                        ("ViT-B-16:C:\\a.pt", ("ViT-B-16", "C:\\a.pt")), ("runs/3:00/a.pt", ("", "runs/3:00/a.pt")),
                        ("openai:/a/b:c", ("openai", "/a/b:c")), ("./RN50:a.pt", ("", "RN50:a.pt"))):
        arch, path = weights.file_of(name)
        assert (arch, str(path)) == found, name
        assert weights.is_file_name(name)
    for name in ("ViT-B/16", "RN50", "ViT-B-16:laion2b_s34b_b88k", "ViT-B/16:openai", "", "ViT-B16", "hf-hub:a/b"):
        assert weights.file_of(name) is None
    for name, said in (("ViT-B16:a.pt", "a.pt, which does not exist: correct the path (before the colon, did you mean"),
                       ("ViT-B-16:a.pt", "names the file a.pt, which does not exist"),
                       (str(tmp_path), "names the folder"), ("ViT-B16", "did you mean ViT-B/16? known names"),
                       ("ViT-b-32", "did you mean ViT-B-32?"), ("vit-b/16", "did you mean ViT-B/16?"),
                       ("ViT-B-16-quickgellu:openai", "ViT-B-16-quickgelu?")):
        assert said in refused(name)
    put(tmp_path, "small", "3:00.pt")
    assert load_clip("small:3:00.pt").name == "small:3:00.pt" and "does not say" in refused("3:00.pt")
    assert load_clip("small:~/3:00.pt").embed_dim == 24


def test_a_name_of_two_models_is_said_to_be_open_clips(tmp_path, caplog, monkeypatch):
    """RN50 is open_clip's (GELU) and CoOp's for OpenAI's (QuickGELU); a file that says it settles it."""
    model, path = put(tmp_path, "small")
    assert load_clip(f"small:{path}") and not caplog.text, "a name of one"
    monkeypatch.setitem(weights.COOP_NAMES, "small", "small")
    with caplog.at_level(logging.WARNING):
        assert far(features(load_clip(f"small:{path}")), wanted(model)) < 1e-5
    assert ("is built as open_clip's small, with GELU; OpenAI's weights need QuickGELU: small-quickgelu:"
            f"{path}") in caplog.text
    model, _ = put(tmp_path, "small-quickgelu")
    torch.save(model.state_dict() | OWN, path)
    caplog.clear()
    assert far(features(load_clip(f"small:{path}")), wanted(model)) < 1e-5 and not caplog.text


def test_text_towers_with_tokens_of_their_own_are_refused(tmp_path, monkeypatch):
    """They would be given CLIP's tokens: other words, features without a word."""
    own = config() | {"text_cfg": {"width": 64, "heads": 1, "layers": 2, "hf_tokenizer_name": "bert-base-uncased"}}
    about = {"url": "https://x.org/own.pt", "hf_hub": "", "mean": (0,) * 3, "std": (1,) * 3}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "own", own)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "own", {"here": about})
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    put(tmp_path / ".cache" / "clip", "small", "own.pt")
    for name in ("own:here", f"own:{tmp_path}/.cache/clip/own.pt"):
        assert "takes no prompts (it has hf_tokenizer_name)" in refused(name)


def test_a_file_is_not_fetched(tmp_path, capsys):
    for name, said in ((f"ViT-B-16:{tmp_path}/a.pt", "is no published model"),
                       ("ViT-B/17", "NAME 'ViT-B/17' names no CLIP: give one of CoOp's names or open_clip's ARCH:PRE")):
        assert fetch.main([name]) == 2
        err = capsys.readouterr().err
        assert said in err and not err.startswith("error: MODEL.BACKBONE.NAME")


def test_the_exact_clip_is_of_the_same_architecture(tmp_path):
    """The same CLIP in float32 is read anew by its name."""
    model, path = put(tmp_path, "wide")
    found = load_clip(f"wide:{path}", "bf16")
    assert far(features(found.exact()), wanted(model)) < 1e-5
