"""ProMetaR's VNet: how much of the regularization's gradient reaches each prompt (arXiv 2404.00851, section 3.2)."""
import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

SHARED = 8  # neighbouring entries of a gradient that are modulated alike


class VNet(nn.Module):
    """A factor from 0 to 1 for each entry of the regularization's gradient, by two linear maps a prompt.

    Args:
        prompts: {published name: tensor}, in the order of the gradients; numbers of entries are multiples of 8.
        added: the names of those that the regularization does not reach, and that are not modulated.
    """

    def __init__(self, prompts: Mapping[str, Tensor], added: Collection[str] = ()) -> None:
        super().__init__()
        self.linear_text_gamma, self.linear_vision_gamma = nn.ModuleList(), nn.ModuleList()
        self.places: list[str | None] = []  # of each prompt, its maps'
        for name, prompt in prompts.items():
            if name in added:
                self.places.append(None)
                continue
            tower, n = "vision" if name.startswith("image_encoder") else "text", prompt.numel() // SHARED
            self.places.append(f"linear_{tower}_gamma.{(re.findall(r'resblocks.([0-9]+)', name) or [0])[0]}")
            self.get_submodule(f"linear_{tower}_gamma").append(nn.Sequential(
                nn.Linear(2 * prompt.numel(), n, bias=False), nn.Linear(n, n, bias=False)))

    def forward(self, task: Sequence[Tensor | None], general: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return g + sigmoid(net(g, r)) * r of each prompt's gradients: g of the task, r of the regularization."""
        found: list[Tensor | None] = []
        for place, g, r in zip(self.places, task, general, strict=True):
            if place is None:
                found.append(g)
                continue
            assert g is not None and r is not None, "both losses depend on all prompts"
            gamma = self.get_submodule(place)(torch.cat([g.flatten(), r.flatten()]).unsqueeze(0)).sigmoid()
            found.append(g + gamma.unsqueeze(-1).expand(-1, -1, SHARED).reshape(r.shape) * r)
        return found


def with_optimizer(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return a module's tensors and what its optimizer keeps of them, {name: tensor}."""
    kept = {f"optimizer.{name}.{key}": value for name, parameter in module.named_parameters()
            for key, value in optimizer.state.get(parameter, {}).items() if isinstance(value, Tensor)}
    return {**{f"module.{name}": value for name, value in module.state_dict().items()}, **kept}


def take_back(module: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Give a module and its optimizer what ``with_optimizer`` has returned of them."""
    module.load_state_dict({name[7:]: value for name, value in state.items() if name.startswith("module.")})
    for name, parameter in module.named_parameters():
        prefix = f"optimizer.{name}."
        found = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
        if found:
            optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in found.items()}
