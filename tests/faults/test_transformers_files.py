"""Files of the transformers library: names are turned, config.json says the activation and the heads."""
import json

import pytest
import torch
from safetensors.torch import save_file
from support.clip_files import ARCHS, config, far, features, model_of, refused, register, wanted

from trainers.clip import load_clip


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    register(monkeypatch)


def transformers_state(model):
    """Return the weights under the names of the transformers library."""
    found, width = {}, {"": 64, "visual.": model.visual.conv1.weight.shape[0]}
    for tower, new in (("", "text_model."), ("visual.", "vision_model.")):
        state = model.state_dict()
        for i in range(2):
            block, layer = f"{tower}transformer.resblocks.{i}.", f"{new}encoder.layers.{i}."
            for kind in ("weight", "bias"):
                whole = state[f"{block}attn.in_proj_{kind}"].split(width[tower])
                for part, value in zip("qkv", whole, strict=True):
                    found[f"{layer}self_attn.{part}_proj.{kind}"] = value
                for theirs, ours in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"),
                                     ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):
                    found[f"{layer}{theirs}.{kind}"] = state[f"{block}{ours}.{kind}"]
    for theirs, ours in (("text_model.final_layer_norm", "ln_final"), ("vision_model.pre_layrnorm", "visual.ln_pre"),
                         ("vision_model.post_layernorm", "visual.ln_post")):
        for kind in ("weight", "bias"):
            found[f"{theirs}.{kind}"] = state[f"{ours}.{kind}"]
    text, vision = "text_model.embeddings.", "vision_model.embeddings."
    return found | {f"{text}token_embedding.weight": state["token_embedding.weight"],
                    f"{text}position_embedding.weight": state["positional_embedding"],
                    f"{text}position_ids": torch.arange(77)[None], "logit_scale": state["logit_scale"],
                    f"{vision}patch_embedding.weight": state["visual.conv1.weight"],
                    f"{vision}class_embedding": state["visual.class_embedding"],
                    f"{vision}position_embedding.weight": state["visual.positional_embedding"],
                    "text_projection.weight": state["text_projection"].T.contiguous(),
                    "visual_projection.weight": state["visual.proj"].T.contiguous()}


class TestTransformers:
    """Files of the transformers library: names are turned, config.json says the activation and the heads."""

    def put(self, folder, arch, **more):
        model, own = model_of(arch), config(**ARCHS[arch])
        save_file({name: value.contiguous() for name, value in transformers_state(model).items()},
                  folder / "model.safetensors")
        act = "quick_gelu" if own.get("quick_gelu") else "gelu"
        heads = own["vision_cfg"]["width"] // own["vision_cfg"]["head_width"]
        about = {"model_type": "clip", "vision_config": {"hidden_act": act, "num_attention_heads": heads},
                 "text_config": {"hidden_act": act, "num_attention_heads": own["text_cfg"]["heads"]}} | more
        (folder / "config.json").write_text(json.dumps(about))
        return model, folder / "model.safetensors"

    @pytest.mark.parametrize("arch", ARCHS)
    def test_they_are_converted(self, arch, tmp_path):
        model, path = self.put(tmp_path, arch)
        for name in (path, f"{arch}:{path}"):
            assert far(features(load_clip(str(name))), wanted(model)) < 1e-5
        (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}')
        assert load_clip(str(path)).normalization == ((0.5,) * 3, (1.0,) * 3)

    def test_what_config_leaves_out_is_the_librarys_default(self, tmp_path):
        model, path = self.put(tmp_path, "small-quickgelu", text_config={"num_attention_heads": 1},
                               vision_config={"num_attention_heads": 1})
        assert far(features(load_clip(str(path))), wanted(model)) < 1e-5

    def test_without_config_the_activation_is_asked_for(self, tmp_path):
        model, path = self.put(tmp_path, "small")
        (tmp_path / "config.json").unlink()
        said = refused(path)
        assert "is of the transformers library, and no config.json" in said and "fit: small (GELU), small-quick" in said
        assert far(features(load_clip(f"small:{path}")), wanted(model)) < 1e-5

    @pytest.mark.parametrize("more,said", [
        ({"model_type": "siglip"}, "model_type is 'siglip', it must be 'clip'"),
        ({"text_config": {"hidden_act": "relu"}}, "hidden_act is gelu and relu"),
        ({"text_config": {"hidden_act": ["gelu"]}}, "config.json"),
        ({"text_config": {"hidden_act": "gelu", "layer_norm_eps": 1e-6}}, "layer_norm_eps must be 1e-05"),
        ({"vision_config": {"hidden_act": "gelu", "num_attention_heads": 0}}, "config.json"),
        ({"text_config": 5}, "trouble")])
    def test_a_config_of_another_model_is_refused(self, more, said, tmp_path):
        assert said in refused(self.put(tmp_path, "small", **more)[1])

    def test_half_a_model_is_refused(self, tmp_path):
        model, path = self.put(tmp_path, "small")
        state = transformers_state(model)
        for lost in ("vision_model.encoder.layers.0.self_attn.k_proj.weight", "visual_projection.weight"):
            torch.save({name: value for name, value in state.items() if name != lost}, tmp_path / "pytorch_model.bin")
            assert "not the weights of a CLIP" in refused(tmp_path / "pytorch_model.bin")
