"""Deep visual vectors that a method forms itself: in any layers, as open_clip's own tower gives them."""
import pytest
import torch

from trainers.clip import load_clip

B, D = 2, 64
IMAGES = torch.randn(B, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def vision():
    return load_clip("demo").vision


def plain(vision, deep):
    """Return the features of the tower as open_clip runs it, vectors put behind the image's own tokens by hooks."""
    def put(vectors):
        def hook(block, inputs):
            x, *more = inputs
            return torch.cat([x[:, :length], vectors.expand(B, -1, -1)], 1), *more
        return hook
    length = vision.embed(IMAGES).shape[1]
    blocks = vision.tower.transformer.resblocks
    hooks = [blocks[i].register_forward_pre_hook(put(vectors)) for i, vectors in deep.items()]
    try:
        return vision.tower(IMAGES)
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("layers", [{}, {2: 3, 3: 3, 4: 3, 5: 3}, {1: 2}, {1: 4, 3: 1, 5: 2}])
def test_layers_with_vectors_of_their_own_and_layers_without(vision, layers):
    draw = torch.Generator().manual_seed(2)
    deep = {i: torch.randn(n, D, generator=draw) for i, n in layers.items()}
    found = vision(vision.embed(IMAGES), None, [deep.get(i) for i in range(1, 6)])
    assert (found - plain(vision, deep)).abs().max() < 1e-5
    assert not deep or (found - plain(vision, {})).abs().max() > 1e-3, "the vectors change the features"


@pytest.mark.parametrize("prompts, deep, said", [
    (None, [None] * 6, "vision tower: deep vectors for 6 layers, and there are 5 behind the first"),
    (None, [None, torch.zeros(2, D + 1)], r"the vectors of layer 2 .* must be \[n, 64\] or .*, got \[2, 65\]"),
    (torch.zeros(B + 1, 2, D), [], r"layer 0 .* must be \[n, 64\] or \[2, n, 64\], got \[3, 2, 64\]"),
    (torch.zeros(D), [], r"layer 0 .* must be \[n, 64\] or \[2, n, 64\], got \[64\]")])
def test_vectors_of_another_form(vision, prompts, deep, said):
    with pytest.raises(ValueError, match=said):
        vision(vision.embed(IMAGES), prompts, deep)


@pytest.mark.parametrize("prompts, deep", [(torch.zeros(2, D), []), (None, [torch.zeros(2, D)])])
def test_a_tower_that_takes_none(prompts, deep):
    from trainers.clip.vision import PlainVision
    tower = PlainVision(torch.nn.Conv2d(3, 4, 3))
    assert tower(IMAGES).shape == (B, 4, 30, 30)
    with pytest.raises(ValueError, match="this vision tower takes no prompts"):
        tower(IMAGES, prompts, deep)
