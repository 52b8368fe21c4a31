"""What transformers' config.json says of the model: activation, heads and the MLPs' width."""
from pathlib import Path

import pytest
import torch

from trainers.clip import hf
from trainers.errors import InputError

PATH = Path("config.json")


@pytest.fixture
def sizes(monkeypatch):
    """Weights' sizes: text towers 64 wide, vision 96; {tower: hidden width of its MLPs}."""
    def state(text=256, vision=384):
        return {"transformer.resblocks.0.mlp.c_fc.weight": torch.empty(text, 64),
                "visual.transformer.resblocks.0.mlp.c_fc.weight": torch.empty(vision, 96)}
    monkeypatch.setattr(hf, "configuration", lambda state: {"text_cfg": {"width": 64}, "vision_cfg": {"width": 96}})
    return state


def about(text=(), vision=()):
    return {"model_type": "clip", "text_config": dict(text), "vision_config": dict(vision)}


def test_what_is_left_out_has_transformers_defaults(sizes):
    found = hf.config_of(about(), sizes(), PATH)
    assert found == {"quick_gelu": True, "text_cfg": {"width": 64, "heads": 8},
                     "vision_cfg": {"width": 96, "head_width": 96 // 12}}


def test_heads_and_activation_are_read(sizes):
    found = hf.config_of(about({"hidden_act": "gelu", "num_attention_heads": 2},
                               {"hidden_act": "gelu", "num_attention_heads": 3}), sizes(), PATH)
    assert found["quick_gelu"] is False
    assert found["text_cfg"]["heads"] == 2 and found["vision_cfg"]["head_width"] == 32


@pytest.mark.parametrize("hidden", [128, 200, 255])
def test_an_mlp_of_another_width_is_what_open_clip_makes_of_its_ratio(hidden, sizes):
    found = hf.config_of(about(), sizes(text=hidden, vision=384), PATH)
    assert int(64 * found["text_cfg"]["mlp_ratio"]) == hidden and "mlp_ratio" not in found["vision_cfg"]
    assert 64 * found["text_cfg"]["mlp_ratio"] == hidden + 0.5, "rounding may not reach the next number"


@pytest.mark.parametrize("text,vision", [("gelu", "quick_gelu"), ("relu", "relu"), ("relu", "gelu")])
def test_other_activations_are_refused(text, vision, sizes):
    with pytest.raises(InputError, match="hidden_act is .*not supported"):
        hf.config_of(about({"hidden_act": text}, {"hidden_act": vision}), sizes(), PATH)
