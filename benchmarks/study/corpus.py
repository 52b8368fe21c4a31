"""The training pictures of the study's CLIP with their captions, tokens and what is true of them."""
import captions
import emoji as emojis
import numpy as np
import torch

from trainers.clip.demo import language

CAPTIONS = 24   # written a picture; one is drawn a step
SHOWN, STATED = 12, 2  # the most phrases that are true of a picture, and that a caption states


class Corpus:
    """The training pictures with their captions.

    Attributes:
        pixels: uint8 [N, 4, 48, 48], RGBA.
        line: bool [N], black drawings.
        tokens: int64 [N, CAPTIONS, L], rows of the vocabulary, 0 behind the end.
        shown, stated: int32 [N, SHOWN], [N, CAPTIONS, STATED], phrase numbers, -1 where there are fewer.
        labels: {head: int64 [N]}, -1 for icons.
        vocabulary: sorted token ids; the last two are CLIP's start and end.
    """

    def __init__(self, made: dict[str, np.ndarray], emoji: dict[str, emojis.Emoji], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.pixels = torch.from_numpy(made["pixels"]).permute(0, 3, 1, 2).contiguous()
        self.line = torch.from_numpy(made["style"] == "line")
        icons = [n for c, n in zip(made["code"], made["name"], strict=True) if not c]
        known = captions.frequent_words(emoji, icons)
        of = [emoji.get(str(code)) for code in made["code"]]
        said = [captions.phrases(e, str(name), known) for e, name in zip(of, made["name"], strict=True)]
        number: dict[str, int] = {}
        self.shown = np.full((len(of), SHOWN), -1, np.int32)
        texts, self.stated = [], np.full((len(of), CAPTIONS, STATED), -1, np.int32)
        for i, ((names, sorts), style) in enumerate(zip(said, made["style"], strict=True)):
            true = dict.fromkeys([*names, *sorts, str(style)])
            self.shown[i, :len(true)] = [number.setdefault(p, len(number)) for p in true]
            for j in range(CAPTIONS):
                text, phrases = captions.caption(names, sorts, str(style), rng)
                texts.append(text)
                self.stated[i, j, :len(phrases)] = [number[p] for p in phrases]
        self.tokens, self.vocabulary = encode(texts)
        self.tokens = self.tokens.view(len(of), CAPTIONS, -1)
        self.shown, self.stated = torch.from_numpy(self.shown), torch.from_numpy(self.stated)
        self.labels = {"emoji": numbered([e and e.code for e in of]),
                       "subgroup": numbered([e and e.subgroup for e in of])}
        self.codes = sorted({e.code for e in of if e})
        self.of_emoji = torch.tensor([e is not None for e in of]).nonzero()[:, 0]
        self.of_icons = torch.tensor([e is None for e in of]).nonzero()[:, 0]


def numbered(names: list[str | None]) -> torch.Tensor:
    """Return the names' numbers, in the order of their first appearance, -1 for None: int64 [N]."""
    number: dict[str | None, int] = {None: -1}
    return torch.tensor([number.setdefault(name, len(number) - 1) for name in names])


def encode(texts: list[str]) -> tuple[torch.Tensor, list[int]]:
    """Return rows of the vocabulary int64 [N, L], start and end included, and the vocabulary's token ids, sorted."""
    ids = [language.encode(text) for text in texts]
    always = [language.encode(text.format("X")) for text in captions.TEMPLATES + captions.PLAIN]
    tokenizer = language.tokenizer()
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    vocabulary = sorted({0, start, end, *(t for row in ids for t in row), *(t for row in always for t in row)})
    row_of = {token: row for row, token in enumerate(vocabulary)}
    rows = np.zeros((len(ids), max(map(len, ids)) + 2), np.int64)
    for i, tokens in enumerate(ids):
        rows[i, :len(tokens) + 2] = [row_of[t] for t in (start, *tokens, end)]
    return torch.from_numpy(rows), vocabulary
