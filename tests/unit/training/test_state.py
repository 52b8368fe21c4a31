"""A trainer's model and state: the method as it is, and what a run carries from step to step."""
import dataclasses

import pytest
import torch
from support import reference
from support.cases import make

from trainers.base import PromptTrainer, register
from trainers.training import checkpoint
from trainers.training.loss_scale import LossScale
from trainers.training.state import Notes, RunState


def test_the_model_is_the_method_as_in_coop(weights, tmp_path):
    """What host code reads: trainer.model(images), trainer.model.prompt_learner.ctx, both modes."""
    trainer = make("coop_end", weights, tmp_path)
    images = trainer.train_loader_x[0]["img"]
    assert torch.equal(trainer.model(images), reference.evaluate(trainer, images))
    assert not trainer.model.training and not trainer.model.prompts.training
    assert trainer.model.prompt_learner.ctx is trainer.trainable[0]
    assert list(trainer.model.parameters()) == trainer.trainable, "the frozen CLIP is nobody's parameter"


def test_text_features_of_the_evaluation_follow_the_prompts(weights, tmp_path):
    """Computed once while nothing changes, and not kept where somebody wants their gradient."""
    make("coop_end", weights, tmp_path).train()
    trainer = make("coop_end", weights, tmp_path / "other")
    images = trainer.train_loader_x[0]["img"]
    before = reference.evaluate(trainer, images)
    with torch.no_grad():
        assert trainer.model.current_text_features() is trainer.model.current_text_features()
    trainer.load_prompts(tmp_path / "prompt_learner" / "model.pth.tar-3")
    after = trainer.model_inference(images)
    assert (before - after).abs().max() > 1e-4
    trainer.model.forget_text_features()
    for _ in range(2):  # the graph of the first must not be met again
        trainer.model(images).sum().backward()
    assert trainer.trainable[0].grad.abs().max() > 0


def test_content_is_restored():
    state = RunState(2, {"torch": 1}, {"torch": 0}, LossScale(), 61.5)
    state.loss_scale.scale, state.loss_scale.good = 8.0, 3
    state.notes.add("a note")
    again = RunState(loss_scale=LossScale())
    again.restore(state.content())
    again.initial_rng_state = state.initial_rng_state  # which a run has before it resumes
    assert again.content() == state.content()
    saved = {field.name for field in dataclasses.fields(RunState)} & set(state.content())
    assert saved == set(state.content()) == {"batch", "epoch_random", "initial_rng_state", "loss_scale", "best_result",
                                            "notes"}


def test_notes_are_warned_of_once(caplog):
    notes = Notes()
    for text in ("one", "two", "one"):
        notes.add(text)
    assert list(notes) == ["one", "two"] == [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("fields", [("batch", "epoch_random"),  # 0.2.0 wrote them within an epoch alone
                                    ("batch", "epoch_random", "best_result", "notes", "identity", "joint_batch")])
def test_checkpoints_of_older_versions_are_resumed_to_the_bit(fields, weights, tmp_path):
    torch.manual_seed(1)
    make("coop_end", weights, tmp_path / "whole", settings=["TRAIN.CHECKPOINT_FREQ", 1]).train()
    old = tmp_path / "old" / "prompt_learner" / "model.pth.tar-2"
    content = checkpoint.read_checkpoint(tmp_path / "whole" / "prompt_learner" / old.name)
    checkpoint.write_checkpoint({key: value for key, value in content.items() if key not in fields}, old)
    torch.manual_seed(99)
    resumed = make("coop_end", weights, tmp_path / "old")
    resumed.train()
    assert len(resumed.record) == 3
    one, other = (checkpoint.read_checkpoint(tmp_path / name / "prompt_learner" / "model.pth.tar-3")["state_dict"]
                  for name in ("whole", "old"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_trainer_is_no_method():
    with pytest.raises(TypeError, match="Mine must derive from promptreg.base.PromptMethod, got PromptTrainer"):
        @register
        class Mine(PromptTrainer):
            SECTION = "COOP"
