"""Numbers over seeds: geometric means with t intervals, and ratios paired by seed.

Losses differ by factors from seed to seed, so means and intervals are taken of their logarithms. Intervals are 95 %, each for
itself; below MIN_SEEDS seeds there is none.

A frame has a row per training: seed, symmetry_layer ("none", "-1", "1", ...), lambda_sym_max, and what `measure` measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lop.lab.symmetry.settings import layer_name

LEVEL = 0.95
MIN_SEEDS = 3
HIDDEN = ("dead", "at_risk", "always_on", "mean_margin", "effective_rank", "srank", "orbit_share")


class Estimate(NamedTuple):
    """A mean over seeds and its interval; NaN where there is none."""

    centre: float
    low: float
    high: float

    def text(self) -> str:
        """ "5.1e-04 [4.2e-04, 6.3e-04]" """
        if np.isnan(self.centre):
            return "–"
        between = f" [{_short(self.low)}, {_short(self.high)}]" if np.isfinite(self.low) else ""
        return _short(self.centre) + between


NONE = Estimate(np.nan, np.nan, np.nan)


def mean(values: np.ndarray) -> Estimate:
    """The mean and its t interval; values [n]. NaN (the orbit share of a constant layer) takes no part."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if not len(values):
        return NONE
    centre, half = float(values.mean()), np.nan
    if len(values) >= MIN_SEEDS:
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(centre, centre - half, centre + half)


def geometric_mean(values: np.ndarray) -> Estimate:
    """The geometric mean and the interval that the t interval of the logarithms gives; values [n] >= 0.

    One value of 0 makes it 0, without an interval.
    """
    values = np.asarray(values, float)
    if (values == 0).any():
        return Estimate(0.0, np.nan, np.nan)
    return Estimate(*(float(np.exp(bound)) for bound in mean(np.log(values))))


def loss_mean(values: np.ndarray | pd.Series) -> Estimate:
    """The geometric mean of losses [n]; none if one is NaN: without those that diverged the rest would look good."""
    return NONE if np.isnan(values).any() else geometric_mean(values)


def ratio(values: pd.Series, base: pd.Series) -> Estimate:
    """The geometric mean of values / base, losses paired by their index (seeds); NaN without a pair."""
    values, base = values.align(base, join="inner")
    return loss_mean((values / base).to_numpy())


def groups(frame: pd.DataFrame) -> list[tuple[str, float, pd.DataFrame]]:
    """(symmetry layer, λ, rows indexed by seed): without first, then hidden layers, then the output, λ rising."""
    parts = [(str(key[0]), float(key[1]), part.set_index("seed")) for key, part in frame.groupby(KEY, sort=False)]
    return sorted(parts, key=lambda part: (layer_order(part[0]), part[1]))


KEY = ["symmetry_layer", "lambda_sym_max"]


def layer_order(name: str) -> float:
    """Sorts symmetry layers: none, 1, 2, ..., the output."""
    return {"none": 0.0, "-1": np.inf}[name] if name in ("none", "-1") else float(name)


def shown_layer(name: str) -> str:
    """A symmetry layer as a table shows it."""
    return layer_name(None if name == "none" else int(name))


def baseline(frame: pd.DataFrame) -> pd.DataFrame:
    """The trainings without a symmetry loss, by seed; empty where there are none."""
    return frame[frame["symmetry_layer"] == "none"].set_index("seed")


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """Per symmetry layer and λ: seeds, test task loss, its ratio to the same seeds without, orbit variance and share.

    The last two are of the layer that the symmetry loss looked at, or of the output.
    """
    base, rows = baseline(frame), []
    for layer, weight, part in groups(frame):
        column = "out" if layer in ("none", "-1") else layer
        found = {
            "test task loss": loss_mean(part["test_task_loss"]),
            "ratio to none": ratio(part["test_task_loss"], base["test_task_loss"]) if weight else NONE,
            "symmetry loss": loss_mean(part[f"orbit_variance_{column}"]),
            "orbit share": mean(part[f"orbit_share_{column}"]),
        }
        known = {"symmetry layer": shown_layer(layer), "λ": weight, "seeds": len(part)}
        rows.append(known | {name: estimate.text() for name, estimate in found.items()})
    return pd.DataFrame(rows)


def best(frame: pd.DataFrame) -> pd.DataFrame:
    """Per symmetry layer the λ with the least validation loss (geometric mean over seeds), and its test losses."""
    chosen: dict[str, tuple[float, float]] = {}
    for layer, weight, part in groups(frame):
        loss = float(np.nan_to_num(loss_mean(part["validation_task_loss"]).centre, nan=np.inf))
        if layer not in chosen or loss < chosen[layer][0]:
            chosen[layer] = loss, weight
    table = losses(frame)
    keep = [(shown_layer(layer), weight) for layer, (_, weight) in chosen.items()]
    return table[[pair in keep for pair in zip(table["symmetry layer"], table["λ"], strict=True)]]


def units(frame: pd.DataFrame) -> pd.DataFrame:
    """Per symmetry layer, λ and hidden layer: the mean over seeds of HIDDEN."""
    hidden = num_hidden(frame)
    rows = []
    for layer, weight, part in groups(frame):
        for k in range(1, hidden + 1):
            known = {"symmetry layer": shown_layer(layer), "λ": weight, "hidden layer": k, "seeds": len(part)}
            rows.append(known | {name.replace("_", " "): float(part[f"{name}_{k}"].mean()) for name in HIDDEN})
    return pd.DataFrame(rows)


def differences(frame: pd.DataFrame) -> pd.DataFrame:
    """Per hidden layer: HIDDEN with the symmetry loss minus without, paired by seed; means with t intervals.

    frame: of one symmetry layer and λ, beside the trainings without.
    """
    base, rest = baseline(frame), frame[frame["symmetry_layer"] != "none"].set_index("seed")
    rows = []
    for k in range(1, num_hidden(frame) + 1):
        changes = {name: mean((rest[f"{name}_{k}"] - base[f"{name}_{k}"]).dropna()) for name in HIDDEN}
        rows.append({"hidden layer": k} | {name.replace("_", " "): change.text() for name, change in changes.items()})
    return pd.DataFrame(rows)


def num_hidden(frame: pd.DataFrame) -> int:
    """How many hidden layers the networks of a frame have."""
    return sum(name.startswith("dead_") for name in frame.columns)


def _short(value: float) -> str:
    return (
        f"{value:.3g}"
        if value == 0 or 0.01 <= abs(value) < 1000
        else f"{value:.2g}"
        if value >= 1000
        else f"{value:.1e}"
    )
