"""What is easily forgotten in a method of one's own is an error when it is built, or in its first step."""
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from trainers.base import PromptMethod, PromptTrainer, declare, register
from trainers.errors import InputError
from trainers.prompts import prompt_tokens, words_to_context
from trainers.training.step import Step, loss_and_figures

declare("MISTAKEN", N_CTX=2, PREC="fp32")
SHALLOW, DEEP = "image_encoder.VPT", "image_encoder.transformer.resblocks.{}.VPT_shallow"


class Mistaken(PromptMethod):
    """Two words, and visual vectors {name: how many}."""

    SECTION, VISUAL, ROWS = "MISTAKEN", {SHALLOW: 2, DEEP.format(1): 2}, True

    def build_prompts(self):
        words, context = words_to_context(self.clip, "", 2)
        self.prompts.put("prompt_learner.ctx", context)
        for name, n in self.VISUAL.items():
            self.prompts.put(name, torch.zeros(n, self.require_vit()))
        if self.ROWS:
            self.rows = prompt_tokens(self.classnames, self.clip.tokenizer, words, 2)


def built(**attributes):
    return type("Mistaken", (Mistaken,), attributes).from_backbone("demo", ["one", "two"])


def step_of(method):
    parameters = list(method.prompts.parameters())
    return Step(parameters, torch.optim.SGD(parameters, lr=0.1))


@pytest.mark.parametrize("visual, said", [
    ({DEEP.format(1): 2}, "image_encoder.VPT and all layers from 1 on must be there"),
    ({SHALLOW: 2, DEEP.format(3): 2}, "has vectors for layers 3"),
    ({SHALLOW: 2, DEEP.format(1): 5}, "image_encoder.VPT has 2 vectors, and deep layers of image_encoder have 5")])
def test_deep_vectors_that_would_not_be_read_as_meant(visual, said):
    with pytest.raises(ValueError, match=said):
        built(VISUAL=visual)


def test_all_vectors_of_the_right_form_are_trained():
    method = built().train()
    loss, _ = method.loss(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    assert all(gradient.abs().sum() > 0 for gradient in step_of(method).gradients(loss))


def test_text_features_without_rows():
    with pytest.raises(ValueError, match="set self.rows in build_prompts, or override text_features"):
        built(ROWS=False).text_features()


@pytest.mark.parametrize("section", [{}, {"SECTION": "NOWHERE"}])
def test_a_method_without_its_config_section(section):
    with pytest.raises(TypeError, match="Forgetful has no config section with PREC"):
        register(type("Forgetful", (PromptMethod,), section))


def test_a_key_that_the_section_lacks():
    with pytest.raises(InputError, match="TRAINER.MISTAKEN has no key N_CXT: choose from N_CTX, PREC"):
        Mistaken.from_backbone("demo", ["one"], N_CXT=3)


@pytest.mark.parametrize("returned", [
    torch.tensor(1.0), (torch.tensor(1.0), torch.tensor(2.0)), (torch.tensor(1.0), {"loss": 1.0})])
def test_what_loss_must_return(returned):
    with pytest.raises(TypeError, match=r"Mine.loss must return \(loss, \{name: tensor to report\}\)"):
        loss_and_figures(returned, "Mine")


def test_two_losses_without_a_rule_for_their_gradients():
    method = built().train()
    loss = F.cross_entropy(method(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="got tuple: where loss returns several losses, override compute_gradients"):
        method.compute_gradients((loss, loss), step_of(method).gradients)


def test_a_gradient_for_each_parameter():
    with pytest.raises(ValueError, match="returned 1 gradients for 3 parameters"):
        step_of(built()).use([None])


def test_a_parameter_that_nothing_depends_on_is_noted():
    method = built(VISUAL={"visual": 2}).train()
    step = step_of(method)
    run = SimpleNamespace(trainable=step.parameters, optim=step.optimizer, state=SimpleNamespace(loss_scale=None),
                          compute_loss=method.loss, model=method, parse_batch_train=lambda batch: batch.values(),
                          computation=lambda *batch: PromptTrainer.compute(run, *batch))
    batch = {"img": torch.randn(2, 3, 32, 32), "label": torch.tensor([0, 1])}
    for _ in range(2):
        PromptTrainer.forward_backward(run, batch)
    assert list(method.notes) == ["visual has no gradient and stays as it started: nothing in the loss depends on it"]
