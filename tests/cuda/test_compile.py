"""torch.compile: every objective is one graph, without a break, on a stand-in for inductor, which takes minutes."""
import pytest
import torch
from support.every_trainer import METHODS, low_weights, made

from trainers.clip import block, packed_attention
from trainers.clip.tokens import pack
from trainers.compat.registry import TRAINERS
from trainers.gram import GRAM

# PromptSRC's and ProGrad's are in tests/golden, with the published losses; what GRAM wraps has its base's objective
OBJECTIVES = [name for name in METHODS if not name.startswith(("Zeroshot", "GRAM", "UNIGRAM", "PromptSRC", "ProGrad"))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return low_weights(tmp_path_factory.mktemp("weights"), layers=2)


def test_wrapped_methods_have_no_objective_of_their_own():
    for cls in (TRAINERS.entries[name].METHOD for name in METHODS):
        own = vars(cls).keys() | vars(GRAM).keys() if issubclass(cls, GRAM) else set()
        assert not {"loss", "logits", "text_features", "image_features"} & own


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_is_one_graph(name, weights, tmp_path):
    trainer = made(TRAINERS.entries[name], "fp32", weights, tmp_path)
    trainer.set_model_mode("train")
    batch = trainer.parse_batch_train(trainer.train_loader_x[0])
    _, wanted = trainer.model.loss(*batch)
    torch._dynamo.reset()
    _, figures = torch.compile(trainer.model.loss, backend="eager", fullgraph=True, dynamic=False)(*batch)
    assert figures.keys() == wanted.keys()
    assert all(torch.allclose(figures[key], wanted[key], rtol=1e-5) for key in wanted)


@pytest.mark.parametrize("sets", [1, 2])
def test_attention_for_cuda_is_one_graph_and_attention_for_cpus(sets):
    torch.manual_seed(0)
    rows = [[(1, -1), (2, -1), *[(token, -1)] * own, (9, -1)] for token, own in ((3, 1), (4, 1), (5, 2), (6, 4))]
    layout = pack(rows, groups=2)
    chunk, p = layout.chunks[0], len(layout.prefix)
    assert chunk.groups == [(4, 5)] and chunk.lengths.tolist() == [2, 2, 3, 5] and p == 2
    y = torch.randn(sets, p + 20, 3, 2, 8)
    masks = packed_attention.masks(chunk, p, torch.float32)
    assert all(stride % 8 == 0 for mask in masks[0] for stride in mask.stride()[:-1])
    torch._dynamo.reset()
    attend = torch.compile(packed_attention.attend_packed, backend="eager", fullgraph=True)
    last = torch.compile(packed_attention.attend_last, backend="eager", fullgraph=True)
    ends = y[:, p + chunk.ends, :1]
    found, of_ends = attend(y, p, chunk, masks), last(ends, y[:, :, 1:], p, chunk, masks)
    q, k, v = y.unbind(2)
    heads = [x.transpose(1, 2) for x in (q, k, v)]
    prefix = [x[:, :, :p] for x in heads]
    assert torch.allclose(found[:, :p], block.attend(*prefix, causal=True), atol=1e-6)
    for c, own in enumerate([2, 2, 3, 5]):
        at = slice(p + 5 * c, p + 5 * c + own)
        q_own, k_own, v_own = (x[:, :, at].unsqueeze(2) for x in heads)
        wanted = block.attend_after_prefix(q_own, k_own, v_own, *prefix[1:])
        assert torch.allclose(found[:, at], wanted, atol=1e-6)
        assert torch.allclose(of_ends[:, c], wanted[:, -1], atol=1e-6)
