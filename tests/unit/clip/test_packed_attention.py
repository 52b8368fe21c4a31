"""The GPU's packed attention, on CPU numbers, and how sequences are padded for it, beside ways checked by eye."""
import itertools

import pytest
import torch

from trainers.clip import packed_attention, tokens
from trainers.clip.tokens import PER_GROUP, pack, padded_lengths

H, D, PREFIX = 3, 8, 3
ROWS = [[(1, -1), (7, 0), (8, 1), *((10 * n + i, -1) for i in range(n)), (2, -1)] for n in (1, 1, 2, 4, 5)]


def packed(groups):
    """One chunk, in as many groups as it may have: with a price a group, so few tokens would be one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "PER_GROUP", 0)
        layout = pack(ROWS, groups=groups)
    assert len(layout.prefix) == PREFIX and len(layout.chunks) == 1 and len(layout.chunks[0].groups) == groups
    return layout.chunks[0]


def alone(q, k, v, chunk):
    """Attention of each sequence by itself: the prefix's, then [its true length, H * D] a sequence behind it."""
    def attend(q, k, v, offset):
        weights = torch.einsum("nhd,mhd->hnm", q, k) * D ** -0.5
        seen = torch.arange(len(k)) <= offset + torch.arange(len(q))[:, None]
        return torch.einsum("hnm,mhd->nhd", weights.masked_fill(~seen, float("-inf")).softmax(-1), v).flatten(1)
    found, start = [attend(q[:PREFIX], k[:PREFIX], v[:PREFIX], 0)], PREFIX
    sizes = [length for count, length in chunk.groups for _ in range(count)]
    for size, true in zip(sizes, chunk.lengths.tolist(), strict=True):
        own = slice(start, start + true)
        found.append(attend(q[own], torch.cat([k[:PREFIX], k[own]]), torch.cat([v[:PREFIX], v[own]]), PREFIX))
        start += size
    return found, sizes


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
@pytest.mark.parametrize("sets", [1, 2])
def test_equals_each_sequence_by_itself(groups, sets):
    chunk = packed(groups)
    total = PREFIX + sum(count * length for count, length in chunk.groups)
    draw = torch.Generator().manual_seed(groups)
    y = torch.randn(sets, total, 3, H, D, generator=draw)
    added = packed_attention.masks(chunk, PREFIX, torch.float32)
    assert all(mask.stride(-2) % 8 == 0 and mask.stride(-2) < mask.shape[-1] + 8 for mask, _ in added)
    assert [last is None for _, last in added] == [
        len(set(part.tolist())) == 1 for part in chunk.lengths.split([count for count, _ in chunk.groups])]
    together = packed_attention.attend_packed(y, PREFIX, chunk, added)
    last = packed_attention.attend_last(y[:, PREFIX + chunk.ends, 0].unsqueeze(2), y[:, :, 1:], PREFIX, chunk, added)
    for g in range(sets):
        expected, sizes = alone(*y[g].unbind(1), chunk)
        assert torch.allclose(together[g, :PREFIX], expected[0], atol=1e-5)
        start = PREFIX
        for number, (size, rows) in enumerate(zip(sizes, expected[1:], strict=True)):
            assert torch.allclose(together[g, start:start + len(rows)], rows, atol=1e-5)
            assert torch.allclose(last[g, number], rows[-1], atol=1e-5)
            start += size


def cost(lengths, padded):
    return PER_GROUP * len(set(padded)) + sum(padded)


@pytest.mark.parametrize("counts", [{3: 5}, {2: 900, 3: 40, 7: 3, 9: 2}, {2: 10, 8: 400, 9: 400, 20: 100},
                                    {2: 2000, 5: 2000, 9: 2000, 14: 2000}])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_lengths_are_padded_at_the_least_cost(counts, most):
    lengths = [n for n, count in counts.items() for _ in range(count)]
    found = padded_lengths(lengths, most)
    assert all(n <= end for n, end in zip(lengths, found, strict=True)) and len(set(found)) <= most
    ends = [chosen for size in range(most) for chosen in itertools.combinations(sorted(counts)[:-1], size)]
    ways = [[next(end for end in (*chosen, max(counts)) if n <= end) for n in lengths] for chosen in ends]
    assert cost(lengths, found) == min(cost(lengths, way) for way in ways)


def test_padding_stands_behind_the_end_of_text():
    chunk = packed(1)
    (count, length), = chunk.groups
    rows = chunk.tokens.reshape(count, length)
    for row, true, end in zip(rows, chunk.lengths.tolist(), chunk.ends.tolist(), strict=True):
        assert chunk.tokens[end] == 2 and (row[true:] == 2).all() and (row[:true - 1] != 2).all()
    assert chunk.position_ids.tolist() == [PREFIX + i for _ in range(count) for i in range(length)]
