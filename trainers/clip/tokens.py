"""Prompt texts as token rows, and their layout for encoding: one shared prefix, then what each class has of its own.

A row is a list of (token, slot) pairs: slot -1 marks a plain token, slot k >= 0 a place where the k-th learned
context vector stands instead of the token's embedding.
"""
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from open_clip.tokenizer import SimpleTokenizer

from ..errors import InputError

PER_GROUP = 1000  # tokens (see ``padded_lengths``)
Rows = list[list[tuple[int, int]]]  # of each prompt, (token, slot)


def clean(classname: str) -> str:
    """Class names as every published prompt writes them: "_" is a space."""
    return classname.replace("_", " ")


def tokenize(texts: Iterable[str], tokenizer: SimpleTokenizer) -> list[list[int]]:
    """Return the token lists of texts, each from start-of-text to end-of-text.

    Raises:
        InputError: a text does not fit into the text tower's context (CLIP's: 77 tokens).
    """
    rows = []
    for text in texts:
        row = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        if len(row) > tokenizer.context_length:
            raise InputError(f'the prompt "{text[:60]}…" has {len(row)} tokens, CLIP reads at most '
                             f"{tokenizer.context_length}: shorten the class name or the context")
        rows.append(row)
    return rows


def template_tokens(texts: Iterable[str], tokenizer: SimpleTokenizer) -> Rows:
    """Rows without learned slots, for templates."""
    return [[(token, -1) for token in row] for row in tokenize(texts, tokenizer)]


def prompt_tokens(classnames: Iterable[str], tokenizer: SimpleTokenizer, words: str, n_ctx: int, position: str = "end",
                  per_class: bool = False) -> Rows:
    """Rows of "context words, class name, full stop" with learned slots (CoOp, arXiv 2109.01134, section 3.2).

    Args:
        classnames: C names; "_" is read as a space.
        words: the context's words, at least ``n_ctx`` tokens of them; their first ``n_ctx`` tokens become slots. What
            tokens are left over stays in the text as it is.
        n_ctx: number of learned context vectors.
        position: where the name stands relative to the slots: "end", "middle" or "front".
        per_class: class-specific contexts; slots of class c are ``c * n_ctx …``.

    Raises:
        InputError: an unknown position, an empty class name, or a prompt that does not fit into the context.
    """
    if position not in ("end", "middle", "front"):
        raise InputError(f"CLASS_TOKEN_POSITION is {position!r}: it must be end, middle or front")
    rows = []
    for c, name in enumerate(map(clean, classnames)):
        if not name.strip():
            raise InputError(f"class {c} has an empty name: give every class a name")
        tokens, = tokenize([f"{words} {name}."], tokenizer)
        first = c * n_ctx if per_class else 0
        slots = [(tokens[1 + k], first + k) for k in range(n_ctx)]
        rest = [(token, -1) for token in tokens[1 + n_ctx:]]
        before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[position]
        name_end = len(tokenizer.encode(name)) if position != "end" else 0
        rows.append([(tokens[0], -1), *slots[:before], *rest[:name_end], *slots[before:], *rest[name_end:]])
    return rows


@dataclass
class Chunk:
    """Some classes' own tokens, packed: sequences sorted by length, one after the other, padded where so asked."""

    tokens: torch.Tensor  # [T]
    position_ids: torch.Tensor  # [T] position in the sequence
    context_positions: torch.Tensor  # [S, 2]: (index into T, learned context vector)
    groups: list[tuple[int, int]]  # [(sequences, length)], in the order of the packing; sum of sequences * length is T
    ends: torch.Tensor  # [sequences] index into T of each end-of-text token
    lengths: torch.Tensor  # [sequences] tokens up to and with the end-of-text token; less than the group's: padded
    rows: torch.Tensor  # [sequences] the number of each one's row
    # of each group's attention (see ``packed_attention``), where they are made once
    masks: list[tuple[torch.Tensor, torch.Tensor | None]] | None = None
    unshared: "Chunk | None" = None  # the same sequences, with a prefix of its own each (``class_vectors``)
    source: torch.Tensor | None = None  # of such a chunk: [1 + T] where its tokens lie among the prefix's and chunk's


@dataclass
class PackedPrompts:
    """Rows arranged for the encoder (see ``pack``)."""

    prefix: torch.Tensor  # [P] tokens shared by all rows
    prefix_context_positions: torch.Tensor  # [S, 2]: (position, learned context vector)
    chunks: list[Chunk]
    order: torch.Tensor  # [C]: row c is the order[c]-th of the packed sequences
    size: int

    def to(self, device: torch.device | str) -> "PackedPrompts":
        """Move all index tensors to ``device``, once, and return self."""
        unshared = [chunk.unshared for chunk in self.chunks if chunk.unshared is not None]
        for part in (self, *self.chunks, *unshared):
            for name, value in vars(part).items():
                if torch.is_tensor(value):
                    setattr(part, name, value.to(device))
        return self


def _slots(pairs: list[tuple[int, int]]) -> torch.Tensor:
    found = [(i, slot) for i, (_, slot) in enumerate(pairs) if slot >= 0]
    return torch.tensor(found, dtype=torch.long).reshape(-1, 2)


def pack(rows: Rows, chunk_tokens: int | None = None, share: bool = True, groups: int | None = None) -> PackedPrompts:
    """Lay rows out for encoding.

    Args:
        rows: C lists of (token, slot).
        chunk_tokens: at most about this many packed tokens a chunk, in chunks of about the same size; None puts all
            into one.
        share: False keeps nothing but the start-of-text token in the prefix (the tests' plain way).
        groups: pad the sequences to at most so many lengths a chunk; None pads none. Attention is causal, so that
            what stands behind the end-of-text token changes no feature.
    """
    shortest = min(map(len, rows))
    shared = 1
    while share and shared < shortest - 1 and len({row[shared] for row in rows}) == 1:
        shared += 1
    by_length = sorted(range(len(rows)), key=lambda c: len(rows[c]))
    own = sum(len(row) - shared for row in rows)
    share_of = own if chunk_tokens is None else own / math.ceil(own / chunk_tokens)  # chunks alike, none a small rest
    chunks, start = [], 0
    while start < len(rows):
        end, total = start, 0
        while end < len(rows) and total < share_of:
            total += len(rows[by_length[end]]) - shared
            end += 1
        chunks.append(_pack([rows[c][shared:] for c in by_length[start:end]], shared, by_length[start:end], groups))
        start = end
    order = torch.empty(len(rows), dtype=torch.long)
    order[torch.tensor(by_length)] = torch.arange(len(rows))
    prefix = rows[0][:shared]
    return PackedPrompts(torch.tensor([token for token, _ in prefix]), _slots(prefix), chunks, order, len(rows))


def _pack(rows: Rows, first_place: int, numbers: list[int], most_groups: int | None = None) -> Chunk:
    lengths = [len(row) for row in rows]
    padded = lengths if most_groups is None else padded_lengths(lengths, most_groups)
    pairs = [pair for row, n in zip(rows, padded, strict=True) for pair in (*row, *[(row[-1][0], -1)] * (n - len(row)))]
    own, behind = torch.tensor(lengths), torch.tensor(padded)
    return Chunk(tokens=torch.tensor([token for token, _ in pairs]),
                 position_ids=torch.tensor([first_place + i for n in padded for i in range(n)]),
                 context_positions=_slots(pairs),
                 groups=[(padded.count(n), n) for n in sorted(set(padded))],
                 ends=behind.cumsum(0) - behind + own - 1, lengths=own, rows=torch.tensor(numbers))


def padded_lengths(lengths: list[int], most: int) -> list[int]:
    """Return, for sorted lengths, those to pad them to: at most ``most`` different ones, of the least cost in tokens.

    Another group costs each layer some ten kernel launches; PER_GROUP is the number of tokens that take as long.
    """
    kinds = sorted(set(lengths))
    counts = [lengths.count(n) for n in kinds]
    # placed: {so many of the shortest kinds: (cost, ends)} with as many groups as rounds have passed
    placed: dict[int, tuple[int, list[int]]] = {0: (0, [])}
    whole = []
    for _ in range(most):
        earlier, placed = placed, {}
        for end in range(1, len(kinds) + 1):
            ways = [(cost + PER_GROUP + sum(counts[start:end]) * kinds[end - 1], [*ends, kinds[end - 1]])
                    for start, (cost, ends) in earlier.items() if start < end]
            if ways:
                placed[end] = min(ways)
        whole += [placed[len(kinds)]] if len(kinds) in placed else []
    ends = min(whole)[1]
    return [next(end for end in ends if n <= end) for n in lengths]
