"""Means over seeds with honest intervals: pure numpy and scipy, the same numbers every time.

Agarwal et al. 2021 (2108.13264): interquartile means, stratified bootstrap, performance profiles, probability of
improvement. Seeds are the independent units: a resample takes whole runs, with all their steps or tasks. The draws are
a function of the data (a hash of its bytes), so that a figure drawn twice is the same figure.

Shapes: n seeds, C columns (steps or tasks), B resamples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2000
#: with fewer seeds no interval is given: the bootstrap knows no value that it has not seen
MIN_SEEDS = 3
IQM_TRIM = 0.25
ALPHA = 0.05

Interval = tuple[np.ndarray, np.ndarray]


def iqm(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Interquartile mean: the mean without the floor(n/4) least and the floor(n/4) largest values (n <= 3: the mean)."""
    return trimmed_mean(values, IQM_TRIM, axis)


def trimmed_mean(values: np.ndarray, trim: float, axis: int = 0) -> np.ndarray:
    """The mean without the floor(trim n) least and the floor(trim n) largest of the n values along `axis`."""
    ordered = np.sort(np.moveaxis(np.asarray(values, float), axis, 0), axis=0)
    cut = int(trim * len(ordered))
    return ordered[cut : len(ordered) - cut].mean(axis=0)


def generator_of(*arrays: np.ndarray) -> np.random.Generator:
    """A generator that depends on the shapes and bytes of the arrays alone."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array, dtype="<f8")
        digest.update(repr(array.shape).encode() + array.tobytes())
    return np.random.Generator(np.random.Philox(int.from_bytes(digest.digest()[:16], "little")))


def resample(num: int, generator: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """Which of `num` runs each resample takes, [B, num]."""
    return generator.integers(num, size=(resamples, num))


def interval(values: np.ndarray, trim: float = 0.0, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """Percentile bootstrap of the trimmed mean over seeds (trim 0: mean, 0.25: IQM): low and high, [C] each.

    values [n, C], no NaN; one resample of runs serves all columns. NaN for fewer than MIN_SEEDS seeds.
    """
    values = np.asarray(values, float)
    if len(values) < MIN_SEEDS:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    counts = _counts(resample(len(values), generator_of(values), resamples))
    means = np.stack([_trimmed_of_counts(column, counts, trim) for column in values.T], axis=1)
    return percentiles(means, level)


def percentiles(estimates: np.ndarray, level: float = LEVEL) -> Interval:
    """The central `level` of estimates [B, ...]."""
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _counts(drawn: np.ndarray) -> np.ndarray:
    """How often each resample holds each run, [B, n]."""
    return np.stack([(drawn == i).sum(axis=1) for i in range(drawn.shape[1])], axis=1)


def _trimmed_of_counts(values: np.ndarray, counts: np.ndarray, trim: float) -> np.ndarray:
    """Trimmed means [B] of resamples that hold value i counts[b, i] times; sorts once instead of B times."""
    order = np.argsort(values)
    n = len(values)
    cut = int(trim * n)
    ends = np.minimum(np.cumsum(counts[:, order], axis=1), n - cut)
    inside = np.diff(np.maximum(ends, cut), axis=1, prepend=cut)
    return inside @ values[order] / (n - 2 * cut)


def stratified_interval(
    strata: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], np.ndarray] = lambda x: iqm(x, axis=-1),
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Stratified bootstrap of a statistic over several tasks (Agarwal et al. 2021, section 4.2).

    strata: the scores [n_k] of each task, resampled within the task. statistic: [B, Σ n_k] → [B].
    For tasks that follow each other in one run the runs are not independent: use `interval`.
    """
    strata = [np.asarray(scores, float) for scores in strata]
    if min(len(scores) for scores in strata) < MIN_SEEDS:
        return np.nan, np.nan
    generator = generator_of(*strata)
    drawn = [scores[resample(len(scores), generator, resamples)] for scores in strata]
    low, high = percentiles(statistic(np.concatenate(drawn, axis=1)), level)
    return float(low), float(high)


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Fraction of the runs whose score exceeds each threshold (Agarwal et al. 2021, section 4.3): 1 falling to 0."""
    return (np.asarray(scores)[:, None] > np.asarray(thresholds)).mean(axis=0)


def profile_interval(scores: np.ndarray, thresholds: np.ndarray) -> Interval:
    """Pointwise bootstrap interval of a performance profile, low and high."""
    above = (np.asarray(scores)[:, None] > np.asarray(thresholds)).astype(float)
    return interval(above)


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> float:
    """P(X > Y) + ½ P(X = Y) over all pairs of runs: 1: every x is above every y; ½: no tendency."""
    x, y = np.asarray(x), np.asarray(y)
    return float(((x[:, None] > y) + 0.5 * (x[:, None] == y)).mean())


def improvement_interval(x: np.ndarray, y: np.ndarray, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Bootstrap interval of P(X > Y); both sides are resampled. NaN for fewer than MIN_SEEDS seeds."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if min(len(x), len(y)) < MIN_SEEDS:
        return np.nan, np.nan
    generator = generator_of(x, y)
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    times_x, times_y = (_counts(resample(n, generator, resamples)) for n in wins.shape)
    low, high = percentiles(((times_x @ wins) * times_y).sum(axis=1) / wins.size)
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's (1979) adjusted p-values: together they are wrong with probability <= α if each is rejected at <= α.

    NaN (no test) stays NaN and does not count as a test.
    """
    p = np.asarray(p_values, float)
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


@dataclass(frozen=True)
class Comparison:
    """Two groups of runs. p: Mann-Whitney, two-sided; p_holm: adjusted for all comparisons of the same call."""

    first: str
    second: str
    seeds: tuple[int, int]
    probability: float
    low: float
    high: float
    p: float
    p_holm: float
    verdict: str


def compare(scores: Mapping[str, np.ndarray], alpha: float = ALPHA) -> list[Comparison]:
    """All pairs of groups (scores [n] each), with a verdict that holds for all of them together at level `alpha`.

    "too few seeds" if no outcome whatever could have been significant after the adjustment.
    """
    pairs = list(combinations(scores, 2))
    p_values = [rank_sum_p(scores[a], scores[b]) for a, b in pairs]
    found = []
    for (a, b), p, p_holm in zip(pairs, p_values, holm(p_values), strict=True):
        x, y = np.asarray(scores[a], float), np.asarray(scores[b], float)
        probability = probability_of_improvement(x, y)
        if least_rank_sum_p(len(x), len(y)) * len(pairs) > alpha and p_holm > alpha:
            verdict = "too few seeds"
        elif p_holm <= alpha:
            verdict = f"{a} > {b}" if probability > 0.5 else f"{b} > {a}"
        else:
            verdict = "no difference shown"
        bounds = improvement_interval(x, y)
        found.append(Comparison(a, b, (len(x), len(y)), probability, *bounds, p, float(p_holm), verdict))
    return found


def rank_sum_p(x: np.ndarray, y: np.ndarray) -> float:
    """Two-sided Mann-Whitney p-value, exact for small samples without ties."""
    if np.ptp(np.concatenate([x, y])) == 0:
        return 1.0
    return float(stats.mannwhitneyu(x, y, alternative="two-sided").pvalue)


def least_rank_sum_p(n: int, m: int) -> float:
    """The smallest two-sided p-value that n and m runs can give: every x above every y."""
    return rank_sum_p(np.arange(m, m + n, dtype=float), np.arange(m, dtype=float))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation over the places where both are finite; NaN for fewer than 4, or a constant."""
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 4 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return np.nan
    a, b = stats.rankdata(x[both]), stats.rankdata(y[both])
    return float(np.corrcoef(a, b)[0, 1])


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: P(a positive's score > a negative's) + ½ P(equal); NaN without one of the two.

    1: the score tells them apart, ½: it says nothing, 0: it is wrong every time.
    """
    num, others = int(positive.sum()), int((~positive).sum())
    if not num or not others:
        return np.nan
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - num * (num + 1) / 2) / (num * others))


def roc(scores: np.ndarray, positive: np.ndarray, false_positive_rates: np.ndarray) -> np.ndarray:
    """True-positive rates at the given false-positive rates; ties are crossed in a straight line."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(positive[order])[ends] / max(positive.sum(), 1)
    false = np.cumsum(~positive[order])[ends] / max((~positive).sum(), 1)
    return np.interp(false_positive_rates, np.append(0.0, false), np.append(0.0, hits))
