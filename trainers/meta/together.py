"""Several episodes side by side: one pass of the encoders for the prompts and class names of all of them."""
import itertools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from ..clip.tokens import PackedPrompts
from ..cocoop import CoCoOp
from .learner import Learner

META_NET = "prompt_learner.meta_net."


class Together:
    """Logits of E episodes, each with prompts and classes of its own; every figure as if it were computed alone.

    The classes of all episodes are rows of one text, whose slots count through the episodes' contexts; the images are
    one batch, each with its episode's vectors.

    Args:
        learner: ``Learner``.
        names: of each episode, the class names.
    """

    def __init__(self, learner: Learner, names: Sequence[Sequence[str]]) -> None:
        self.clip, self.sees, self.sizes = learner.clip, learner.sees, [len(n) for n in names]
        self.method = learner.build(list(itertools.chain(*names)))
        rows, ends = self.method.rows, list(itertools.accumulate(self.sizes, initial=0))
        self.rows = [rows[a:b] for a, b in itertools.pairwise(ends)]  # of each episode
        self.layouts: dict[tuple[int, ...], PackedPrompts] = {}

    def embed(self, images: Tensor) -> Tensor:
        """Return what does not depend on the prompts, to be kept: the vision tower's input; features stay."""
        with torch.no_grad():
            return self.clip.vision.embed(images) if self.sees == "pixels" else images

    def __call__(self, prompts: Mapping[str, Tensor], embedded: Sequence[Tensor]) -> list[Tensor]:
        """Return logits [b, C] of each episode.

        Args:
            prompts: {name: tensor [E, …]}.
            embedded: for each episode, ``embed`` of its images [b, …].
        """
        counts = [len(part) for part in embedded]
        images = torch.cat(list(embedded))
        if self.sees == "pixels":
            each = torch.repeat_interleave(torch.tensor(counts)).to(images.device)
            first, *deep = (value[each] for name, value in prompts.items() if name.startswith("image_encoder."))
            images = F.normalize(self.clip.vision(images, first, deep).float(), dim=-1)
        parts = images.split(counts)
        if isinstance(self.method, CoCoOp):
            return self._conditional(prompts, parts)
        texts = self._text(prompts).split(self.sizes)
        return [self.clip.logit_scale * part @ text.T for part, text in zip(parts, texts, strict=True)]

    def _text(self, prompts: Mapping[str, Tensor]) -> Tensor:
        """Return unit features [sum of the episodes' classes, E]."""
        if not self.method.rows:
            return self.method.text_features()
        context, *deep = (value.flatten(0, 1) for name, value in prompts.items() if not name.startswith("image_enc"))
        layout = self._layout((1,) * len(self.sizes), len(context) // len(self.sizes))
        return F.normalize(self.clip.text(layout, context, deep).float(), dim=-1)

    def _conditional(self, prompts: Mapping[str, Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
        """Return logits of CoCoOp, where each image has its own context."""
        net, shifted = self.method.prompts.prompt_learner.meta_net, []
        for e, part in enumerate(parts):
            own = {name.removeprefix(META_NET): value[e] for name, value in prompts.items() if META_NET in name}
            shifted.append(prompts["prompt_learner.ctx"][e] + functional_call(net, own, part).unsqueeze(1))
        contexts = torch.cat(shifted)  # [images, n, D]
        counts = tuple(len(part) for part in parts)
        text = self.clip.text(self._layout(counts, contexts.shape[1]), contexts.flatten(0, 1))
        texts = F.normalize(text.float(), dim=-1).split([n * c for n, c in zip(counts, self.sizes, strict=True)])
        return [self.clip.logit_scale * torch.einsum("be,bce->bc", part, text.unflatten(0, (len(part), -1)))
                for part, text in zip(parts, texts, strict=True)]

    def _layout(self, counts: tuple[int, ...], n: int) -> PackedPrompts:
        """Return the rows of each episode, ``counts[e]`` times over, each time with ``n`` further slots."""
        if counts not in self.layouts:
            times = [rows for count, rows in zip(counts, self.rows, strict=True) for _ in range(count)]
            self.layouts[counts] = self.clip.text.pack([
                [(token, slot + i * n if slot >= 0 else slot) for token, slot in row]
                for i, rows in enumerate(times) for row in rows])
        return self.layouts[counts]
