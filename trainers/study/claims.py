"""The papers' claims as data, and what the study's runs say of each."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..results.cell import harmonic
from ..results.collect import Run
from ..results.published import VARIANTS
from .plan import ABLATIONS
from .statistics import Difference, Values, difference, verdict

Rows = Mapping[str, Sequence[Run]]  # {name: runs}: of a method in all settings, or of an ablation
MEASURES = {"base": "base-to-new, base", "new": "base-to-new, new", "H": "base-to-new, H",
            "few_shot": "few-shot, mean over shots", "xd": "cross-dataset", "dg": "domain generalization"}


@dataclass(frozen=True)
class Claim:
    """A claim of a paper: ``first`` relation ``second`` in a measure.

    Attributes:
        measure: a key of MEASURES.
        relation: as of ``statistics.verdict``.
        published: the papers' difference in points; None: ``results/published`` is looked up, where it has both.
    """

    paper: str
    measure: str
    first: str
    second: str
    relation: str = ">"
    published: float | None = None

    @property
    def text(self) -> str:
        words = {">": "above", ">=": "not below", "!=": "and"}[self.relation]
        return f"{self.first} {words} {self.second}"


AGREEMENT, AGGREGATION = (ablation.name for ablation in ABLATIONS[:2])
CLAIMS = (
    Claim("CoCoOp", "new", "ZeroshotCLIP", "CoOp"), Claim("CoOp", "base", "CoOp", "ZeroshotCLIP"),
    Claim("CoCoOp", "new", "CoCoOp", "CoOp"), Claim("KgCoOp", "new", "KgCoOp", "CoOp"),
    Claim("ProGrad", "new", "ProGrad", "CoOp"), Claim("ProGrad", "few_shot", "ProGrad", "CoOp"),
    Claim("PromptSRC", "base", "IVLP", "CoOp"), Claim("PromptSRC", "new", "MaPLe", "IVLP"),
    Claim("PromptSRC", "new", "PromptSRC", "IVLP"),
    *(Claim("PromptSRC", "H", "PromptSRC", other)
      for other in ("ZeroshotCLIP", "CoOp", "CoCoOp", "KgCoOp", "ProGrad", "VPT", "IVLP", "MaPLe")),
    Claim("PromptSRC", "new", "PromptSRC", "ZeroshotCLIP", ">="),
    Claim("PromptSRC", "H", AGREEMENT, "IVLP"), Claim("PromptSRC", "H", AGGREGATION, AGREEMENT),
    Claim("PromptSRC", "H", "PromptSRC", AGGREGATION),  # with diverse text, its third part
    Claim("PromptSRC", "xd", "PromptSRC", "CoCoOp", ">="), Claim("PromptSRC", "dg", "PromptSRC", "CoCoOp", ">="),
    Claim("TCP", "H", "TCP", "KgCoOp"), Claim("MMA", "H", "MultiModalAdapter", "MaPLe"),
    Claim("ProMetaR", "H", "ProMetaR", "IVLP"), Claim("DePT", "H", "DePT+CoOp", "CoOp"),
    *(Claim("GRAM", "H", gram, base) for gram, base in (
        ("GRAMCoOp", "CoOp"), ("GRAMCoCoOp", "CoCoOp"), ("GRAMVPT", "VPT"), ("UNIGRAM", "IVLP"))))


def against(first: str, second: str) -> tuple[Claim, ...]:
    """Return the comparisons of two methods in every measure."""
    return tuple(Claim("", measure, first, second, "!=") for measure in MEASURES)


@dataclass(frozen=True)
class Judged:
    """A claim with its difference in the study and the papers', and the verdict."""

    claim: Claim
    found: Difference | None
    published: float | None

    @property
    def verdict(self) -> str:
        return verdict(self.found, self.claim.relation)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {**asdict(self.claim), "claim": self.claim.text, "published": self.published, "verdict": self.verdict,
                "found": None if self.found is None else asdict(self.found)}


def judge(claims: Sequence[Claim], rows: Rows, figures: Mapping[tuple, Mapping[str, Any]]) -> list[Judged]:
    """Return what the runs say of claims.

    Args:
        figures: the papers', as of ``results.compare.published``.
    """
    def found(claim: Claim) -> Difference | None:
        return difference(*(values(rows, name, claim.measure) for name in (claim.first, claim.second)))
    return [Judged(claim, found(claim), looked_up(claim, figures)) for claim in claims]


def looked_up(claim: Claim, figures: Mapping[tuple, Mapping[str, Any]]) -> float | None:
    """Return a claim's published difference: its own, else of averages over the eleven datasets, in base-to-new.

    Where the claim's authors ran the second method themselves, their figure of it counts.
    """
    if claim.published is not None:
        return claim.published

    def average(method: str) -> Mapping[str, Any] | None:
        return figures.get(("base2new", method, "ViT-B/16", 16, "average", claim.measure))
    sides = average(claim.first), average(f"{claim.second} (by {claim.paper}'s authors)") or average(claim.second)
    return sides[0]["mean"] - sides[1]["mean"] if sides[0] and sides[1] else None


def values(rows: Rows, name: str, measure: str) -> Values:
    """Return {(dataset, seed): accuracy} of a row in a measure.

    Few-shot is the mean over the numbers of shots, where all are there; of transfers the source counts for nothing.
    """
    runs = rows.get(name, ())
    if measure in ("xd", "dg"):
        return {(run.dataset, run.seed): run.accuracy for run in runs
                if run.setting == "xd" and (run.data in VARIANTS) == (measure == "dg")}
    if measure == "few_shot":
        return mean_over_shots([run for run in runs if run.setting == "few_shot"])
    base, new = ({(run.dataset, run.seed): run.accuracy for run in runs
                  if run.setting == "base2new" and run.classes == part} for part in ("base", "new"))
    if measure == "H":
        return {key: harmonic(base[key], new[key]) for key in base if key in new}
    return base if measure == "base" else new


def mean_over_shots(runs: Sequence[Run]) -> Values:
    """Return {(dataset, seed): mean accuracy over shots} of few-shot runs, where no number of shots is missing."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for run in runs:
        found.setdefault((run.dataset, run.seed), {})[run.shots] = run.accuracy
    every = {shots for held in found.values() for shots in held}
    return {key: sum(held.values()) / len(held) for key, held in found.items() if set(held) == every}
