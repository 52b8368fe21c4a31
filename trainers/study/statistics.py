"""Paired differences over datasets and seeds: their interval, a verdict, and what more seeds could tell apart."""
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

Values = Mapping[tuple[str, int], float]  # {(dataset, seed): accuracy in percent}

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
MARGIN = 1.0  # points by which "at least" may be missed
FEWEST = 3  # datasets, from which on they are what an interval is over
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """The paired difference of two rows, in points.

    Attributes:
        mean: over datasets of their means over seeds.
        low, high: its 95% interval, by Student's t: over the datasets' means where there are three or more, else over
            the seeds' means, so that it tells of these datasets alone; None where there is one of either.
        over: "datasets" or "seeds", what the interval is over.
        between: deviation of the datasets' true means, within: of one seed within a dataset; both estimated.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    datasets: int
    over: str
    between: float
    within: float


def difference(first: Values, second: Values) -> Difference | None:
    """Return first - second over the (dataset, seed) pairs that both have; None without any."""
    shared = sorted(set(first) & set(second))
    if not shared:
        return None
    groups: dict[str, dict[int, float]] = {}
    for dataset, seed in shared:
        groups.setdefault(dataset, {})[seed] = first[dataset, seed] - second[dataset, seed]
    means = [statistics.fmean(values.values()) for values in groups.values()]
    over, sample = "datasets", means
    if len(groups) < FEWEST:
        seeds = set.intersection(*(set(values) for values in groups.values()))
        over, sample = "seeds", [statistics.fmean(values[seed] for values in groups.values()) for seed in sorted(seeds)]
    mean, half = statistics.fmean(means), half_width(sample)
    between, within = components(groups)
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Difference(mean, low, high, len(shared), len(groups), over, between, within)


def half_width(sample: list[float]) -> float | None:
    """Return half the width of the 95% interval of a mean; None for fewer than two values."""
    if len(sample) < 2:
        return None
    return quantile(0.975, len(sample) - 1) * statistics.stdev(sample) / len(sample) ** 0.5


def quantile(share: float, degrees: int) -> float:
    """Return a quantile of Student's t."""
    from scipy.stats import t
    return float(t.ppf(share, degrees))


def components(groups: Mapping[str, Mapping[int, float]]) -> tuple[float, float]:
    """Return the deviations (between datasets, within one over seeds) of {dataset: {seed: difference}}.

    One-way analysis of variance: the variance of the datasets' means is between² + within² / seeds.
    """
    several = [list(values.values()) for values in groups.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    within = sum(statistics.variance(values) * (len(values) - 1) for values in several) / freedom if freedom else 0.0
    if len(groups) < 2:
        return 0.0, within ** 0.5
    means = statistics.variance([statistics.fmean(values.values()) for values in groups.values()])
    each = statistics.harmonic_mean([len(values) for values in groups.values()])
    return max(0.0, means - within / each) ** 0.5, within ** 0.5


def smallest(found: Difference, seeds: int, datasets: int | None = None) -> tuple[float, float]:
    """Return what a study of so many seeds can tell apart, in points.

    Returns:
        (half the width of the 95% interval to expect: a smaller observed difference is undecided; the true difference
        that is told apart in four of five studies).
    """
    count = max(2, datasets or found.datasets)
    error = ((found.between ** 2 + found.within ** 2 / seeds) / count) ** 0.5
    certain = quantile(0.975, count - 1)
    return certain * error, (certain + quantile(POWER, count - 1)) * error


def verdict(found: Difference | None, relation: str) -> str:
    """Return what a difference says of a claim.

    Args:
        relation: ">" (first above second), ">=" (not more than MARGIN below it) or "!=" (told apart).
    """
    if found is None:
        return NOT_RUN
    if found.low is None or found.high is None:
        return UNDECIDED
    if relation == "!=":
        return HOLDS if found.low > 0 or found.high < 0 else UNDECIDED
    if found.high < 0:
        return FAILS
    return HOLDS if found.low > (-MARGIN if relation == ">=" else 0) else UNDECIDED
