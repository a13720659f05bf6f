"""Centre and bootstrap band over seeds, for every step at once.

The resamples are the same for the same number of seeds, so a band does not tremble when a page refreshes, and a step
whose values did not change keeps its band (`Bands`): a refresh costs what is new.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable

import numpy as np

RESAMPLES, LEVEL = 400, 0.95
STATISTICS = {"mean": "mean", "iqm": "interquartile mean"}
MAX_KEPT = 4000


def centre(values: np.ndarray, statistic: str) -> np.ndarray:
    """Mean, or IQM, over seeds of values [S, T] with NaN where a seed is missing; returns [T], NaN where all are.

    IQM: the mean of what is left after floor(S/4) of the smallest and as many of the largest are dropped.
    """
    ordered = np.sort(values, axis=0)  # NaN last
    present = np.isfinite(values).sum(0)
    cut = present // 4 if statistic == "iqm" else np.zeros_like(present)
    rank = np.arange(len(values))[:, None]
    inside = (rank >= cut) & (rank < present - cut)
    total = np.where(inside, ordered, 0.0).sum(0)
    return np.divide(total, present - 2 * cut, out=np.full(len(total), np.nan), where=present > 0)


def band(values: np.ndarray, statistic: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end [T] of the 95 % percentile bootstrap interval of the centre of values [S, T], all present.

    A seed stands for a whole run, so each resample draws seeds and keeps them for all steps.
    """
    counts, cut = _resamples(len(values)), len(values) // 4
    if statistic == "iqm" and cut:
        order = np.argsort(values, axis=0)
        drawn = counts[:, order]  # [B, S, T]: how often each seed was drawn, smallest value first
        upto = np.minimum(np.maximum(np.cumsum(drawn, axis=1), cut), len(values) - cut)
        kept = np.diff(upto, axis=1, prepend=cut)
        ordered = np.take_along_axis(values, order, 0)
        centres = np.einsum("bst,st->bt", kept.astype(float), ordered) / (len(values) - 2 * cut)
    else:
        centres = counts @ values / len(values)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(centres, [tail, 1 - tail], axis=0)
    return low, high


@functools.cache
def _resamples(num_seeds: int) -> np.ndarray:
    """How often each seed is in each resample [B, S]."""
    generator = np.random.Generator(np.random.Philox(num_seeds))
    return generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=RESAMPLES)


class Bands:
    """Bands that were computed before, by curve."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def __call__(self, key: Hashable, values: np.ndarray, statistic: str) -> tuple[np.ndarray, np.ndarray]:
        """`band` of values [S, T] where no seed is missing, NaN elsewhere and for a single seed; both [T]."""
        low, high = np.full((2, values.shape[1]), np.nan)
        if len(values) < 2:
            return low, high
        whole = np.isfinite(values).all(0)
        before = self._kept.get((key, statistic))
        if before is not None and len(before[0]) == len(values):
            shared = min(values.shape[1], before[0].shape[1])
            same = (before[0][:, :shared] == values[:, :shared]).all(0)
            low[:shared][same], high[:shared][same] = before[1][:shared][same], before[2][:shared][same]
            whole[:shared] &= ~same
        if whole.any():
            low[whole], high[whole] = band(values[:, whole], statistic)
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[key, statistic] = values, low, high
        return low, high
