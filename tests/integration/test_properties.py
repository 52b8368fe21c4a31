"""What must hold of any input, tried on drawn ones: sampling, splits, aggregation, projection, batches, sharing."""
import math
import random
import statistics

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from support import plain

from datasets.fewshot import choose_classes, few_shot, sample
from datasets.splits import Item, check_items, split_by_class
from trainers.clip import pack, prompt_tokens
from trainers.clip.load import FrozenCLIP
from trainers.regulate.aggregation import Aggregation, gaussian_weights
from trainers.regulate.projection import project
from trainers.training.loader import PADDING, SeededBatchSampler

settings.register_profile("same each time", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("same each time")

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=9)  # images of each class
SEEDS = st.integers(0, 2 ** 32 - 1)


def items(sizes, seed=None):
    """Return that many items of each class; in an order drawn by ``seed``, where given."""
    made = [Item(f"{label}/{n}.jpg", label, f"class {label}") for label, size in enumerate(sizes) for n in range(size)]
    if seed is not None:
        random.Random(seed).shuffle(made)
    return made


# ---------------------------------------------------------------- few-shot sets


@given(sizes=SIZES, shots=st.integers(1, 14), seed=SEEDS)
def test_a_sample_has_so_many_of_each_class_and_none_twice(sizes, shots, seed):
    all_items = items(sizes, seed)
    random.seed(seed)
    drawn = sample(all_items, shots)
    assert len(set(drawn)) == len(drawn) and set(drawn) <= set(all_items)
    assert [sum(item.label == label for item in drawn) for label in range(len(sizes))] == [min(shots, n) for n in sizes]
    order = list(dict.fromkeys(item.label for item in all_items))  # as the published code: classes as they first occur
    assert list(dict.fromkeys(item.label for item in drawn)) == order
    random.seed(seed)
    assert sample(all_items, shots) == drawn


@settings(max_examples=20)
@given(sizes=SIZES, shots=st.integers(1, 14), seed=SEEDS)
def test_a_kept_set_is_the_drawn_one(sizes, shots, seed, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("kept"))
    splits = split_by_class(items(sizes))
    random.seed(seed)
    drawn = few_shot(splits, shots, seed, folder)
    assert few_shot(splits, shots, seed, folder) == drawn  # from the disk: the generator has moved on
    assert drawn.test == splits.test
    assert len(drawn.val) == sum(min(shots, 4, n) for n in np.bincount([i.label for i in splits.val], minlength=1))


@given(sizes=st.lists(st.integers(3, 9), min_size=2, max_size=12))
def test_base_and_new_share_the_classes_among_them(sizes):
    splits = split_by_class(items(sizes))
    base, new = choose_classes(splits, "base"), choose_classes(splits, "new")
    assert len({i.label for i in base.train}) == math.ceil(len(sizes) / 2)
    for whole, first, second in zip(splits, base, new, strict=True):
        assert {i.path for i in first} | {i.path for i in second} == {i.path for i in whole}
        assert not {i.classname for i in first} & {i.classname for i in second}
    for part in (base, new):
        check_items(part, "here", "none")  # labels from 0, without gaps, one name each


@given(sizes=SIZES, seed=SEEDS)
def test_a_split_deals_every_image_once(sizes, seed):
    random.seed(seed)
    state = random.getstate()
    splits = split_by_class(items(sizes, seed), seed=seed)
    assert random.getstate() == state
    assert sorted(sum(splits, [])) == sorted(items(sizes))
    assert {i.label for i in splits.train} == set(range(len(sizes)))
    assert split_by_class(items(sizes), seed=seed) == splits  # whatever order the folder was listed in


# ---------------------------------------------------------------- aggregation and projection


@given(epochs=st.integers(1, 60), mean=st.floats(-5, 70), std=st.floats(1, 40))
def test_aggregation_weights_have_the_normal_densitys_shape(epochs, mean, std):
    weights = gaussian_weights(epochs, mean, std)
    assert math.isclose(sum(weights), 1, rel_tol=1e-12) and min(weights) >= 0
    density = [statistics.NormalDist(mean, std).pdf(e) for e in range(1, epochs + 1)]
    top = max(range(epochs), key=density.__getitem__)
    for weight, value in zip(weights, density, strict=True):
        assert math.isclose(weight / weights[top], value / density[top], rel_tol=1e-9, abs_tol=1e-12)


@given(epochs=st.integers(1, 12), mean=st.floats(0, 12), std=st.floats(1, 20), seed=st.integers(0, 999))
def test_aggregation_is_a_mean(epochs, mean, std, seed):
    """Prompts that stay the same come out as they are; others between the least and the greatest."""
    generator = torch.Generator().manual_seed(seed)
    states = [{"still": torch.full((2, 3), 7.0), "moving": torch.randn(2, 3, generator=generator)}
              for _ in range(epochs)]
    aggregation = Aggregation(epochs, mean, std)
    for epoch, state in enumerate(states):
        aggregation.add(epoch, state)
    assert torch.allclose(aggregation.total["still"], torch.tensor(7.0), rtol=1e-5)
    moving = torch.stack([state["moving"] for state in states])
    assert (aggregation.total["moving"] <= moving.amax(0) + 1e-5).all()
    assert (aggregation.total["moving"] >= moving.amin(0) - 1e-5).all()


@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=3), scale=st.floats(1e-4, 1e4), seed=st.integers(0, 9999),
       strength=st.floats(0, 1))
def test_projection(shape, scale, seed, strength):
    generator = torch.Generator().manual_seed(seed)
    gradient, guide = (torch.randn(shape, generator=generator, dtype=torch.float64) * scale for _ in range(2))
    projected, = project([gradient], [guide], strength)
    along, after = (gradient * guide).sum(), (projected * guide).sum()
    if along >= 0:
        assert torch.equal(projected, gradient)
        return
    unit = guide / guide.norm()
    assert torch.isclose(after, (1 - strength) * along, rtol=1e-9, atol=1e-9 * scale ** 2)
    rest = gradient - (gradient * unit).sum() * unit
    assert torch.allclose(projected - (projected * unit).sum() * unit, rest, atol=1e-9 * scale)  # the rest stays
    assert torch.allclose(project([gradient], [3 * guide], strength)[0], projected, atol=1e-9 * scale)
    full, = project([gradient], [guide], 1.0)
    assert (full * guide).sum() >= -1e-9 * scale ** 2  # no conflict is left
    assert torch.allclose(project([full], [guide], 1.0)[0], full, atol=1e-9 * scale)


# ---------------------------------------------------------------- batches


@given(size=st.integers(1, 40), batch=st.integers(1, 9), world=st.integers(1, 4), seed=st.integers(0, 2 ** 40))
def test_processes_share_what_one_would_see(size, batch, world, seed):
    """All processes together draw the batches of one with the joint batch, and each image once an epoch."""
    def epoch(batch, drop, rank=0, world=1):
        torch.manual_seed(seed)
        return list(SeededBatchSampler(size, batch, drop, rank, world))
    drop = size >= batch * world
    whole, parts = epoch(batch * world, drop), [epoch(batch, drop, rank, world) for rank in range(world)]
    assert {len(part) for part in parts} == {len(whole)}  # none waits for another in vain
    for number, joint in enumerate(whole):
        assert all(part[number] for part in parts)
        assert [pair for part in parts for pair in part[number] if pair[1] != PADDING] == joint
    seen = [index for joint in whole for index, _ in joint]
    assert len(set(seen)) == len(seen) == (size // (batch * world) * batch * world if drop else size)


# ---------------------------------------------------------------- prefix sharing

TOLERANCE = {"fp32": 2e-5, "bf16": 6e-2, "fp16": 1e-2}  # of the largest feature
NAMES = st.lists(st.sampled_from(["cat", "dog", "golden retriever", "a", "Boeing 737-800", "éclair", "牛", "x" * 30]),
                 min_size=1, max_size=5).map(" ".join)


def tower(width, layers, precision, seed):
    """Return a ``FrozenCLIP`` with a random text tower and the least vision tower there can be."""
    torch.manual_seed(seed)
    model = CLIP(16, CLIPVisionCfg(layers=1, width=64, head_width=64, image_size=8, patch_size=8),
                 CLIPTextCfg(width=width, heads=width // 32, layers=layers), quick_gelu=True)
    return FrozenCLIP(model, precision)


@pytest.fixture(scope="module", autouse=True)
def one_tokenizer():
    """Let every drawn tower have the same tokenizer, which takes longer to read than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        tokenizer = open_clip.tokenizer.SimpleTokenizer()
        patch.setattr(open_clip.tokenizer, "SimpleTokenizer", lambda **_: tokenizer)
        yield


@settings(max_examples=15)
@given(width=st.sampled_from([32, 64, 96]), layers=st.integers(1, 3), precision=st.sampled_from(list(TOLERANCE)),
       names=st.lists(NAMES, min_size=1, max_size=6), n_ctx=st.integers(1, 9), data=st.data(), seed=st.integers(0, 99),
       position=st.sampled_from(["end", "middle", "front"]), chunk=st.sampled_from([None, 1, 16]),
       per_class=st.booleans())
def test_prefix_sharing_on_any_tower(width, layers, precision, names, n_ctx, data, seed, position, chunk, per_class):
    """In the arithmetic asked for, the fast path stays near what the plain one computes in float32 of these weights."""
    clip, exact = tower(width, layers, precision, seed), tower(width, layers, "fp32", seed)
    depth = data.draw(st.integers(1, layers)) if position == "end" and not per_class else 1
    rows = prompt_tokens(names, clip.tokenizer, " ".join("X" * n_ctx), n_ctx, position, per_class)
    context = torch.randn(n_ctx * (len(names) if per_class else 1), width) * 0.1
    deep = [torch.randn(n_ctx, width) * 0.1 for _ in range(depth - 1)]
    with torch.no_grad():
        fast = clip.text(pack(rows, chunk), context, deep).float()
        slow = plain.text_features(exact, rows, context, deep)
    assert (fast - slow).abs().max() <= TOLERANCE[precision] * slow.abs().max()
