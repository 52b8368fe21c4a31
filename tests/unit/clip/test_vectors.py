"""Deep visual vectors that a method forms itself: in any layers, as open_clip's own tower gives them."""
import pytest
import torch

from trainers.clip import load_clip, pack
from trainers.clip.vectors import ANY, check_slots, check_vectors

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
    (torch.zeros(B, 2, D + 1), [], r"layer 0 .* got \[2, 2, 65\]"),
    (torch.zeros(D), [], r"layer 0 .* must be \[n, 64\] or \[2, n, 64\], got \[64\]")])
def test_vectors_of_another_form(vision, prompts, deep, said):
    with pytest.raises(ValueError, match=said):
        vision(vision.embed(IMAGES), prompts, deep)


def test_sets_of_vectors_are_as_many_as_said(vision):
    """One image's are one set; no set at all is taken where none was spoken of."""
    with pytest.raises(ValueError, match=r"must be \[n, 64\] or \[1, n, 64\], got \[2, 3, 64\]"):
        vision(vision.embed(IMAGES[:1]), torch.zeros(2, 3, D))
    with pytest.raises(ValueError, match=r"must be \[n, 4\], got \[1, 2, 4\]"):
        check_vectors("text tower", 4, 2, torch.zeros(1, 2, 4), [])
    check_vectors("text tower", 4, 2, torch.zeros(3, 2, 4), [None], ANY)


SHARED, APART, NO_SLOTS = ([[(1, -1), *((5, k) for k in range(2))], [(1, -1)] * 3, [(1, -1)] * 3],
                           [[(1, -1), (6, -1)], [(5, 0), (7, -1)], [(5, 1), (8, -1)]],
                           [[(1, -1), (5, -1)], [(6, -1)], [(7, -1)]])


def packed(form):
    """Two rows whose slots all stand in the prefix, or all behind it, or nowhere."""
    first, *own = form
    return pack([[*first, *more, (9, -1)] for more in own])


@pytest.mark.parametrize("form", [SHARED, APART])
def test_slots_without_vectors(form):
    with pytest.raises(ValueError, match="the rows have slots and there are no context vectors"):
        check_slots(packed(form), None, [])


def test_deep_vectors_are_as_many_as_the_slots_they_replace():
    context = torch.zeros(3, 2, 4)  # three sets
    for form in (SHARED, APART):
        check_slots(packed(form), context, [None, torch.zeros(2, 4), torch.zeros(3, 2, 4)])
        with pytest.raises(ValueError, match="layer 2 has 3 vectors for 2 slots"):
            check_slots(packed(form), context, [None, torch.zeros(3, 4)])
    check_slots(packed(NO_SLOTS), None, [None])
    for given in (None, torch.zeros(2, 4)):  # what has no place is not passed over
        with pytest.raises(ValueError, match="layer 1 has 2 vectors for 0 slots"):
            check_slots(packed(NO_SLOTS), given, [torch.zeros(2, 4)])


@pytest.mark.parametrize("prompts, deep", [(torch.zeros(2, D), []), (None, [torch.zeros(2, D)])])
def test_a_tower_that_takes_none(prompts, deep):
    from trainers.clip.vision import PlainVision
    tower = PlainVision(torch.nn.Conv2d(3, 4, 3))
    assert tower(IMAGES).shape == (B, 4, 30, 30)
    with pytest.raises(ValueError, match="this vision tower takes no prompts"):
        tower(IMAGES, prompts, deep)
