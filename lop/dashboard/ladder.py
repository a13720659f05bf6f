"""A run's curves in bounded memory: means over bins of steps, whose width doubles whenever there are too many.

    ladder = Ladder(base_steps=2048)
    ladder.add(rows)                        # dictionaries with global_step
    ladder.mean("return")                   # [bins], NaN where no row of the bin had the key

Bin i covers the steps (i * width, (i + 1) * width], width = base_steps * 2^k. What a bin holds depends on its rows alone,
not on how they came (rounding aside): at once or one by one, in order or not, in wide bins or in narrow ones joined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

MAX_BINS = 1024
MAX_STEP = 10**13  # beyond: a damaged row, not a step
STEP = "global_step"
_NOT_NUMBERS = {"format", "event", "closing"}


class Ladder:
    """Sums and counts of every key by bin. Values that are not finite numbers count as missing."""

    def __init__(self, base_steps: int, max_bins: int = MAX_BINS) -> None:
        self.width, self.max_bins = max(1, int(base_steps)), max_bins
        self._column: dict[str, int] = {}
        self._sums = np.zeros((max_bins, 0))
        self._counts = np.zeros((max_bins, 0), np.uint32)
        self.num_bins = 0

    @property
    def keys(self) -> list[str]:
        """Every key that a row had."""
        return list(self._column)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows; one without a sensible global_step is passed over."""
        kept = [row for row in rows if _is_step(row.get(STEP))]
        if not kept:
            return
        steps = np.array([row[STEP] for row in kept], np.int64)
        values = self._table(kept)
        self._widen(int(steps.max()))
        bins = (steps - 1) // self.width
        if (np.diff(bins) < 0).any():
            order = np.argsort(bins, kind="stable")
            bins, values = bins[order], values[order]
        present = np.isfinite(values)
        values[~present] = 0.0
        firsts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
        self._sums[bins[firsts]] += np.add.reduceat(values, firsts, axis=0)
        self._counts[bins[firsts]] += np.add.reduceat(present, firsts, axis=0, dtype=np.uint32)
        self.num_bins = max(self.num_bins, int(bins[-1]) + 1)

    def mean(self, key: str) -> np.ndarray:
        """Mean of a key by bin [bins]; NaN where it was never seen."""
        sums, counts = self.totals(key)
        return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)

    def totals(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Sums and counts of a key by bin [bins]."""
        if key not in self._column:
            return np.zeros(self.num_bins), np.zeros(self.num_bins, np.uint32)
        column = self._column[key]
        return self._sums[: self.num_bins, column], self._counts[: self.num_bins, column]

    def _table(self, rows: list[Mapping[str, Any]]) -> np.ndarray:
        """Values [n, columns], NaN where a row has no number; new keys get columns. Rows have few sets of keys."""
        alike: dict[tuple[str, ...], list[int]] = {}
        for i, row in enumerate(rows):
            alike.setdefault(tuple(row), []).append(i)
        self._add_columns(dict.fromkeys(key for keys in alike for key in keys))
        table = np.full((len(rows), len(self._column)), np.nan)
        for keys, places in alike.items():
            wanted = [i for i, key in enumerate(keys) if key in self._column]
            columns = [self._column[keys[i]] for i in wanted]
            table[np.ix_(places, columns)] = _numbers([rows[i] for i in places])[:, wanted]
        return table

    def _add_columns(self, keys: Iterable[str]) -> None:
        new = [key for key in keys if key not in self._column and key not in _NOT_NUMBERS]
        self._column |= {key: len(self._column) + i for i, key in enumerate(new)}
        self._sums = np.pad(self._sums, ((0, 0), (0, len(new)))) if new else self._sums
        self._counts = np.pad(self._counts, ((0, 0), (0, len(new)))) if new else self._counts

    def _widen(self, last_step: int) -> None:
        """Doubles the width until the step has a bin."""
        while (last_step - 1) // self.width >= self.max_bins:
            self._sums, self._counts = _join_pairs(self._sums), _join_pairs(self._counts)
            self.num_bins, self.width = -(-self.num_bins // 2), self.width * 2


def _join_pairs(array: np.ndarray) -> np.ndarray:
    half = len(array) // 2
    return np.concatenate([array.reshape(half, 2, -1).sum(1, dtype=array.dtype), np.zeros_like(array[half:])])


def _numbers(rows: list[Mapping[str, Any]]) -> np.ndarray:
    """Values [n, keys] of rows with the same keys in the same order, NaN for what is no number."""
    table = [list(row.values()) for row in rows]
    try:
        return np.array(table, float).reshape(len(rows), -1)
    except (TypeError, ValueError, OverflowError):  # something else than numbers and their texts: value by value
        return np.array([[as_number(value) for value in row] for row in table])


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and 0 < value <= MAX_STEP


def as_number(value: Any) -> float:
    """The number that a row holds, NaN for what is none; "Infinity" and "NaN" are texts in the file."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
