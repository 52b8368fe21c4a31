"""The frozen CLIP: reading weights in their true formats, prefix sharing on random prompts, kept text features."""
import re

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from safetensors.torch import load_file, save_file
from support import plain, reference
from yacs.config import CfgNode

from trainers.cli import weights as fetch
from trainers.clip import block, load, load_clip, openai, pack, prompt_tokens, template_tokens, text, weights, zero_shot
from trainers.errors import InputError

STORED = reference.openai_state("vit")
TINY = {name: value for name, value in STORED.items() if name not in openai.OWN_KEYS}


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return load_clip(str(reference.weights_file("vit", tmp_path_factory.mktemp("clip"))))


def torchscript(state, path):
    """Save ``state`` as OpenAI does: a TorchScript archive of a module with these parameters."""
    root = torch.nn.Module()
    for name, value in state.items():
        node = root
        *parts, leaf = name.split(".")
        for part in parts:
            if part not in node._modules:
                node.add_module(part, torch.nn.Module())
            node = node._modules[part]
        node.register_parameter(leaf, torch.nn.Parameter(value, requires_grad=False))
    for name in openai.OWN_KEYS:
        root.register_buffer(name, STORED[name])
    torch.jit.save(torch.jit.script(root), path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["torchscript", "half torchscript", "state dict", "safetensors"])
def test_weights_are_read_bit_for_bit(form, tmp_path):
    state = {k: v.half() if "half" in form else v for k, v in TINY.items()}
    path = tmp_path / ("tiny.safetensors" if form == "safetensors" else "tiny.pt")
    if "torchscript" in form:
        torchscript(state, path)
    else:
        {"state dict": torch.save, "safetensors": save_file}[form](STORED, path)
    assert weights.torch_archive.is_torchscript(path) == ("torchscript" in form)
    loaded = load_clip(str(path)).model.state_dict()
    for name, value in state.items():
        assert torch.equal(loaded[name], value.float()), name
        assert loaded[name].dtype == torch.float32


def test_published_name_is_found_in_the_usual_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"ViT-B/16 \(ViT-B-16.pt\).*looked for .*\.cache/clip/ViT-B-16.pt and "
                                         r"timm/\S+ in the model hub's cache; fetch them with: "
                                         "promptreg weights"):
        weights.locate("ViT-B/16")
    cache = tmp_path / ".cache" / "clip"
    cache.mkdir(parents=True)
    torch.save(TINY, cache / "ViT-B-16.pt")
    with pytest.raises(InputError, match="ViT-B-16.pt holds another model than ViT-B/16, by its shapes"):
        load_clip("ViT-B/16")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-16", openai.configuration(TINY))
    found = load_clip("ViT-B/16")
    assert found.embed_dim == 32 and load.fingerprint_of("ViT-B/16") == found.fingerprint


def test_hub_name_is_found_in_the_hubs_cache(tmp_path, monkeypatch):
    import huggingface_hub
    name = "ViT-B-32:laion2b_s34b_b79k"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="laion/CLIP-ViT-B-32-laion2B-s34B-b79K in the model hub's cache"):
        weights.locate(name)
    with pytest.raises(InputError, match=r"the weights of \S+ \(open_clip_model.safetensors\) are not on this machine"):
        weights.locate(name)
    about = {"hf_hub": "someone/CLIP/epoch_9.pt", "mean": (0, 0, 0), "std": (1, 1, 1)}  # a file of that repository
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["ViT-B-32"], "nine", about)
    with pytest.raises(InputError, match=r"nine \(epoch_9.pt\) are not .* looked for someone/CLIP in the model hub"):
        weights.locate("ViT-B-32:nine")
    folder = tmp_path / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "open_clip_model.safetensors").write_bytes(b"x")
    assert weights.locate(name).name == "open_clip_model.safetensors"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quick", [False, True])
def test_open_clips_own_weights_compute_what_open_clip_does(quick, tmp_path, monkeypatch, caplog):
    """A model of the open_clip family, with the activation and the images' normalization of its training."""
    shape = {"embed_dim": 24, "vision_cfg": {"layers": 2, "width": 64, "patch_size": 16, "image_size": 32},
             "text_cfg": {"width": 64, "heads": 1, "layers": 2, "context_length": 32}}
    about = {"url": "https://example.org/small.pt", "hf_hub": "", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small", shape)
    about |= {"quick_gelu": True} if quick else {}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "small", {"here": about})
    monkeypatch.setenv("HOME", str(tmp_path))
    model = open_clip.create_model("small", pretrained=None, force_quick_gelu=quick).eval()
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    torch.save(model.state_dict(), tmp_path / ".cache" / "clip" / "small.pt")

    ours, images = load_clip("small:here"), torch.randn(2, 3, 32, 32)
    rows = template_tokens(["a photo of a cat.", "a dog."], ours.tokenizer)
    tokens = torch.tensor([[token for token, _ in row] + [0] * (32 - len(row)) for row in rows])
    with torch.no_grad():
        assert (ours.text(pack(rows)) - model.encode_text(tokens)).abs().max() < 1e-5
        assert (ours.vision(ours.vision.embed(images)) - model.encode_image(images)).abs().max() < 1e-5
    assert len(template_tokens(["snow " * 30], ours.tokenizer)[0]) == 32
    with pytest.raises(InputError, match="has 33 tokens, CLIP reads at most 32"):
        template_tokens(["snow " * 31], ours.tokenizer)

    for mean, std, warned in (((0.5,) * 3, [0.5, 0.5, 0.5], False), ((0.48, 0.46, 0.41), [0.5] * 3, True),
                              ([0.5] * 3, (0.27, 0.26, 0.28), True)):
        caplog.clear()
        ours.compare_normalization(CfgNode({"PIXEL_MEAN": mean, "PIXEL_STD": std}))
        assert ("trained with INPUT.PIXEL_MEAN [0.5, 0.5, 0.5] and" in caplog.text) is warned
    caplog.clear()
    load_clip("demo").compare_normalization(CfgNode({"PIXEL_MEAN": [0, 0, 0], "PIXEL_STD": [1, 1, 1]}))
    assert "demo_clip.safetensors: these weights were trained with INPUT.PIXEL_MEAN [0.48" in caplog.text


def test_published_models_tell_their_normalization():
    mean, std = weights.normalization("ViT-B/16")
    assert mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert std == pytest.approx((0.2686, 0.2613, 0.2758), abs=1e-4)
    assert weights.normalization("ViT-L-14:laion2b_s32b_b82k")[0] == (0.5, 0.5, 0.5)
    assert weights.normalization("a.pt") is None and weights.normalization("demo") is None


@pytest.mark.parametrize("name", ["ViT-B/17", "RN51", "ViT-B-32:nobody"])
def test_unknown_backbone(name):
    with pytest.raises(InputError, match=f"^MODEL.BACKBONE.NAME '{name}' names no CLIP"):
        weights.locate(name)
    with pytest.raises(InputError, match="^MODEL.BACKBONE.NAME"):
        weights.split_name(name)


@pytest.mark.parametrize("kind,said", [("cut", "fetch the file again"), ("other tensors", "ln_final.weight"),
                                       ("text", "no plain file of tensors"), ("empty", "no plain file of tensors"),
                                       ("module", "no plain file of tensors")])
def test_damaged_weights_are_named(kind, said, tmp_path):
    path = tmp_path / "clip.pt"
    content = {"other tensors": {"weight": torch.zeros(3)}, "module": {"whole": torch.nn.Linear(2, 2)}}
    torch.save(content.get(kind, TINY), path)
    if kind in ("cut", "text", "empty"):
        path.write_bytes({"cut": path.read_bytes()[:5000], "text": b"hello", "empty": b""}[kind])
    with pytest.raises(InputError, match=f"clip.pt.*{said}"):
        load_clip(str(path))


def test_demo_is_part_of_the_package():
    clip = load_clip("demo")
    assert len(clip.text.blocks) >= 6 and len(clip.vision.blocks) >= 6
    assert weights.DEMO.stat().st_size < 3 * 2 ** 20


WORDS = st.lists(st.sampled_from(["cat", "dog", "golden retriever", "a", "Boeing 737-800", "éclair", "x" * 20]),
                 min_size=1, max_size=4).map(" ".join)


@settings(max_examples=12, deadline=None)
@given(names=st.lists(WORDS, min_size=1, max_size=5), n_ctx=st.integers(1, 6), depth=st.integers(1, 12),
       position=st.sampled_from(["end", "middle", "front"]), chunk=st.sampled_from([None, 1, 9]),
       seed=st.integers(0, 99))
def test_prefix_sharing_equals_the_plain_way(clip, names, n_ctx, depth, position, chunk, seed):
    """Features and gradients on random names, context lengths, depths, positions and chunk sizes."""
    torch.manual_seed(seed)
    rows = prompt_tokens(names, clip.tokenizer, " ".join("X" * n_ctx), n_ctx, position)
    context = torch.randn(n_ctx, 64).mul_(0.1).requires_grad_()
    deep = [torch.randn(n_ctx, 64).mul_(0.1).requires_grad_() for _ in range(depth - 1)] if position == "end" else []
    target = torch.randn(len(names), 32)
    fast = clip.text(pack(rows, chunk), context, deep)
    slow = plain.text_features(clip, rows, context, deep)
    assert (fast - slow).abs().max() < 1e-5 * max(1, slow.abs().max())
    for a, b in zip(*(torch.autograd.grad((f * target).sum(), [context, *deep]) for f in (fast, slow)), strict=True):
        assert (a - b).abs().max() < 1e-5 * max(1, b.abs().max())


@pytest.mark.parametrize("heads,length", [(4, 5), (1, 5), (3, 2)])
@pytest.mark.parametrize("asked", ["all", "last"])
def test_attention_after_a_prefix_is_causal_attention_of_the_whole(asked, heads, length):
    torch.manual_seed(0)
    sets, sequences, width, shared = 2, 3, 6, 7
    q, k, v = torch.randn(3, sets, heads, sequences, length, width)
    prefix_k, prefix_v = torch.randn(2, sets, heads, shared, width)
    found = block.attend_after_prefix(q if asked == "all" else q[..., -1:, :], k, v, prefix_k, prefix_v)
    found = found.unflatten(1, (sequences, -1)).unflatten(-1, (heads, width)).movedim(-2, 1)
    for g in range(sets):
        for c in range(sequences):
            whole_k, whole_v = torch.cat([prefix_k[g], k[g, :, c]], 1), torch.cat([prefix_v[g], v[g, :, c]], 1)
            for i in range(length) if asked == "all" else [length - 1]:
                weights = (whole_k[:, :shared + i + 1] @ q[g, :, c, i, :, None] / width ** 0.5).softmax(1)
                wanted = (weights * whole_v[:, :shared + i + 1]).sum(1)
                assert torch.allclose(found[g, :, c, i if asked == "all" else 0], wanted, atol=1e-6)
    assert found.shape == (sets, heads, sequences, length if asked == "all" else 1, width)


def test_tokens_shared_by_all_classes_are_encoded_once(clip):
    rows = prompt_tokens(["big cat", "big dog"], clip.tokenizer, "X X", 2)
    layout = pack(rows)
    assert layout.prefix.tolist()[0] == clip.tokenizer.sot_token_id and len(layout.prefix) == 4  # SOS, X, X, "big"
    assert len(layout.chunks[0].tokens) == 2 * 3  # cat/dog, full stop, end-of-text


def test_name_too_long_is_named(clip):
    with pytest.raises(InputError, match=r'"a photo of a snow snow.*has \d+ tokens, CLIP reads at most 77'):
        prompt_tokens(["snow " * 80], clip.tokenizer, "a photo of a", 4)
    with pytest.raises(InputError, match="class 1 has an empty name"):
        prompt_tokens(["cat", "_"], clip.tokenizer, "X", 1)


def test_frozen_features_are_kept_and_found_again(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTREG_CACHE", str(tmp_path))
    first = zero_shot.template_features(clip, ["cat", "dog"], ["a photo of a {}.", "{}."])
    file, = tmp_path.glob("text-*.safetensors")
    stamp = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(type(clip.text), "__call__", lambda *_: pytest.fail("computed again"))
        assert torch.equal(zero_shot.template_features(clip, ["cat", "dog"], ["a photo of a {}.", "{}."]), first)
    for names, templates in ((["cat", "cow"], ["a photo of a {}.", "{}."]), (["cat", "dog"], ["{}."])):
        assert not torch.equal(zero_shot.template_features(clip, names, templates), first)
    assert len(list(tmp_path.glob("text-*"))) == 3
    file.write_bytes(stamp[:100])  # a full disk's leftover
    assert torch.equal(zero_shot.template_features(clip, ["cat", "dog"], ["a photo of a {}.", "{}."]), first)
    monkeypatch.setattr(zero_shot, "LIMIT_BYTES", 1)
    zero_shot.template_features(clip, ["one"], ["{}."])
    assert len(list(tmp_path.glob("text-*"))) == 1
    kept = list(tmp_path.glob("text-*"))
    zero_shot.template_features(clip, ["two"], ["{}."], cache=False)
    assert zero_shot.template_features(load.FrozenCLIP(clip.model), ["two"], ["{}."]).shape == (1, 32), "of no file"
    assert list(tmp_path.glob("text-*")) == kept and len(kept) == 1


def test_template_features_equal_the_plain_way(clip):
    names = ["egyptian_mau", "cat", "a very long name of a cat"]
    for normalize in (False, True):
        ours = zero_shot.template_features(clip, names, ["a photo of a {}.", "{} texture."], normalize, cache=False)
        theirs = plain.template_features(clip, names, ["a photo of a {}.", "{} texture."], normalize)
        assert (ours - theirs).abs().max() < 1e-6
        assert torch.equal(zero_shot.template_features(clip, names, ["a photo of a {}.", "{} texture."], cache=False),
                           ours) is not normalize, "not normalized unless so asked"
    assert [t for t, _ in template_tokens(["a cat"], clip.tokenizer)[0]][0] == clip.tokenizer.sot_token_id


def test_a_prompt_of_77_tokens_fits_and_one_of_78_does_not(clip):
    row, = prompt_tokens(["snow " * 73], clip.tokenizer, "X", 1)
    assert len(row) == 77
    with pytest.raises(InputError, match="has 78 tokens"):
        prompt_tokens(["snow " * 74], clip.tokenizer, "X", 1)


def test_slots_stand_where_the_position_says(clip):
    """Two words of three are slots; the third stays a word; with contexts of their own, class 1 has slots 2 and 3."""
    words, names = "a b c", ["cat", "big dog"]
    rows = template_tokens([f"{words} {name}." for name in names], clip.tokenizer)
    tokens = [[token for token, _ in row] for row in rows]
    for position, places in (("end", [[1, 2], [1, 2]]), ("front", [[2, 3], [3, 4]]), ("middle", [[1, 3], [1, 4]])):
        rows = prompt_tokens(names, clip.tokenizer, words, 2, position, per_class=True)
        for c, row in enumerate(rows):
            assert sorted(token for token, _ in row) == sorted(tokens[c])
            assert [i for i, (_, slot) in enumerate(row) if slot >= 0] == places[c], position
            assert [row[i] for i in places[c]] == [(tokens[c][1], 2 * c), (tokens[c][2], 2 * c + 1)]
    with pytest.raises(InputError, match="CLASS_TOKEN_POSITION is 'top'"):
        prompt_tokens(names, clip.tokenizer, words, 2, "top")


def test_chunks_hold_every_row_once_and_about_what_they_may(clip):
    names = ["cat", "golden retriever", "a b c d e", "dog", "one two three", "cow", "a very long name of a cat"]
    rows = template_tokens([f"{name}." for name in names], clip.tokenizer)
    whole, none_shared = pack(rows), pack([[*row[:1], (5, -1), *row[1:]] for row in rows], share=False)
    assert len(whole.chunks) == 1 and len(whole.prefix) == 1 and whole.size == 7 and len(none_shared.prefix) == 1
    for most in (1, 6, 12, 1000):
        layout = pack(rows, most)
        packed = []
        for chunk in layout.chunks:
            lengths = [n for count, n in chunk.groups for _ in range(count)]
            packed += [chunk.tokens[end - n + 1:end + 1].tolist() for n, end in zip(lengths, chunk.ends, strict=True)]
        assert [packed[i] for i in layout.order] == [[token for token, _ in row[1:]] for row in rows]
        assert [place for chunk in layout.chunks for place in chunk.position_ids.tolist()] == [
            place for row in packed for place in range(1, 1 + len(row))]
        assert len(layout.chunks) <= max(1, -(-sum(map(len, packed)) // most)) and (most > 1 or len(layout.chunks) == 7)
    alike = pack(template_tokens(["cat.", "cow.", "dog.", "egg."], clip.tokenizer), 9).chunks  # of 3 own tokens each
    assert [chunk.groups for chunk in alike] == [[(2, 3)], [(2, 3)]]
    assert len(pack(rows[:1] * 3).prefix) == len(rows[0]) - 1  # the end-of-text token stays each row's own


@pytest.mark.parametrize("attention", [torch.nn.Identity(), torch.nn.MultiheadAttention(8, 2, kdim=4)],
                         ids=["another kind", "no fused projection"])
def test_a_block_that_is_not_clips_is_refused(attention):
    resblock = torch.nn.Module()
    resblock.attn = attention
    with pytest.raises(TypeError, match=f"a {type(attention).__name__} block"):
        block.Block(resblock)


@pytest.mark.parametrize("kind,message", [({"no_causal_mask": True}, "its attention is not causal"),
                                          ({"pool_type": "last"}, "not read at the end-of-text token"),
                                          ({"embed_cls": True}, "not read at the end-of-text token"),
                                          ({"proj_bias": True}, "its projection is no plain matrix")])
def test_a_text_tower_that_is_not_clips_is_refused(kind, message):
    """SigLIP's, say, which has blocks of the same kind and would give wrong features without a word."""
    def model(**more):
        return CustomTextCLIP(24, CLIPVisionCfg(layers=1, width=64, patch_size=16, image_size=32),
                              CLIPTextCfg(width=32, heads=2, layers=1, **more))
    assert load.FrozenCLIP(model()).embed_dim == 24
    with pytest.raises(InputError, match=f"text tower takes no prompts .*{message}.*choose one with"):
        load.FrozenCLIP(model(**kind))


def test_weights_are_frozen(clip):
    assert not any(parameter.requires_grad for parameter in clip.model.parameters()) and not clip.model.training


def test_weights_are_fetched_from_their_published_place_when_asked_for(tmp_path, monkeypatch, capsys):
    asked = []

    def download(source, prefer_hf_hub):
        asked.append((source["url"].rpartition("/")[2], prefer_hf_hub))
        place = tmp_path / ".cache" / "clip" / asked[-1][0]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"weights")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("open_clip.pretrained.download_pretrained", download)
    assert fetch.main(["ViT-B/16", "RN50"]) == 0
    assert asked == [("ViT-B-16.pt", False), ("RN50.pt", False)]  # the hub would have another file
    assert capsys.readouterr().out.splitlines() == [f"{name}: {tmp_path}/.cache/clip/{file}" for name, file in
                                                    (("ViT-B/16", "ViT-B-16.pt"), ("RN50", "RN50.pt"))]


@pytest.mark.parametrize("vision,size", [(CLIPVisionCfg(layers=3, width=64, patch_size=16, image_size=48), 48),
                                         (CLIPVisionCfg(layers=1, width=64, patch_size=16, image_size=16), 16),
                                         (CLIPVisionCfg(layers=(1, 2, 3, 1), width=16, patch_size=None,
                                                        image_size=96), 96),
                                         (CLIPVisionCfg(layers=(1, 1, 1, 2), width=16, patch_size=None,
                                                        image_size=32), 32)],
                         ids=["transformer", "of one patch", "ResNet", "of one place"])
def test_shapes_are_read_from_the_weights(vision, size):
    """A grid of three, or of one, and as many layers of each kind as there are."""
    torch.manual_seed(0)
    model = CLIP(24, vision, CLIPTextCfg(width=64, heads=1, layers=2), quick_gelu=True).eval()
    built = load.build_from_openai(model.state_dict()).eval()
    assert built.visual.image_size in (size, (size, size))
    images, tokens = torch.randn(2, 3, size, size), torch.tensor([[49406, 5, 49407] + [0] * 74])
    with torch.no_grad():
        assert torch.allclose(built.encode_image(images), model.encode_image(images), atol=1e-6)
        assert torch.allclose(built.encode_text(tokens), model.encode_text(tokens), atol=1e-6)


def test_a_fingerprint_is_of_the_whole_file(clip, tmp_path):
    paths = [tmp_path / name for name in ("one", "same", "other", "longer")]
    content = bytes(range(256)) * (40 << 10)  # 10 MiB
    for path, what in zip(paths, (content, content, content[:-1] + b"x", content + b"x"), strict=True):
        path.write_bytes(what)
    one, same, *others = (load.FrozenCLIP(clip.model, path=path).fingerprint for path in paths)
    assert one == same and len({one, *others}) == 3


def test_half_precision_is_tried_before_it_is_taken(monkeypatch):
    if torch.__version__ >= "2.2":
        assert load.computes_in_half(torch.device("cpu"))

    def refuse(*_):
        raise RuntimeError('"addmm_impl_cpu_" not implemented for \'Half\'')
    monkeypatch.setattr(torch.nn.functional, "linear", refuse)
    assert not load.computes_in_half(torch.device("cpu"))


@pytest.mark.parametrize("kind", ["vit", "rn"])
def test_weights_that_lack_a_tensor_or_hold_a_strange_one_are_refused(kind):
    state = reference.openai_state(kind)
    counted = {f"visual.bn{i}.num_batches_tracked": torch.tensor(5) for i in (1, 2, 3)} if kind == "rn" else {}
    assert load.build_from_openai(state | counted) and load.build_from_openai(state)  # in some files, and not in others
    with pytest.raises(InputError, match=r"not the weights of a CLIP \(trouble with 'ln_final.bias'\): correct"):
        load.build_from_openai({name: value for name, value in state.items() if name != "ln_final.bias"})
    with pytest.raises(InputError, match=r"trouble with 'visual.1, visual.2, visual.3'\)"):
        load.build_from_openai(state | {f"visual.{i}": torch.ones(1) for i in range(1, 5)})


@pytest.mark.parametrize("pooling", [{}, {"pool_type": "avg"}, {"attentional_pool": True, "attn_pooler_heads": 2}])
def test_a_vision_tower_of_another_pooling_keeps_its_own_way(pooling):
    torch.manual_seed(0)
    model = CLIP(24, CLIPVisionCfg(layers=2, width=64, patch_size=16, image_size=32, **pooling),
                 CLIPTextCfg(width=64, heads=1, layers=1)).eval()
    ours, images = load.FrozenCLIP(model).vision, torch.randn(2, 3, 32, 32)
    assert (ours.width is None) is bool(pooling), "where it is None, prompts cannot enter"
    with torch.no_grad():
        assert (ours(ours.embed(images)) - model.encode_image(images)).abs().max() < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_matrices_are_of_the_precision_asked_for_and_norms_of_float32(precision, monkeypatch):
    monkeypatch.setattr(load, "computes_in_half", lambda device: True)
    low = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    model = CLIP(24, CLIPVisionCfg(layers=1, width=64, patch_size=16, image_size=32),
                 CLIPTextCfg(width=64, heads=1, layers=1))
    load.FrozenCLIP(model, precision)
    matrices = "text_projection|visual.proj|visual.conv1.*|.*attn.*|.*mlp.*"
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (low if re.fullmatch(matrices, name) else torch.float32), name


def test_a_resnets_batch_norms_are_all_folded(tmp_path):
    found = load_clip(str(reference.weights_file("rn", tmp_path))).model.modules()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in found)


def small_text(width=128, layers=4, precision="fp32"):
    torch.manual_seed(0)
    return load.FrozenCLIP(CLIP(16, CLIPVisionCfg(layers=1, width=64, head_width=64, image_size=8, patch_size=8),
                                CLIPTextCfg(width=width, heads=width // 64, layers=layers), quick_gelu=True), precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_chunk_keeps_about_what_it_may(precision):
    """The bytes that autograd keeps of one chunk of ``chunk_tokens()`` tokens, against the budget of 1 GiB."""
    clip, kept = small_text(precision=precision), {}
    frozen = {parameter.untyped_storage().data_ptr() for parameter in clip.model.parameters()}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in frozen:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor
    layout = pack(prompt_tokens(["cat " * 6] * 300, clip.tokenizer, "X X X X", 4))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        clip.text(layout, torch.randn(4, 128, requires_grad=True))
    a_token = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / len(layout.chunks[0].tokens)
    assert 0.9 < a_token * clip.text.chunk_tokens() / 2 ** 30 < 1.2
    layers_and_width, vectors = 4 * 128, {"fp32": 10 * 4, "bf16": 2 * 4 + 8 * 2}[precision]  # bytes of a number of each
    assert clip.text.chunk_tokens() == 2 ** 30 // (layers_and_width * vectors) == clip.text.chunk_tokens(True, 1)
    assert abs(clip.text.chunk_tokens(sets=4) - clip.text.chunk_tokens() / 4) < 1
    assert clip.text.chunk_tokens(grad=False) > clip.text.chunk_tokens() + 1000
    rows = prompt_tokens(["cat " * 6] * 300, clip.tokenizer, "X X X X", 4)
    clip.text.budget >>= 10
    one, same, two, without = (len(clip.text.pack(rows, *more).chunks) for more in ((), (True, 1), (True, 2), (False,)))
    assert one == same < two and without < one, "as is said where nothing is: with gradients, of one set"
    clip.text.budget = 1
    assert 1 < clip.text.chunk_tokens() < 77, "a chunk of less than a prompt is one of a prompt"


def test_only_chunks_with_gradients_are_computed_again_and_given_back(monkeypatch):
    clip, calls = small_text(64, 2), []
    again = text.checkpoint
    monkeypatch.setattr(text, "checkpoint", lambda *args, **more: calls.append("again") or again(*args, **more))
    monkeypatch.setattr(text, "give_back", lambda *_: calls.append("back"))
    rows = prompt_tokens(["cat", "big dog"], clip.tokenizer, "X X", 2)
    for chunk, grad, forward, backward in ((None, True, [], []), (None, False, [], []), (1, False, ["back"] * 2, []),
                                           (1, True, ["again", "back"] * 2, ["back"] * 2)):
        calls.clear()
        with torch.set_grad_enabled(grad):
            features = clip.text(pack(rows, chunk), torch.randn(2, 64, requires_grad=True))
        assert calls == forward, (chunk, grad)
        if grad:
            features.sum().backward()
        assert calls == forward + backward, chunk


def test_the_exact_clip_has_the_files_weights(tmp_path):
    path = str(reference.weights_file("vit", tmp_path))
    whole, low = load_clip(path), load_clip(path, "bf16")
    assert whole.exact() is whole and load.FrozenCLIP(low.model, "bf16").exact().precision == "bf16", "nowhere to read"
    before = torch.get_rng_state()
    rounded, *whole_ones = (zero_shot.template_features(clip, ["cat"], ["{}."], cache=False, **more)
                            for clip, more in ((low, {}), (low, {"exact": True}), (whole, {})))
    assert torch.equal(*whole_ones) and not torch.equal(rounded, whole_ones[0])
    torch.set_rng_state(before)
    exact = low.exact()
    assert exact.precision == "fp32" and torch.equal(torch.get_rng_state(), before)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(exact.model.state_dict()[name], value), name


@pytest.mark.parametrize("change", [lambda ids: ids.add(49408 - ids.max()), lambda ids: ids.sub(ids.min() + 1),
                                    lambda ids: ids[:-1], lambda ids: ids.sum()],
                         ids=["above", "below", "too few", "no row"])
def test_numbers_of_tokens_that_cannot_be(change):
    """PyTorch counts negative ones from the end, and 2.1 writes outside of the table for others."""
    state = load_file(weights.locate("demo"))
    with pytest.raises(InputError, match="trouble with token_ids"):
        load.build_from_openai({**state, "token_ids": change(state["token_ids"].long())})
