"""Runs on one grid of steps, and what a group of seeds does on it.

A bin holds the mean of what happened in [i w, (i + 1) w) env steps (deaths and revivals: their number); only bins that a run
has passed count. Binning is all the smoothing there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lop.analysis import statistics
from lop.analysis.rows import note
from lop.analysis.runs import IDENTITY, Runs

MAX_BINS = 400
#: ranks are computed once in so many steps
RANK_STEPS = 10_000
MIN_BINS = 20
SUMMED = ("margin/deaths", "margin/revivals")


def nice_width(longest: int, steps_per_update: int = 2048) -> int:
    """A bin width of 1, 2, 2.5 or 5 times a power of ten: at most 400 bins, a rank in each if the run is long enough."""
    enough = longest >= MIN_BINS * RANK_STEPS
    least = max(longest / MAX_BINS, RANK_STEPS) if enough else max(longest / MIN_BINS, 2 * steps_per_update)
    power = 10 ** int(np.floor(np.log10(max(least, 1))))
    return int(next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= least))


def binned(steps: np.ndarray, values: np.ndarray, width: int, num_bins: int, total: bool = False) -> np.ndarray:
    """Means (or sums) of values [n] by bin of their steps [n]: [num_bins], NaN where there are none."""
    place = np.asarray(steps) // width
    use = (place < num_bins) & np.isfinite(values)
    counts = np.bincount(place[use], minlength=num_bins)
    sums = np.bincount(place[use], weights=np.asarray(values, float)[use], minlength=num_bins)
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, sums if total else sums / counts, np.nan)


def curves(runs: Runs, *keys: str, width: int | None = None) -> pd.DataFrame:
    """A row per run and passed bin: `step` (its end), `width`, `return` (mean of the episodes that ended in it), the metrics.

    keys: metrics, all by default; a key with * stands for every layer's. width: of a bin; by default `nice_width` of the
    longest run of the environment.
    """
    frames = []
    for env, table in runs.table.groupby("env"):
        own = runs.where(env=env)
        size = width or nice_width(int(table["steps"].max()), int(table["steps_per_update"].max()))
        known = own.keys()
        wanted = _expand(keys, known) if keys else [key for key in known if key != "return"]
        frames += [_curve(own, row, wanted, size) for row in table.itertuples()]
    filled = [frame for frame in frames if len(frame)]
    return (
        pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=[*IDENTITY, "step", "width", "return"])
    )


def _expand(keys: tuple[str, ...], known: list[str]) -> list[str]:
    found = [k for key in keys for k in known if k == key or (key.endswith("*") and k.startswith(key[:-1]))]
    return [key for key in dict.fromkeys(found) if key != "return"]


def _curve(runs: Runs, run: tuple, keys: list[str], width: int) -> pd.DataFrame:
    # the last update of a run may end up to one update before the steps that were asked for
    num_bins = (run.steps + run.steps_per_update - 1) // width if run.steps else 0
    if not num_bins:
        if run.steps:
            note(runs.left_out, f"{runs.root / run.run}: {run.steps:,} steps are less than one bin of {width:,}")
        return pd.DataFrame()
    metrics = runs.where(run=run.run).metrics(*(keys or ["return"]))
    episodes = runs.records(run.run, "episodes")
    columns = {name: [getattr(run, name)] * num_bins for name in IDENTITY}
    columns |= {"step": (np.arange(num_bins) + 1) * width, "width": [width] * num_bins}
    if episodes:
        columns["return"] = binned(episodes["global_step"], episodes["return"], width, num_bins)
    steps = metrics["global_step"].to_numpy()
    for key in keys:
        columns[key] = binned(steps, metrics[key].to_numpy(), width, num_bins, key.startswith(SUMMED))
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Group:
    """The runs of one label on one grid. steps [C]; values [n, C], NaN where a run has not been, or has no value."""

    env: str
    algo: str
    label: str
    steps: np.ndarray
    values: np.ndarray

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def count(self) -> np.ndarray:
        """Seeds with a value, [C]."""
        return np.isfinite(self.values).sum(axis=0)

    @property
    def whole(self) -> np.ndarray:
        """Where every seed has a value, [C]."""
        return self.count == self.seeds

    def centre(self, trim: float = statistics.IQM_TRIM) -> np.ndarray:
        """The trimmed mean of the seeds that have a value, [C]; NaN where none has."""
        centre = np.full(len(self.steps), np.nan)
        for c in np.flatnonzero(self.count):
            column = self.values[:, c]
            centre[c] = statistics.trimmed_mean(column[np.isfinite(column)], trim)
        return centre

    def band(self, trim: float = statistics.IQM_TRIM) -> statistics.Interval:
        """The interval of `centre`, low and high [C]; NaN where a seed is missing, or with fewer than 3 seeds."""
        low, high = np.full((2, len(self.steps)), np.nan)
        if self.whole.any():
            low[self.whole], high[self.whole] = statistics.interval(self.values[:, self.whole], trim)
        return low, high


def groups(frame: pd.DataFrame, column: str, x: str = "step") -> Iterator[Group]:
    """The groups of one column of `curves` (or of any frame with IDENTITY and an x column), by environment and label.

    A group without any value is passed over.
    """
    if column not in frame:
        return
    for (env, label), part in frame.groupby(["env", "label"], observed=True):
        table = part.pivot_table(index="run", columns=x, values=column, dropna=False, observed=True)
        if len(table) and np.isfinite(table.to_numpy(float)).any():
            algo = str(part["algo"].iloc[0])
            yield Group(str(env), algo, str(label), table.columns.to_numpy(float), table.to_numpy(float))
