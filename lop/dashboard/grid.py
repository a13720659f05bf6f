"""Runs on common steps: the bins of several ladders joined to one width."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np

from lop.dashboard.ladder import STEP, Ladder
from lop.dashboard.metrics import Value


def common_width(ladders: Sequence[Ladder], points: int) -> int:
    """Steps of a common bin: at least every ladder's own, and so wide that the longest has at most `points`."""
    width = max(ladder.width for ladder in ladders)
    last = max(ladder.width * ladder.num_bins for ladder in ladders)
    while last > width * points:
        width *= 2
    return width


def joined(ladder: Ladder, key: str, width: int) -> np.ndarray:
    """Mean of a key by common bins [n]; NaN where a bin has none. Exact where `width` is a multiple of the ladder's."""
    sums, counts = ladder.totals(key)
    if not len(sums):
        return np.zeros(0)
    firsts, places = _places(len(sums), ladder.width, width)
    total, count = np.zeros((2, places[-1] + 1))
    total[places], count[places] = np.add.reduceat(sums, firsts), np.add.reduceat(counts, firsts)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


@lru_cache(maxsize=256)
def _places(num_bins: int, narrow: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each common bin begins among the narrow ones, and its number."""
    # where the widths are no multiples (another number of steps per update), a bin goes where its middle is
    bins = (np.arange(num_bins) * narrow + narrow // 2) // width
    firsts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
    return firsts, bins[firsts]


def aligned(ladders: Sequence[Ladder], values: Sequence[Value], points: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps [T] and values [S, T] of several runs; bins where no run has a value are left out.

    values: one for each ladder. A run's holes between its first and its last value (ranks are not in every update, nor
    is an episode's end) are bridged straight; before and after: NaN.
    """
    if not any(ladder.num_bins for ladder in ladders):
        return np.zeros(0), np.zeros((len(ladders), 0))
    width = common_width(ladders, points)
    steps = stacked([joined(ladder, STEP, width) for ladder in ladders])
    found = stacked(
        [value(partial(joined, ladder, width=width)) for ladder, value in zip(ladders, values, strict=True)]
    )
    kept = np.isfinite(found).any(0)
    steps, found = steps[:, kept], found[:, kept]
    present = np.isfinite(steps)
    steps = np.where(present, steps, 0).sum(0) / present.sum(0)
    return steps, np.array([bridged(steps, row) for row in found]).reshape(found.shape)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of different lengths as one array, NaN beyond their ends."""
    made = np.full((len(rows), max((len(row) for row in rows), default=0)), np.nan)
    for i, row in enumerate(rows):
        made[i, : len(row)] = row
    return made


def bridged(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y with its inner holes filled by straight lines over x; NaN before the first value and after the last."""
    present = np.isfinite(y)
    if present.all() or not present.any():
        return y
    return np.interp(x, x[present], y[present], left=np.nan, right=np.nan)
