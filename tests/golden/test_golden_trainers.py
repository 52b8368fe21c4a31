"""Every trainer against what the published implementations compute (tests/golden/): the fast path and the plain one."""
import numpy as np
import pytest
import torch
from support import reference
from support.closeness import assert_close, assert_relative, assert_state
from support.paths import GOLDEN


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return lambda kind: reference.weights_file(kind, folder)


@pytest.mark.parametrize("path", ["fast", "chunked", "plain"])
@pytest.mark.parametrize("case", reference.CASES)
def test_equals_published_code(case, path, weights, tmp_path):
    golden = np.load(GOLDEN / f"trainer_{case}.npz")
    _, kind, _ = reference.CASES[case]
    trainer = reference.make(case, weights(kind), tmp_path, path=path)
    if path == "chunked" and trainer.model.rows:
        assert len(trainer.model.layout.chunks) > 1
    words = [n for n in golden.files if n == "init/prompt_learner.ctx"]
    from_words = case.startswith(("promptsrc", "prometar")) or case in ("ivlp", "maple")
    if "CTX_INIT" in str(reference.CASES[case][2]) or from_words:
        assert_close(trainer.model.prompts.prompt_learner.ctx.detach(), golden[words[0]], "context from words")
    reference.start_from(trainer, golden)
    images = trainer.train_loader_x[0]["img"]
    assert_close(reference.evaluate(trainer, images), golden["eval_logits_before"], "logits before")

    trainer.train()

    assert len(trainer.record) == 9
    for i, step in enumerate(trainer.record):
        assert step["lr"] == pytest.approx(float(golden[f"lr/{i}"]), rel=1e-9)
        assert step["lr_last"] == pytest.approx(float(golden.get(f"lr_new/{i}", golden[f"lr/{i}"])), rel=1e-9)
        figures = {key.split("/")[1] for key in golden.files if key.startswith("summary/")}
        assert figures <= set(step["summary"])
        for figure in figures:
            assert_close(step["summary"][figure], golden[f"summary/{figure}/{i}"], f"{figure} of step {i}")
    for i in (0, 3):
        assert_state(trainer.record[i]["grad"], golden, f"grad/{i}/")
    for i in (0, 3) if "prometar" in case else ():
        ours = {name: g for name, g in trainer.record[i]["grad_meta"].items() if i == 0 or not name.startswith("vnet")}
        assert_relative(ours, golden, f"grad_meta/{i}/", 5e-4)
        assert trainer.record[i]["lr_vnet"] == golden[f"lr_vnet/{i}"]
    for i in (0, 4):
        assert_state(trainer.record[i]["param"], golden, f"param/{i}/", all_of_them=(case, i) != ("mma", 4))
    vnet = getattr(trainer.model, "vnet", None)
    learned = {} if vnet is None else vnet.state_dict(prefix="vnet.")
    assert_state(trainer.model.prompts.state_dict() | learned, golden, "final/")
    assert_close(reference.evaluate(trainer, images), golden["eval_logits_after"], "logits after")

    if "eval_linear_after" in golden:
        trainer.model.probe.TEST_TIME_FUSION = False
        assert_close(reference.evaluate(trainer, images), golden["eval_linear_after"], "the head's logits")
        trainer.model.own_classes = False
        assert_close(reference.evaluate(trainer, images), golden["eval_similarity_after"], "logits without the head")

    if "eval_logits_new" in golden:
        other = reference.make(case, weights(kind), tmp_path / "new", new=True, path=path)
        other.load_model(str(tmp_path), 3)
        assert_close(reference.evaluate(other, images), golden["eval_logits_new"], "logits on new classes")


@pytest.mark.parametrize("case", ["promptsrc", "promptsrc_depth3"])
def test_promptsrc_terms(case, weights, tmp_path):
    golden = np.load(GOLDEN / f"trainer_{case}.npz")
    trainer = reference.make(case, weights("vit"), tmp_path)
    reference.start_from(trainer, golden)
    images = trainer.train_loader_x[0]["img"]
    with torch.no_grad():
        assert_close(trainer.model.text_features(), golden["terms/text_features"], "text features")
        assert_close(trainer.model.image_features(images), golden["terms/image_features"], "image features")
        assert_close(trainer.model.frozen_text, golden["terms/frozen_text_features"], "frozen text features")
    assert trainer.model.aggregation.weights == pytest.approx(golden["gpa_weights"], rel=1e-12)


@pytest.mark.parametrize("case", ["promptsrc", "prograd"])
def test_step_compiles_whole(case, weights, tmp_path, monkeypatch):
    """TRAIN.COMPILE on a stand-in for inductor, which takes minutes: one graph, and the published losses."""
    compiled = []

    def compile_whole(function, **options):
        compiled.append(options)
        return torch_compile(function, backend="eager", fullgraph=True, **options)
    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile_whole)
    golden = np.load(GOLDEN / f"trainer_{case}.npz")
    trainer = reference.make(case, weights(reference.CASES[case][1]), tmp_path, settings=["TRAIN.COMPILE", True])
    reference.start_from(trainer, golden)
    trainer.set_model_mode("train")
    _, figures = trainer.compute_loss(*trainer.parse_batch_train(trainer.train_loader_x[0]))
    assert compiled == [{"dynamic": False}]
    assert figures
    for figure, value in figures.items():
        assert_close(value.detach(), golden[f"summary/{figure}/0"], f"{figure} of the compiled step")
