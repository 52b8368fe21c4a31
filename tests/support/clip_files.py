"""Small open_clip models of several architectures, as files; what ours and open_clip compute of them."""
import functools

import open_clip
import pytest
import torch

from trainers.clip import load_clip, pack, template_tokens
from trainers.errors import InputError

ARCHS = {  # pairs of the same shapes
    "small": {"heads": 1}, "small-quickgelu": {"heads": 1, "quick_gelu": True},
    "wide": {"width": 320, "head_width": 80}, "wide-64": {"width": 320}, "two-heads": {"width": 192, "heads": 2}}

OWN = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77), "vocab_size": torch.tensor(49408)}


def config(width=64, head_width=64, heads=1, **more):
    vision = {"layers": 2, "width": width, "head_width": head_width, "patch_size": 16, "image_size": 32}
    return {"embed_dim": 24, "vision_cfg": vision, "text_cfg": {"width": 64, "heads": heads, "layers": 2}, **more}


def register(monkeypatch):
    """Enter ARCHS into open_clip's architectures."""
    for name, more in ARCHS.items():
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config(**more))


@functools.cache
def model_of(arch):
    """Return an open_clip model whose weights are large enough for an activation to matter."""
    torch.manual_seed(0)
    model = open_clip.create_model(arch, pretrained=None).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "c_fc" in name:
                value.mul_(8)
    return model


def put(folder, arch, name="clip.pt"):
    """Save a model as ``torch.save(model.state_dict())`` does; returns it and the path."""
    model, path = model_of(arch), folder / name
    torch.save(model.state_dict(), path)
    return model, path


def features(clip):
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.cat([clip.vision(clip.vision.embed(images)),
                          clip.text(pack(template_tokens(["a cat.", "two dogs."], clip.tokenizer)))])


def wanted(model):
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a cat.", "two dogs."])
    with torch.no_grad():
        return torch.cat([model.encode_image(images), model.encode_text(tokens)])


def far(a, b):
    return (a - b).abs().max().item()


def refused(name):
    with pytest.raises(InputError) as caught:
        load_clip(str(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)
