"""The demo CLIP: what its file holds, what it reads of digits it never saw, and how its pictures are drawn."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from golden import tiny_clip
from safetensors.torch import load_file
from support.paths import ROOT

from trainers.clip.demo import WEIGHTS, language, render, train, zeroshot
from trainers.clip.demo import model as towers


@pytest.fixture(scope="module")
def state():
    return load_file(WEIGHTS)


@pytest.fixture(scope="module")
def model(state):
    return zeroshot.build(dict(state))


def test_file_is_small_and_a_clip_in_openai_names(state):
    assert WEIGHTS.stat().st_size <= 3_000_000
    layers = {tower: sum(k.startswith(tower) and k.endswith("attn.in_proj_weight") for k in state)
              for tower in ("visual.transformer.", "transformer.")}
    assert min(layers.values()) >= 6
    expected = {name.replace(".11.", ".5.") for name in tiny_clip.shapes("vit")
                if not any(f".resblocks.{i}." in name for i in range(layers["transformer."], 12))}
    assert set(state) == expected | {"token_ids"}
    ids, rows = state["token_ids"], state["token_embedding.weight"]
    assert ids.dtype == torch.int32 and len(ids) == len(rows) and (ids[1:] > ids[:-1]).all()
    assert state["positional_embedding"].shape[0] == 77
    assert all(v.isfinite().all() for v in state.values())


def test_file_holds_every_token_of_the_demo_language(state):
    assert state["token_ids"].tolist() == language.vocabulary(render.WORDS)


def test_reads_digits_well_above_chance(model):
    found = zeroshot.accuracies(model)
    recorded = json.loads(WEIGHTS.with_suffix(".json").read_text())["zero_shot_digits_percent"]
    assert found == pytest.approx(recorded, abs=0.5)
    assert found["ten classes, 'a photo of a {}.'"] >= 50
    assert found["ten classes, mean of 80 templates"] >= 50


def test_long_prompts_still_name_the_digit(model):
    images, labels = zeroshot.digits()
    images, labels = images[:500], labels[:500]
    with torch.no_grad():
        features = model.encode_image(images)
        long = "this is a picture of a thing on a background. " * 6
        names = zeroshot.text_features(model, [long + "a photo of a {}."])
    assert ((features @ names.T).argmax(1) == labels).float().mean() > 0.35  # chance is 0.1


def test_pictures_follow_from_the_seed_alone():
    first = list(render.render_pairs(40, seed=3))
    again = list(render.render_pairs(25, seed=3))
    other = list(render.render_pairs(25, seed=4))
    for (image, caption, domain), (image2, caption2, domain2) in zip(first, again, strict=False):
        assert (caption, domain) == (caption2, domain2) and np.array_equal(image, image2)
        assert image.size == (32, 32) and image.mode == "RGB"
    assert [c for _, c, _ in again] != [c for _, c, _ in other]
    assert len({d for _, _, d in first}) >= 5


@pytest.mark.parametrize("domain", render.DOMAINS)
def test_every_domain_draws_something_and_says_what(domain):
    vocabulary = set(language.vocabulary(render.WORDS))
    for index in range(30):
        scene, rng = render.scene(index, 11, [domain])
        assert scene.domain == domain
        assert len(scene.facts) <= train.SHOWN
        if scene.subject != ("blank", "plain"):
            assert np.asarray(scene.image).std((0, 1)).max() > 4, f"{domain} {index} is empty"
        for write in (language.caption, language.long_caption):
            caption = write(scene, rng)
            tokens = language.encode(caption.text)
            assert tokens == language.tokenizer().encode(caption.text)
            assert set(tokens) <= vocabulary and len(tokens) <= 75
            assert caption.facts and caption.facts <= scene.facts
            assert len(caption.facts) <= train.MENTIONED


def test_unknown_domain_is_named():
    with pytest.raises(ValueError, match="no domain oils"):
        list(render.render_pairs(1, 0, ["oils"]))


def test_eight_by_eight_counts_the_ink_of_blocks():
    from PIL import Image
    values = render.to_eight(Image.new("L", (20, 40), 255), np.random.default_rng(0))
    assert values.shape == (8, 8) and values.max() == 16 and values.min() == 0
    assert (values == values[0]).all()  # a bar from top to bottom
    assert 10 < values[0].sum() / 4 < 24  # half as wide as high, more or less


def test_drawing_and_training_never_load_the_digits():
    code = ("import sys; from trainers.clip.demo import render, train; list(render.render_pairs(8, 1)); train.draw(0, "
            "1); print([m for m in sys.modules if m.startswith('sklearn.datasets')])")
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_captions_true_of_another_image_are_no_negatives():
    shown = torch.tensor([[1, 2, 3], [1, 2, -1], [4, -1, -1]])
    mentioned = torch.tensor([[1, -1], [1, 3], [4, -1]])
    true = towers.applies(mentioned, shown)
    assert true.tolist() == [[True, True, False], [True, False, False], [False, False, True]]
    drawn = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).double()
    features = torch.nn.functional.normalize(drawn, dim=1)
    logits = 10 * features @ features.T
    loss = towers.contrastive_loss(features, features, 10, true)
    by_caption = [torch.logsumexp(logits[0, [0, 2]], 0) - logits[0, 0], torch.logsumexp(logits[1, [1, 2]], 0)
                  - logits[1, 1], torch.logsumexp(logits[2], 0) - logits[2, 2]]
    by_image = [torch.logsumexp(logits[[0, 2], 0], 0) - logits[0, 0], torch.logsumexp(logits[[1, 2], 1], 0)
                - logits[1, 1], torch.logsumexp(logits[:, 2], 0) - logits[2, 2]]
    # caption 0 holds for image 1, and caption 1 does not hold for image 1 but is its own pair
    assert loss == pytest.approx(float(sum(by_caption + by_image) / 6), rel=1e-5)


def test_fast_encoders_equal_open_clips(model):
    torch.manual_seed(0)
    images = torch.randn(3, 3, 32, 32)
    tokens = torch.zeros(3, 77, dtype=torch.long)
    ids = torch.tensor(language.vocabulary(render.WORDS))
    for row, length in zip(tokens, (30, 77, 9), strict=True):
        row[:length - 1] = ids[torch.randint(1, len(ids) - 1, (length - 1,))]
        row[length - 1] = ids[-1]
    with torch.no_grad():
        assert torch.allclose(towers.encode_image(model, images), model.encode_image(images), atol=1e-4)
        assert torch.allclose(towers.encode_text(model, tokens, chunks=2), model.encode_text(tokens), atol=1e-4)


def test_reads_newly_drawn_pictures(model):
    found = zeroshot.drawn_accuracies(model, each=40)
    assert found["handwritten digit, 10 classes"] > 70
    assert found["textures texture, 14 classes"] > 40


def test_a_few_steps_of_training_lower_the_loss_and_repeat(tmp_path):
    from types import SimpleNamespace
    torch.manual_seed(0)
    pool = train.make_pool(64, seed=1, workers=0)
    args = SimpleNamespace(seed=1, lr=1e-3, weight_decay=0.1, warmup=2, steps=12, batch=32, long_every=4)
    ends = []
    for _ in range(2):
        torch.manual_seed(1)
        model = towers.new_model()
        ends.append(train.fit(model, pool, args))
    assert ends[0] == ends[1]
    torch.manual_seed(1)
    args.steps = 1
    assert ends[0] < train.fit(towers.new_model(), pool, args)
