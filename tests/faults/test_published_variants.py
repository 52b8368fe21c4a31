"""What published configs and trainers ask for beside the main settings: done as they do, or refused in one line."""
import pytest
import torch
from support import reference

from trainers.errors import InputError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return lambda kind: reference.weights_file(kind, folder)


def make(case, weights, tmp_path, *settings):
    return reference.make(case, weights(reference.CASES[case][1]), tmp_path, settings=settings)


@pytest.mark.parametrize("dataset,words,least", [("UCF101", "a photo of a person doing", 6),
                                                 ("ImageNet", "a photo of a", 4)])
def test_cocoop_takes_a_datasets_own_words_as_in_prograds_repository(dataset, words, least, weights, tmp_path):
    """CTX_INIT True, as its rn50_ configs have it: the last of N_CTX places, behind zero vectors."""
    def start(n_ctx):
        return make("cocoop", weights, tmp_path, "DATASET.NAME", dataset, "TRAINER.COCOOP.N_CTX", n_ctx,
                    "TRAINER.COCOOP.CTX_INIT", True)
    trainer = start(least + 2)
    context = trainer.model.prompts.prompt_learner.ctx.detach()
    tokens = torch.tensor(trainer.model.clip.tokenizer.encode(words))
    assert torch.equal(context[2:], trainer.model.clip.text.embed(tokens).float()) and not context[:2].any()
    with pytest.raises(InputError, match=rf"TRAINER.COCOOP.N_CTX is {least - 1}, .* must be at least {least}"):
        start(least - 1)
    trainer.train()
    assert len(trainer.record) and torch.isfinite(trainer.model_inference(trainer.train_loader_x[0]["img"])).all()


def test_cocoop_on_a_resnet_trains(weights, tmp_path, monkeypatch):
    monkeypatch.setitem(reference.CASES, "cocoop_rn", ("CoCoOp", "rn", ["TRAINER.COCOOP.CTX_INIT", True,
                                                                      "TRAINER.COCOOP.N_CTX", 16]))
    trainer = make("cocoop_rn", weights, tmp_path)
    trainer.train()
    assert all(torch.isfinite(value).all() for step in trainer.record for value in step["param"].values())


def test_ivlp_learns_the_language_alone(weights, tmp_path):
    """As vit_b16_c2_ep5_batch4_4ctx_language_only has it: no visual vectors at all."""
    trainer = make("ivlp", weights, tmp_path, "TRAINER.IVLP.N_CTX_VISION", 0, "TRAINER.IVLP.PROMPT_DEPTH_VISION", 0)
    names = [name for name, _ in trainer.model.prompts.named_parameters()]
    assert len(names) == 9 and not any("image_encoder" in name for name in names)
    trainer.train()
    images = trainer.train_loader_x[0]["img"]
    frozen = torch.nn.functional.normalize(trainer.model.clip.vision(trainer.model.clip.vision.embed(images)), dim=-1)
    assert torch.equal(trainer.model.image_features(images), frozen)


@pytest.mark.parametrize("case,settings,words", [
    ("ivlp", ["TRAINER.IVLP.N_CTX_VISION", 0], "TRAINER.IVLP.N_CTX_VISION is 0: it must be at least 1"),
    ("vpt", ["TRAINER.VPT.PROMPT_DEPTH_VISION", 0], "TRAINER.VPT.PROMPT_DEPTH_VISION is 0: it must be at least 1"),
    ("maple", ["TRAINER.MAPLE.PROMPT_DEPTH", 0], "TRAINER.MAPLE.PROMPT_DEPTH is 0: it must be at least 1"),
    ("prograd", ["LOSS.NAME", "kd"], "LOSS.NAME is 'kd': it must be prograd.* not supported"),
    ("prograd", ["LOSS.NAME", "vertical_grad"], "LOSS.NAME is 'vertical_grad': it must be prograd")])
def test_what_the_published_code_refuses_or_does_otherwise_is_refused(case, settings, words, weights, tmp_path):
    with pytest.raises(InputError, match=words):
        make(case, weights, tmp_path, *settings)


def test_maples_deep_maps_start_as_one(weights, tmp_path):
    """The published code copies one layer; the map of the input has its own start."""
    learner = make("maple", weights, tmp_path, "TRAINER.MAPLE.PROMPT_DEPTH", 4).model.prompts.prompt_learner
    first, *others = learner.compound_prompt_projections
    assert len(others) == 2 and all(torch.equal(first.weight, other.weight) for other in others)
    assert first.weight.data_ptr() != others[0].weight.data_ptr() and not torch.equal(first.weight, learner.proj.weight)
