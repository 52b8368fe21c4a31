"""ProMetaR's VNet: the equation, and that a resumed run has it as it was."""
import pytest
import torch

from trainers.regulate.modulation import VNet, take_back, with_optimizer

PROMPTS = {"prompt_learner.ctx": torch.zeros(2, 8), "image_encoder.VPT": torch.zeros(1, 16),
           "image_encoder.transformer.resblocks.1.VPT_shallow": torch.zeros(1, 16)}


def test_a_prompts_gradient_is_modulated_in_eights_by_its_own_maps():
    torch.manual_seed(0)
    vnet = VNet(PROMPTS)
    assert [len(vnet.linear_text_gamma), len(vnet.linear_vision_gamma)] == [1, 2]
    task, general = ([torch.randn_like(p) for p in PROMPTS.values()] for _ in range(2))
    first, second = (layer.weight for layer in vnet.linear_vision_gamma[1])
    gamma = (second @ first @ torch.cat([task[2].flatten(), general[2].flatten()])).sigmoid()
    expected = task[2].flatten() + torch.tensor([gamma[i // 8] for i in range(16)]) * general[2].flatten()
    assert torch.allclose(vnet(task, general)[2].flatten(), expected, atol=1e-6)
    with pytest.raises(AssertionError, match="both losses depend on all prompts"):
        vnet(task, [*general[:2], None])


def test_a_resumed_network_makes_the_step_that_an_unstopped_one_makes():
    def step(vnet, optimizer):
        torch.manual_seed(1)
        gradients = [torch.randn_like(p) for p in PROMPTS.values()]
        optimizer.zero_grad()
        sum(x.sum() for x in vnet(gradients, gradients)).backward()
        optimizer.step()

    def build():
        vnet = VNet(PROMPTS)
        return vnet, torch.optim.SGD(vnet.parameters(), 0.1, momentum=0.9)

    unstopped, resumed = build(), build()
    step(*unstopped)
    saved = {name: value.clone() for name, value in with_optimizer(*unstopped).items()}
    step(*unstopped)
    take_back(*resumed, saved)
    step(*resumed)
    for a, b in zip(unstopped[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(a, b)
