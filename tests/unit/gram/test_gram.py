"""GRAM's trainers: an untrained regulator is no regulator, a trained one is used, and a wrong file is named."""
import pytest
import torch
from support import reference
from support.paths import ROOT

from trainers.base import compose
from trainers.compat.registry import TRAINERS
from trainers.errors import InputError
from trainers.gram import GRAM
from trainers.maple import MaPLe
from trainers.meta import checkpoint
from trainers.promptsrc import PromptSRC
from trainers.regulate.regulator import Regulator
from trainers.training.run import main

PAIRS = {"coop_end": "GRAMCoOp", "vpt": "GRAMVPT", "ivlp": "UNIGRAM", "prograd": "GRAMProGrad", "cocoop": "GRAMCoCoOp",
         "promptsrc": "GRAMPromptSRC"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return lambda case: reference.weights_file(reference.CASES[case][1], folder)


def make(case, weights, folder, monkeypatch, gram=False, settings=()):
    name, kind, own = reference.CASES[case]
    if gram:
        monkeypatch.setitem(reference.CASES, case, (PAIRS[case], kind, own))
        monkeypatch.setitem(reference.LR, PAIRS[case], reference.LR.get(name, 0.002))
    torch.manual_seed(5)
    trainer = reference.make(case, weights(case), folder, settings=settings)
    monkeypatch.setitem(reference.CASES, case, (name, kind, own))
    trainer.train_loader_x = reference.batches(kind, name)  # CoCoOp's hold one image
    return trainer


def meta_file(trainer, path, up=0.0, start=None, **about):
    """A file with the trainer's own start and a regulator whose U is ``up`` times noise."""
    own = {n: p.detach().clone() for n, p in trainer.model.prompts.named_parameters()}
    regulator = Regulator({n: p.shape for n, p in own.items()}, rank=4, seed=1, form="bend")
    for bend in regulator.bends.values():
        torch.nn.init.normal_(bend.up, std=up)
    checkpoint.write_meta(path, start or own, regulator, {"prompts": "test", **about})
    return path


@pytest.mark.parametrize("case", PAIRS)
def test_untrained_regulator_is_the_base_method_to_the_bit(case, weights, tmp_path, monkeypatch):
    plain = make(case, weights, tmp_path / "plain", monkeypatch)
    path = meta_file(plain, tmp_path / "meta.safetensors")
    torch.manual_seed(6)
    plain.train()
    ours = make(case, weights, tmp_path / "gram", monkeypatch, True, ["TRAINER.GRAM.META", str(path)])
    torch.manual_seed(6)
    ours.train()

    assert type(ours).__mro__[1].__name__ == PAIRS[case] and len(ours.record) == len(plain.record) == 9
    for step, (a, b) in enumerate(zip(plain.record, ours.record, strict=True)):
        for what in ("grad", "param"):
            assert all(torch.equal(a[what][n], b[what][n]) for n in a[what]), f"{what} of step {step}"
        assert a["summary"] == b["summary"]
    images = plain.train_loader_x[0]["img"]
    assert torch.equal(reference.evaluate(plain, images), reference.evaluate(ours, images))


@pytest.mark.parametrize("case", ["ivlp", "cocoop"])
def test_trained_regulator_turns_prompts_gradients_alone(case, weights, tmp_path, monkeypatch):
    plain = make(case, weights, tmp_path / "plain", monkeypatch)
    path = meta_file(plain, tmp_path / "meta.safetensors", up=0.5)
    ours = make(case, weights, tmp_path / "gram", monkeypatch, True, ["TRAINER.GRAM.META", str(path)])
    batch = plain.train_loader_x[0]
    for trainer in (plain, ours):
        trainer.set_model_mode("train")
        trainer.forward_backward(batch)
    for name, before in plain.record[0]["grad"].items():
        after = ours.record[0]["grad"][name]
        if "meta_net" in name:
            assert torch.equal(before, after)
        else:
            assert (before - after).norm() > 0.01 * before.norm()
            assert (after.norm(dim=-1) <= before.norm(dim=-1) * 1.0001).all()


def test_start_is_the_files(weights, tmp_path, monkeypatch):
    plain = make("ivlp", weights, tmp_path / "plain", monkeypatch)
    start = {n: torch.full_like(p, 0.25) for n, p in plain.model.prompts.named_parameters()}
    path = meta_file(plain, tmp_path / "meta.safetensors", start=start)
    ours = make("ivlp", weights, tmp_path / "gram", monkeypatch, True, ["TRAINER.GRAM.META", str(path)])
    assert all((p == 0.25).all() for p in ours.model.prompts.parameters())


def test_wrong_files_are_named(weights, tmp_path, monkeypatch):
    def refused(*settings):
        with pytest.raises(InputError) as error:
            make("ivlp", weights, tmp_path / "gram", monkeypatch, True, settings)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "scripts/gram/meta_train.sh CORPUS unigram" in refused()
    assert "does not exist" in refused("TRAINER.GRAM.META", "nowhere.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    assert "damaged" in refused("TRAINER.GRAM.META", str(tmp_path / "torn.safetensors"))
    other = make("coop_end", weights, tmp_path / "coop", monkeypatch)
    path = meta_file(other, tmp_path / "coop.safetensors")
    assert "prompt_learner.ctx [16, 64]" in refused("TRAINER.GRAM.META", str(path))


def test_a_start_of_another_place_in_the_sentence_is_refused(weights, tmp_path, monkeypatch):
    plain = make("coop_end", weights, tmp_path / "plain", monkeypatch)
    path = meta_file(plain, tmp_path / "meta.safetensors", method={"CLASS_TOKEN_POSITION": "front"})
    meta = ["TRAINER.GRAM.META", str(path)]
    with pytest.raises(InputError, match="meta-trained with CLASS_TOKEN_POSITION front, and TRAINER.COOP.CLASS_TOKEN_"
                                         "POSITION is end here: set it to front"):
        make("coop_end", weights, tmp_path / "gram", monkeypatch, True, meta)
    meta += ["TRAINER.COOP.CLASS_TOKEN_POSITION", "front"]
    make("coop_end", weights, tmp_path / "gram", monkeypatch, True, meta)


def test_another_clips_file_is_refused_unless_allowed(weights, tmp_path, monkeypatch, caplog):
    plain = make("coop_end", weights, tmp_path / "plain", monkeypatch)
    path = meta_file(plain, tmp_path / "meta.safetensors", clip="another", backbone="ViT-L/14")
    settings = ["TRAINER.GRAM.META", str(path)]
    with pytest.raises(InputError, match=r"was meta-trained on another CLIP file \(ViT-L/14\) than "):
        make("coop_end", weights, tmp_path / "gram", monkeypatch, True, settings)
    make("coop_end", weights, tmp_path / "gram", monkeypatch, True,
         [*settings, "TRAINER.PROMPTREG.ALLOW_MISMATCH", True])
    assert "was meta-trained on another CLIP file (ViT-L/14) than " in caplog.text


@pytest.mark.parametrize("part", ["start", "regulator"])
def test_a_file_with_what_is_no_number_is_damaged(part, weights, tmp_path, monkeypatch):
    plain = make("coop_end", weights, tmp_path / "plain", monkeypatch)
    own = {n: p.detach().clone() for n, p in plain.model.prompts.named_parameters()}
    regulator = Regulator({n: p.shape for n, p in own.items()}, rank=4, seed=1)
    tensors = own.values() if part == "start" else regulator.parameters()
    with torch.no_grad():
        next(iter(tensors)).view(-1)[0] = float("inf")
    checkpoint.write_meta(tmp_path / "meta.safetensors", own, regulator, {})
    with pytest.raises(InputError, match=f"damaged one .its {part} has entries that are not finite"):
        checkpoint.read_meta(tmp_path / "meta.safetensors")


def test_file_is_the_same_bytes_each_time(tmp_path):
    start = {"prompt_learner.ctx": torch.ones(4, 8), "image_encoder.VPT": torch.zeros(2, 8)}
    regulator = Regulator({n: v.shape for n, v in start.items()}, 3, seed=2)
    for name in ("a", "b"):
        checkpoint.write_meta(tmp_path / name, start, regulator, {"prompts": "unigram", "seed": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back, again, about = checkpoint.read_meta(tmp_path / "a")
    assert list(back) == list(start) and about["prompts"] == "unigram"
    read = again.state_dict()
    assert all(torch.equal(v, read[n]) for n, v in regulator.state_dict().items() if not n.endswith("basis"))
    for basis in (v for n, v in read.items() if n.endswith("basis")):  # read back orthonormal, once and for all
        assert torch.allclose(basis.mT @ basis, torch.eye(basis.shape[-1]), atol=1e-5)


def test_regulator_keeps_lengths_and_scales_with_the_gradient():
    torch.manual_seed(0)
    shapes = {"prompt_learner.ctx": (4, 8), "image_encoder.VPT": (2, 6)}
    regulator = Regulator(shapes, 3, seed=2, form="bend")
    for bend in regulator.bends.values():
        torch.nn.init.normal_(bend.up)
        torch.nn.init.constant_(bend.gate_bias, 30.0)  # gates open: R is the bent gradient
    prompts = {n: torch.randn(s) for n, s in shapes.items()}
    gradients = {n: torch.randn(s) for n, s in shapes.items()}
    found = regulator(prompts, gradients)
    larger = regulator(prompts, {n: 1000 * g for n, g in gradients.items()})
    for name, gradient in gradients.items():
        assert torch.allclose(found[name].norm(dim=-1), gradient.norm(dim=-1), rtol=1e-5)
        assert torch.allclose(larger[name], 1000 * found[name], rtol=1e-4, atol=1e-2)
        assert not torch.allclose(found[name], gradient, rtol=0.1)
    some = regulator(prompts, {**gradients, "image_encoder.VPT": None})
    assert some["image_encoder.VPT"] is None and torch.equal(some["prompt_learner.ctx"], found["prompt_learner.ctx"])
    with pytest.raises(ValueError, match="class-specific"):
        Regulator({"prompt_learner.ctx": (5, 4, 8)}, 3)


@pytest.mark.parametrize("method", ["GRAMCoOp", "GRAMCoCoOp", "GRAMVPT", "UNIGRAM", "GRAMProGrad", "GRAMPromptSRC"])
def test_the_files_that_come_along_fit_every_trainers_demo(method, tmp_path):
    words = ["--root", str(tmp_path), "--output-dir", str(tmp_path / "out"), "--trainer", method, "--no-train",
             "--dataset-config-file", str(ROOT / "configs/datasets/digits.yaml"), "--config-file",
             str(ROOT / "configs/trainers" / method / "demo.yaml"), "DATASET.NUM_SHOTS", "1", "USE_CUDA", "False"]
    assert main(words) == 0


def test_composed_methods_are_named_and_documented():
    made = compose(GRAM, PromptSRC)
    assert (made.__name__, made.__doc__, made.FOLDER) == ("GRAMPromptSRC", "GRAM over PromptSRC.", PromptSRC.FOLDER)
    assert compose(GRAM, PromptSRC, "Mine", "A doc.").__doc__ == "A doc." and issubclass(made, PromptSRC)


@pytest.mark.parametrize("method, kind", [("GRAMCoOp", "coop"), ("GRAMProGrad", "coop"), ("GRAMCoCoOp", "cocoop"),
                                          ("GRAMVPT", "vpt"), ("UNIGRAM", "unigram"), ("GRAMPromptSRC", "unigram")])
def test_each_method_knows_whose_prompts_it_has(method, kind):
    assert TRAINERS.entries[method].METHOD.kind_of_prompts() == kind


def test_a_method_whose_prompts_no_meta_training_learns_is_refused():
    with pytest.raises(InputError, match="GRAMMaPLe: GRAM has a meta-training for the prompts of CoOp, CoCoOp, VPT, "):
        compose(GRAM, MaPLe).kind_of_prompts()


def test_the_start_is_there_when_the_base_method_prepares(weights, tmp_path, monkeypatch):
    """A method that keeps its start, as docs/new-method.md's does, keeps the meta-trained one."""
    seen = []
    monkeypatch.setattr(PromptSRC, "prepare_training", lambda self: seen.append(self.prompts.context.clone()))
    plain = make("ivlp", weights, tmp_path / "plain", monkeypatch)
    start = {n: torch.full_like(p, 0.25) for n, p in plain.model.prompts.named_parameters()}
    path = meta_file(plain, tmp_path / "meta.safetensors", start=start)
    make("promptsrc", weights, tmp_path / "gram", monkeypatch, True, ["TRAINER.GRAM.META", str(path)])
    assert (seen[0] == 0.25).all()
