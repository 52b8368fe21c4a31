"""What is not finite is met where it arises: never used, never saved, never evaluated without a word."""
import logging

import pytest
import torch
from support import reference

from trainers.errors import InputError
from trainers.training import checkpoint
from trainers.training.loss_scale import LossScale, all_finite


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return lambda case: reference.weights_file(reference.CASES[case][1], folder)


def make(case, weights, output, *settings):
    torch.manual_seed(1)
    return reference.make(case, weights(case), output, settings=["TRAINER.PROMPTREG.IMAGE_MEMORY", 0.1, *settings])


def after(step, trainer, change):
    """Let ``change`` alter the objective from the run's ``step`` (from 0) on."""
    original, count = trainer.compute_loss, iter(range(1000))

    def compute(*batch):
        loss, figures = original(*batch)
        return (change(loss) if next(count) >= step else loss), figures
    trainer.compute_loss = compute


def test_an_overflow_in_the_general_gradient_alone_leaves_the_step_out(weights, tmp_path):
    """ProGrad under amp: where(nan < 0, projected, raw) is the raw gradient."""
    trainer = make("prograd_lambda08", weights, tmp_path, "TRAINER.COOP.PREC", "amp")
    after(0, trainer, lambda losses: (losses[0], losses[1] * 1e30))
    before = trainer.trainable[0].detach().clone()
    trainer.set_model_mode("train")
    trainer.state.loss_scale.scale = 2.0 ** 6
    trainer.forward_backward(trainer.train_loader_x[0])
    assert torch.equal(trainer.trainable[0], before)
    assert (trainer.state.loss_scale.scale, trainer.state.loss_scale.good) == (2.0 ** 5, 0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_bad_gradient_of_the_last_step_is_not_saved(precision, weights, tmp_path):
    trainer = make("coop_end", weights, tmp_path, "TRAINER.COOP.PREC", precision)
    after(8, trainer, lambda loss: loss + (trainer.trainable[0].sum() * 0).sqrt())  # 0, with a gradient of 0 * inf
    with pytest.raises(InputError, match=r"the gradient is not finite in epoch 3, batch 3 of 3, on 2-0.jpg"):
        trainer.train()
    assert checkpoint.saved_epochs(tmp_path / "prompt_learner") == [2]


def test_prompts_that_leave_the_numbers_in_the_last_step_are_not_saved(weights, tmp_path):
    trainer = make("coop_end", weights, tmp_path, "OPTIM.LR", 1e30, "OPTIM.MAX_EPOCH", 1, "OPTIM.WARMUP_EPOCH", -1)
    trainer.train_loader_x = trainer.train_loader_x[:1]
    after(0, trainer, lambda loss: loss * 1e20)
    with pytest.raises(InputError, match="the prompts are not finite after epoch 1, batch 1 of 1: lower OPTIM.LR"):
        trainer.train()
    assert not (tmp_path / "prompt_learner").exists()


def test_amp_says_when_no_scale_helps(weights, tmp_path):
    trainer = make("coop_end", weights, tmp_path, "TRAINER.COOP.PREC", "amp")
    after(0, trainer, lambda loss: loss + (trainer.trainable[0].sum() * 0).sqrt())
    trainer.state.loss_scale.scale = 4.0
    with pytest.raises(InputError, match="the gradient is not finite in epoch 1, batch 3 of 3"):
        trainer.train()  # at 4, 2 and 1


def test_amp_notes_an_epoch_that_it_has_mostly_left_out(weights, tmp_path, caplog):
    trainer = make("coop_end", weights, tmp_path, "TRAINER.COOP.PREC", "amp")
    original, count = trainer.compute_loss, iter(range(9))

    def compute(*batch):
        loss, figures = original(*batch)
        return (loss + (trainer.trainable[0].sum() * 0).sqrt() if next(count) in (3, 5, 6) else loss), figures
    trainer.compute_loss = compute
    trainer.state.loss_scale.scale = 2.0 ** 8
    with caplog.at_level(logging.WARNING, "promptreg"):
        trainer.train()
    noted = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert noted == ["PREC amp left out 2 of 3 steps of epoch 2, whose gradients overflowed: train longer, or take "
                     "another PREC"]


def test_an_evaluation_of_what_is_no_number_is_refused(weights, tmp_path):
    """Its argmax is a class, and would count as an answer."""
    trainer = make("coop_end", weights, tmp_path)
    trainer.test_loader = trainer.train_loader_x[:2]
    trainer.test()
    good = trainer.results["test"]
    trainer.test_loader[1]["img"][2] = float("nan")
    with pytest.raises(InputError, match=r"the logits of 1 images of the test set are not finite under PREC fp32"):
        trainer.test()
    assert trainer.results == {"test": good}


def test_scale_and_check():
    scale = LossScale(scale=4.0, double_after=2)
    assert not scale.accept(False) and (scale.scale, scale.left_out, scale.exhausted) == (2.0, 1, False)
    assert scale.accept(True) and scale.accept(True) and (scale.scale, scale.good) == (4.0, 0)
    assert all_finite([None]) and all_finite([torch.ones(2), None, torch.ones(1, 3)])
    assert not all_finite([torch.ones(2), torch.tensor([[float("inf")]])])
