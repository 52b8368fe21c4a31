"""What of an architecture's config decides over the model, and which sizes are compared with the weights'."""
import dataclasses

import pytest

from trainers.clip import architecture
from trainers.clip.architecture import Architecture, outline


def config(more=(), vision=(), text=()):
    return {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, **dict(vision)},
            "text_cfg": {"context_length": 77, "vocab_size": 100, "width": 32, "heads": 2, "layers": 3, **dict(text)},
            **dict(more)}


def test_what_training_alone_reads_is_left_out():
    usual = outline(config())
    assert usual["embed_dim"] == 8 and usual["vision_cfg.layers"] == 2
    assert outline(config({"init_logit_scale": 1.0, "custom_text": True}, {"patch_dropout": 0.5})) == usual
    assert outline(config({"embed_dim": 16})) != usual


def test_an_mlp_is_told_by_its_hidden_width():
    """open_clip rounds it down, so that ratios that are a little apart may be the same model."""
    assert outline(config(vision={"mlp_ratio": 2.0}))["vision_cfg.mlp_ratio"] == 128
    assert outline(config(vision={"mlp_ratio": 4.001})) == outline(config())
    assert outline(config(text={"mlp_ratio": 4.1}))["text_cfg.mlp_ratio"] == 131


def test_square_images_are_told_by_one_side():
    assert outline(config(vision={"image_size": (32, 32)})) == outline(config())
    assert outline(config(vision={"image_size": [32, 16]}))["vision_cfg.image_size"] == [32, 16]


@pytest.mark.parametrize("name,compared", [("visual.bn1.num_batches_tracked", False), ("logit_scale", False),
                                           ("input_resolution", False), ("visual.bn1.weight", True),
                                           ("text_projection", True)])
def test_shapes_of_weights_alone_are_compared(name, compared):
    assert architecture._compared(name) is compared


def test_sizes_of_both_kinds_of_towers():
    assert architecture._numbers(config()) == (8, 77, 100, 32, 3, (2, 64, 4))
    resnet = config(vision={"layers": [1, 2, 1, 1], "image_size": 64, "patch_size": None})
    assert architecture._numbers(resnet)[-1] == ((1, 2, 1, 1), 64, 2)


def test_timms_weights_are_not_fetched(monkeypatch):
    """A config may ask for them; those of the file replace them."""
    seen = []

    class Model:
        def __init__(self, **sizes):
            seen.append(sizes["vision_cfg"]["timm_model_pretrained"])

        def load_state_dict(self, state):
            seen.append(sorted(state))
    monkeypatch.setattr(architecture, "CLIP", Model)
    monkeypatch.setattr(architecture.openai, "prepared", lambda state: state)
    architecture.build(config(vision={"timm_model_name": "vit_tiny", "timm_model_pretrained": True}), {"x": 1})
    assert seen == [False, ["x"]]


def test_the_order_of_a_config_makes_no_other_variant():
    timms = config({"quick_gelu": True}, {"timm_model_name": "vit_tiny"})
    again = {key: dict(reversed(value.items())) if isinstance(value, dict) else value
             for key, value in reversed(timms.items())}
    assert list(again) != list(timms) and architecture.variant(again, {}) == architecture.variant(timms, {}) != ""


def test_an_architecture_stays_what_was_compared():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Architecture("a file", {}).config = {}
