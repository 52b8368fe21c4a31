"""What is easily forgotten in a method of one's own is an error when it is built, or in its first step."""
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from trainers.base import PromptMethod, PromptTrainer, declare, register
from trainers.errors import InputError
from trainers.prompts import Prompts, prompt_tokens, words_to_context
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


@pytest.mark.parametrize("prompts, said", [
    ({"prompt_learner.ctx": (2, 65)}, r"prompt_learner.ctx must be \[n, 64\], or \[C, n, 64\] of the classes, got"),
    ({"prompt_learner.ctx": (64,)}, r"prompt_learner.ctx must be"),
    ({"prompt_learner.ctx": (3, 64)}, "self.rows have 2 slots for the 3 vectors of prompt_learner.ctx"),
    ({"prompt_learner.ctx": (2, 2, 64)}, "self.rows have 2 slots for the 4 vectors"),
    ({SHALLOW: (64,), DEEP.format(1): (64,)}, r"the vectors of layer 0 .* must be \[n, 64\], got \[64\]"),
    ({DEEP.format(1): (2, 7)}, r"image_encoder: the vectors of layer 1 .* must be \[n, 64\], got \[2, 7\]"),
    ({DEEP.format(n): (2, 64) for n in range(1, 7)}, "deep vectors for 6 layers, and there are 5 behind the first"),
    ({"vision": (2, 64)}, "vision is an attribute of Prompts: choose another name")])
def test_vectors_of_another_form(prompts, said):
    def build(self):
        Mistaken.build_prompts(self)
        for name, shape in prompts.items():
            self.prompts.put(name, torch.zeros(shape))
    with pytest.raises(ValueError, match=said):
        built(build_prompts=build)


@pytest.mark.parametrize("change, said", [
    (lambda rows: rows[:1], "must have a row for each of 2 classes, got 1"),
    (lambda rows: [[token for token, _ in row] for row in rows], "as prompt_tokens returns it, got list of list"),
    (lambda rows: torch.zeros(2, 77), "got Tensor of Tensor"), (lambda rows: ["a one.", "a two."], "got list of str"),
    (lambda rows: [[(token, -1) for token, _ in row] for row in rows], "have 0 slots for the 2 vectors")])
def test_rows_of_another_form(change, said):
    def build(self):
        Mistaken.build_prompts(self)
        self.rows = change(self.rows)
    with pytest.raises(ValueError, match=said):
        built(build_prompts=build)


def test_put_takes_tensors_and_modules():
    with pytest.raises(TypeError, match="visual must be a tensor or a module, got list"):
        Prompts().put("visual", [1.0])
    with pytest.raises(ValueError, match="vision_encoder must be text_encoder or image_encoder"):
        Prompts().put_deep("vision_encoder", 2, 2, 64)


@pytest.mark.parametrize("learned", [True, False])
def test_what_is_learned_is_in_the_prompts_and_what_is_not_is_not(learned):
    """Such a parameter would be neither trained nor saved; a frozen one among the prompts, autograd refuses."""
    def build(self):
        Mistaken.build_prompts(self)
        if learned:
            self.scale = torch.nn.Parameter(torch.ones(()))
        else:
            self.prompts.put("scale", torch.ones(())).scale.requires_grad_(False)
    method = built(build_prompts=build).eval()
    with pytest.raises(ValueError, match=f"Mistaken.{'' if learned else 'prompts.'}scale: what is learned must be in"):
        method.train()
    if learned:  # by an optimizer of the method's
        built(build_prompts=build, extra_state=lambda self: {"scale": self.scale}).train()


def test_text_features_without_context():
    method = built()
    del method.prompts.prompt_learner
    with pytest.raises(ValueError, match="the rows have slots and there are no context vectors"):
        method.text_features()


@pytest.mark.parametrize("deep, said", [
    ([torch.zeros(3, 64)], "layer 1 has 3 vectors for 2 slots"), ([None] * 6, "there are 5 behind the first")])
def test_deep_text_vectors_that_a_method_forms_itself(deep, said):
    method = built()
    with pytest.raises(ValueError, match=f"text tower: .*{said}"):
        method.clip.text(method.layout, method.prompts.context, deep)


def test_a_method_that_builds_nothing():
    with pytest.raises(NotImplementedError, match="Mistaken has no build_prompts"):
        built(build_prompts=PromptMethod.build_prompts)


def test_text_features_without_rows():
    with pytest.raises(ValueError, match="set self.rows in build_prompts, or override encode_text"):
        built(ROWS=False).text_features()


@pytest.mark.parametrize("section", [{}, {"SECTION": "NOWHERE"}])
def test_a_method_without_its_config_section(section):
    with pytest.raises(TypeError, match="Forgetful has no config section with PREC"):
        register(type("Forgetful", (PromptMethod,), section))


def test_a_key_that_the_section_lacks():
    with pytest.raises(InputError, match="TRAINER.MISTAKEN has no key N_CXT: choose from N_CTX, PREC"):
        Mistaken.from_backbone("demo", ["one"], N_CXT=3)


@pytest.mark.parametrize("returned", [
    torch.tensor(1.0), (torch.tensor(1.0), torch.tensor(2.0)), (torch.tensor(1.0), {"loss": 1.0}),
    (torch.tensor(1.0), {"logits": torch.zeros(2)})])
def test_what_loss_must_return(returned):
    with pytest.raises(TypeError, match=r"Mine.loss must return \(loss, \{name: tensor to report\}\)"):
        loss_and_figures(returned, "Mine")


def test_two_losses_without_a_rule_for_their_gradients():
    method = built().train()
    loss = F.cross_entropy(method(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="got tuple: where loss returns several losses, override compute_gradients"):
        method.compute_gradients((loss, loss), step_of(method).gradients)


@pytest.mark.parametrize("loss, said", [
    (lambda logits: F.cross_entropy(logits, torch.tensor([0, 1]), reduction="none"), r"of shape \[2\]: take its mean"),
    (lambda logits: logits.mean().detach(), "depends on no prompt: it is detached")])
def test_a_loss_that_gives_no_gradients(loss, said):
    method = built().train()
    with pytest.raises(ValueError, match=said):
        step_of(method).gradients(loss(method(torch.randn(2, 3, 32, 32))))


@pytest.mark.parametrize("rule, error, said", [
    (lambda found: found[:1], ValueError, "returned 1 gradients for 3 parameters"),
    (lambda found: torch.stack(found[1:]), TypeError, "a list with one tensor, or None, a parameter, got Tensor"),
    (lambda found: iter(found), TypeError, "got list_iterator"),
    (lambda found: [0.0] * 3, TypeError, "got list of float"),
    (lambda found: [g.sum(0) for g in found], ValueError,
     r"gradient 0 must be \[2, 64\] in torch.float32, as its parameter is, got \[64\]"),
    (lambda found: [g > 0 for g in found], ValueError, r"got \[2, 64\] in torch.bool")])
def test_a_gradient_for_each_parameter(rule, error, said):
    method = built()
    before = [parameter.detach().clone() for parameter in method.prompts.parameters()]
    with pytest.raises(error, match=said):
        step_of(method).use(rule([torch.ones_like(parameter) for parameter in before]))
    assert all(map(torch.equal, before, method.prompts.parameters()))
    step_of(method).use((torch.ones_like(before[0]), None, None))
    assert (method.prompts.context < before[0]).all()


def test_a_parameter_that_nothing_depends_on_is_noted():
    method = built(VISUAL={"visual": 2}).train()
    step = step_of(method)
    run = SimpleNamespace(trainable=step.parameters, optim=step.optimizer, state=SimpleNamespace(loss_scale=None),
                          compute_loss=method.loss, model=method, parse_batch_train=lambda batch: batch.values(),
                          device=torch.device("cpu"),
                          computation=lambda *batch: PromptTrainer.compute(run, *batch))
    batch = {"img": torch.randn(2, 3, 32, 32), "label": torch.tensor([0, 1])}
    for _ in range(2):
        PromptTrainer.forward_backward(run, batch)
    assert list(method.notes) == ["visual has no gradient and stays as it started: nothing in the loss depends on it"]
