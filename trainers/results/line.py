"""What makes a row of its own, the rows' labels and their order."""
from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .identity import weights_words
from .published import ZERO_SHOT

if TYPE_CHECKING:
    from .collect import Run

ORDER = ("ZeroshotCLIP", "ZeroshotCLIP2", "CoOp", "CoCoOp", "KgCoOp", "ProGrad", "VPT", "IVLP", "MaPLe", "PromptSRC",
         "TCP", "MultiModalAdapter", "ProMetaR")
EPOCHS_BY_SHOTS = "epochs by shots"


@dataclass(frozen=True, order=True)
class Line:
    """What makes a row of its own: a method with its config, variant, shots, backbone, weights, what it is tested on.

    With ``by_shots`` the row holds CoOp's and ProGrad's configs of several epochs, and ``config`` bears none.

    Attributes:
        weights: hash of the backbone's weights, "" where no run recorded it.
        split: "validation" for figures of the validation set, "" for those of the test set.
    """

    method: str
    config: str = ""
    variant: str = ""
    shots: int = 0
    backbone: str = ""
    by_shots: bool = False
    weights: str = ""
    split: str = ""

    @property
    def several(self) -> bool:
        """Whether the backbone's name tells its weights, for the runs have several of the name."""
        return self.backbone.endswith(weights_words(self.weights))

    @property
    def backbone_words(self) -> str:
        """The backbone with its weights' hash, as captions name it."""
        return f"{self.backbone_name or 'not recorded'} ({weights_words(self.weights).strip()})"

    @property
    def backbone_name(self) -> str:
        """The backbone without its weights' hash, "" where it is not recorded."""
        return self.backbone.removesuffix(weights_words(self.weights))


def line_of(run: Run) -> Line:
    return Line(run.method, run.config, run.variant, run.shots, run.backbone, weights=run.weights, split=run.split)


def labels(lines: Collection[Line]) -> dict[Line, str]:
    """Return {line: label}: the method, and in brackets what tells it from others of the same method.

    Backbone and shots are named wherever they differ within the table: rows stand there to be compared.
    """
    several = len({line.backbone for line in lines}) > 1, len(learned_shots(lines)) > 1
    found = {}
    for line in lines:
        same = [other for other in lines if other.method == line.method]
        more = [line.config] if len({(o.config, o.by_shots) for o in same}) > 1 else []
        namesake = any(other.config == line.config and not other.by_shots for other in same)
        more += [EPOCHS_BY_SHOTS] if line.by_shots and namesake else []
        more += [line.variant] if len({other.variant for other in same}) > 1 else []
        backbone = [line.backbone] if several[0] else []
        learned = line.shots in learned_shots([line])
        shots = [shots_words(line.shots)] if several[1] and learned or len({o.shots for o in same}) > 1 else []
        words = list(filter(None, more + backbone + shots + [line.split]))
        found[line] = line.method + (f" ({', '.join(words)})" if words else "")
    return found


def row_name(line: Line, lines: Iterable[Line]) -> str:
    """Return what a note calls a row: the method and its config, and what tells it from others of both."""
    same = [other for other in lines if (other.method, other.config) == (line.method, line.config)]
    words = [line.config, *(str(word) for key, word in (("variant", line.variant), ("backbone", line.backbone),
                                                        ("shots", shots_words(line.shots)))
                            if len({getattr(other, key) for other in same}) > 1), line.split]
    words = list(filter(None, words))
    return line.method + (f" ({', '.join(words)})" if words else "")


def learned_shots(lines: Iterable[Line]) -> set[int]:
    """Return the set of the numbers of shots that methods have learned from; zero-shot CLIP learns from none."""
    return {line.shots for line in lines if line.shots > 0 and line.method not in ZERO_SHOT}


def ordered_lines(lines: Iterable[Line]) -> list[Line]:
    """Return lines in the papers' order of methods; unknown methods come last."""
    def place(line: Line) -> tuple[int, Line]:
        return ORDER.index(line.method) if line.method in ORDER else len(ORDER), line
    return sorted(set(lines), key=place)


def shots_words(shots: int) -> str:
    return {0: "zero-shot", 1: "1 shot"}.get(shots, f"{shots} shots")


def epochless(config: str) -> str:
    """Return a config's name without the epochs that the number of shots decides (rn50_ep100 → rn50)."""
    name, _, epochs = config.rpartition("_ep")
    return name if name and epochs.isdigit() else config


def epochs_by_shots(config: str, dataset: str, shots: int) -> str:
    """Return the config of CoOp and ProGrad for a dataset and shots, as the scripts' function of this name does."""
    if dataset == "imagenet" or shots == 1:
        return f"{config}_ep50"
    return f"{config}_ep100" if shots in (2, 4) else config
