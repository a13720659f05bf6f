"""What is drawn and correlated, computed from the metrics of `curves`: one column each, per run and bin."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lop.analysis.runs import Runs


@dataclass(frozen=True)
class Quantity:
    """column of the frame; label of its axis, unit included; whether a few values may lie far beyond all others."""

    column: str
    label: str
    outliers: bool = False


RETURN = Quantity("return", "return per episode")
DORMANT = Quantity("dormant", "units active ≤ 1 % of 1000 steps (%)")
SRANK = Quantity("srank", "srank of the last hidden layer (% of units)")
WEIGHTS = Quantity("weights", "mean |w| of the last hidden layer")
DEAD = Quantity("dead", "dead units (% of hidden units)")
AT_RISK = Quantity("at_risk", "units at risk (% of hidden units)")
MARGIN = Quantity("margin", "mean margin (pre-activation)")
DEATHS = Quantity("deaths", "deaths per 1000 units and 100k steps")
DEATHS_SO_FAR = Quantity("deaths_so_far", "deaths so far, per unit")
REVIVALS_SO_FAR = Quantity("revivals_so_far", "revivals so far, per unit")
PUBLISHED = (RETURN, DORMANT, SRANK, WEIGHTS)

#: the metrics that these need
KEYS = (
    "pol_features_activity/*",
    "srank/*",
    "pol_weights/*",
    "margin/dead_counts/*",
    "margin/at_risk_counts/*",
    "margin/mean_margins/*",
    "margin/mean_scale_free_margins/*",
    "margin/deaths/*",
    "margin/revivals/*",
)


def derive(frame: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """The frame of `curves(runs, *KEYS)` with the columns above added where their metrics exist.

    Actor, hidden layers. dormant: mean over layers, as the published figures; srank and weights: the last hidden layer.
    """
    table = runs.table.set_index("run")
    pieces = [_derive(part, table.at[name, "layers"]) for name, part in _parts(frame)]
    for piece in pieces:
        piece["task_steps"] = table.at[piece["run"].iloc[0], "task_steps"]
    return pd.concat(pieces, ignore_index=True) if pieces else frame


def _parts(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), part) for name, part in frame.groupby("run", observed=True, sort=False)]


def _derive(part: pd.DataFrame, layers: tuple[int, ...]) -> pd.DataFrame:
    part, units, last = part.copy(), sum(layers), len(layers) - 1

    def of_layers(key: str) -> np.ndarray | None:
        names = [f"{key}/layer_{i}" for i in range(len(layers))]
        return part[names].to_numpy(float) if set(names) <= set(part.columns) else None

    activity, margins = of_layers("pol_features_activity"), of_layers("margin/mean_margins")
    if activity is not None:
        part["dormant"] = activity.mean(axis=1)
    if margins is not None:
        part["margin"] = margins @ np.array(layers) / units
    for column, key in (("dead", "margin/dead_counts"), ("at_risk", "margin/at_risk_counts")):
        if (counts := of_layers(key)) is not None:
            part[column] = 100 * counts.sum(axis=1) / units
    if (ranks := part.get(f"srank/layer_{last}")) is not None:
        part["srank"] = 100 * ranks / layers[last]
    if (weights := part.get(f"pol_weights/layer_{last}")) is not None:
        part["weights"] = weights
    if (deaths := of_layers("margin/deaths")) is not None:
        total = deaths.sum(axis=1) / units
        part["deaths"] = 1000 * total * 100_000 / part["width"]
        part["deaths_so_far"] = np.nancumsum(total)
    if (revivals := of_layers("margin/revivals")) is not None:
        part["revivals_so_far"] = np.nancumsum(revivals.sum(axis=1) / units)
    return part


def layer_numbers(frame: pd.DataFrame, key: str) -> list[int]:
    """The layers for which the frame has `key`, ascending."""
    found = (re.fullmatch(re.escape(key) + r"/layer_(\d+)", column) for column in frame.columns)
    return sorted(int(match[1]) for match in found if match)
