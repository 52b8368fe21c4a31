"""What else may enter the towers: vectors of each class at a middle block, and adapters of blocks; fast as plain."""
import pytest
import torch
from support import plain, reference
from support.pretend_cuda import PretendCuda

from trainers.clip import load_clip, pack, prompt_tokens
from trainers.clip.class_vectors import ClassVectors, share_kept, unshare

NAMES = ["grey cat", "grey dog", "grey golden retriever", "grey cat at home", "grey cow", "grey mouse",
         "grey old house", "grey day"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load_clip(str(reference.weights_file("vit", tmp_path_factory.mktemp("clip"), layers=4)))


def adapter(weight):
    return lambda y: torch.relu(y @ weight) @ weight.T


def inputs(clip, n):
    torch.manual_seed(n)
    rows = prompt_tokens(NAMES, clip.tokenizer, "X X X", 3)
    context, deep, own = (torch.randn(*shape, 64).mul_(0.2).requires_grad_() for shape in ((3,), (3,), (len(NAMES), n)))
    weights = [torch.randn(64, 5).mul_(0.3).requires_grad_() for _ in range(2)]
    return rows, context, deep, own, weights


@pytest.mark.parametrize("n", [1, 3, 4])  # the shared tokens are three vectors and "grey"
@pytest.mark.parametrize("layer", [2, 3])
@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_text_equals_the_plain_way(clip, n, layer, budget, monkeypatch):
    """Beside deep vectors, in one chunk and in several, where the last block is the one and where it is not."""
    monkeypatch.setattr(clip.text, "budget", budget)
    rows, context, deep, own, weights = inputs(clip, n)
    layout = clip.text.pack(rows, unshared_from=layer)
    assert (len(layout.chunks) > 1) == (budget == 1)
    adapters = {0: adapter(weights[0]), 3: adapter(weights[1])}
    found = []
    for features in (clip.text(layout, context, [deep], ClassVectors(layer, own), adapters),
                     plain.text_features(clip, rows, context, [deep], (layer, own), adapters)):
        torch.manual_seed(0)
        found.append([features, *torch.autograd.grad((features * torch.randn(features.shape)).sum(),
                                                     [context, deep, own, *weights])])
    for fast, slow in zip(*found, strict=True):
        assert (fast - slow).abs().max() < 1e-5 * max(1, slow.abs().max())


def test_vision_equals_the_plain_way(clip):
    _, _, deep, _, (first, last) = inputs(clip, 1)
    images, adapters = torch.randn(2, 3, 32, 32), {1: adapter(first), 3: adapter(last)}
    fast = clip.vision(clip.vision.embed(images), deep, adapters=adapters)
    slow = plain.image_features(clip, images, deep, adapters=adapters)
    assert (fast - slow).abs().max() < 1e-5 * max(1, slow.abs().max())


def test_classes_get_the_share_of_memory_that_their_own_prefixes_need(clip, monkeypatch):
    rows = prompt_tokens(NAMES * 30, clip.tokenizer, "X X X", 3)
    monkeypatch.setattr(clip.text, "budget", 1_000_000)
    shared, late, early = (len(clip.text.pack(rows, unshared_from=layer).chunks) for layer in (None, 3, 1))
    assert shared < late < early
    whole = pack(rows)
    own, apart = (sum(count * length for count, length in chunk.groups)
                  for chunk in (whole.chunks[0], unshare(whole.chunks[0], len(whole.prefix))))
    assert share_kept(rows, 0.75) == pytest.approx(own / (0.75 * own + 0.25 * apart))


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_on_cuda_they_are_what_they_are_on_the_cpu(clip, budget, tmp_path, monkeypatch):
    """By masks of both layouts, the shared prefix's and each class's own; masks that a layout lacks are made."""
    rows, context, deep, own, _ = inputs(clip, 2)
    with torch.no_grad():
        wanted = clip.text(clip.text.pack(rows, unshared_from=2), context, [deep], ClassVectors(2, own))
        with PretendCuda():
            there = load_clip(str(reference.weights_file("vit", tmp_path, layers=4)), device="cuda").text
            monkeypatch.setattr(there, "budget", budget)
            layout = there.pack(rows, unshared_from=2)
            vectors = context.cuda(), [deep.cuda()], ClassVectors(2, own.cuda())
            found = [there(layout, *vectors).cpu()]
            for chunk in layout.chunks:
                chunk.masks = None
            found.append(there(layout, *vectors).cpu())
    for features in found:
        assert torch.allclose(features, wanted, atol=1e-5)


def at_slots(clip, rows, context, deep):
    """The plain way of deep vectors of slots behind the names: all positions, replaced before a block."""
    tower = clip.model
    tokens = torch.tensor([[token for token, _ in row] + [0] * (77 - len(row)) for row in rows])
    found = [(c, i, slot) for c, row in enumerate(rows) for i, (_, slot) in enumerate(row) if slot >= 0]
    c, places, slots = torch.tensor(found).unbind(1)
    x = tower.token_embedding.weight[tokens].index_put((c, places), context[slots])
    x, mask = x + tower.positional_embedding, torch.full((77, 77), float("-inf")).triu(1)
    for i, block in enumerate(tower.transformer.resblocks):
        if 0 < i <= len(deep):
            x = x.index_put((c, places), deep[i - 1][slots])
        x = plain.block_forward(block, x, mask)
    return tower.ln_final(x)[torch.arange(len(x)), tokens.argmax(-1)] @ tower.text_projection


@pytest.mark.parametrize("position, per_class, n", [("front", False, 1), ("middle", False, 1), ("end", True, 2)])
@torch.no_grad()
def test_deep_vectors_of_slots_that_no_prefix_holds(clip, position, per_class, n):
    names = ["cat", "big dog", "mouse"]
    rows = prompt_tokens(names, clip.tokenizer, "X X", n, position, per_class)
    count = n * len(names) if per_class else n
    torch.manual_seed(0)
    context, deep = torch.randn(count, 64), [torch.randn(count, 64), torch.randn(count, 64)]
    for most in (None, 1):
        found = clip.text(pack(rows, most), context, deep)
        assert (found - at_slots(clip, rows, context, deep)).abs().max() < 1e-5
    sets = torch.stack([deep[0], context])
    found = clip.text(pack(rows), torch.stack([context, deep[1]]), [sets])
    for one, features in zip(((context, deep[0]), (deep[1], context)), found, strict=True):
        assert (features - at_slots(clip, rows, one[0], [one[1]])).abs().max() < 1e-5


@pytest.mark.parametrize("position", ["front", "end"])
@torch.no_grad()
def test_a_single_vector_has_its_place(clip, position):
    """In the prefix, or in the one row that has it."""
    rows, vector = prompt_tokens(["cat"], clip.tokenizer, "X", 1, position), torch.ones(1, 64)
    assert (clip.text(pack(rows), vector) - plain.text_features(clip, rows, vector)).abs().max() < 1e-5


@pytest.mark.parametrize("layer, shape, message", [
    (1, (8, 1, 64), "before block 1, which must be 2 to 3"), (4, (8, 1, 64), "before block 4"),
    (2, (8, 0, 64), "n from 1 to 4"),
    (2, (3, 1, 64), r"must be \[8, n, 64\], n from 1 to 4"), (2, (8, 5, 64), "n from 1 to 4"),
    (2, (8, 1, 32), r"got \[8, 1, 32\]"), (2, (8, 64), r"got \[8, 64\]")])
def test_other_vectors_are_refused(clip, layer, shape, message):
    rows, context, deep, *_ = inputs(clip, 1)
    with pytest.raises(ValueError, match=message):
        clip.text(clip.text.pack(rows, unshared_from=2), context, [deep], ClassVectors(layer, torch.zeros(shape)))


def test_a_layout_without_room_for_them_is_refused(clip):
    rows, context, _, own, _ = inputs(clip, 1)
    with pytest.raises(ValueError, match=r"text.pack\(rows, unshared_from=LAYER\)"):
        clip.text(clip.text.pack(rows), context, own=ClassVectors(2, own))


def test_adapters_of_no_block_are_refused(clip):
    rows, context, *_ = inputs(clip, 1)
    with pytest.raises(ValueError, match="text tower: an adapter for block 4, and the blocks are 0 to 3"):
        clip.text(clip.text.pack(rows), context, adapters={4: torch.relu})
    with pytest.raises(ValueError, match="vision tower: an adapter for block -1"):
        clip.vision(clip.vision.embed(torch.zeros(1, 3, 32, 32)), adapters={-1: torch.relu})
