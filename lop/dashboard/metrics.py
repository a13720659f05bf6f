"""What the pages draw: a curve from a run's keys, with its title and unit from the monitor's glossary."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

import lop

ALL_LAYERS = "mean"
Bins = Callable[[str], np.ndarray]  # of a key
Value = Callable[[Bins], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A key of metrics.jsonl.

    layered: it stands there once per layer; of_units: drawn as % of the layer's units; output: it has one more layer,
    the output's.
    """

    key: str
    title: str
    unit: str
    layered: bool = True
    of_units: bool = False
    output: bool = False

    @property
    def formula(self) -> str:
        """What it is, from the glossary; "" for what the trainer counts itself."""
        try:
            return _glossary().row_of(self.key).formula
        except KeyError:
            return ""


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("return", "Return", "return of an episode", layered=False),
        Metric("margin/dead_counts", "Dead units", "% of units", of_units=True),
        Metric("margin/at_risk_counts", "At-risk units", "% of units", of_units=True),
        Metric("margin/mean_margins", "Mean margin", "pre-activation"),
        Metric("pol_features_activity", "Dormant units (active ≤ 1 %)", "% of units"),
        Metric("srank", "Rank (srank)", "% of units", of_units=True),
        Metric("stable_rank", "Stable rank", "rank"),
        Metric("effective_rank", "Effective rank", "rank"),
        Metric("pol_weights", "Weight magnitude", "mean |w|", output=True),
        Metric("margin/always_on_counts", "Always-on units", "% of units", of_units=True),
        Metric("margin/mean_scale_free_margins", "Mean scale-free margin", "input"),
        Metric("frozen_parameter_fraction", "Frozen parameters", "fraction", layered=False),
        Metric("weight_change", "Weight change", "Σ |w − w before|", layered=False),
        Metric("explained_variance", "Explained variance", "fraction", layered=False),
        Metric("episode_length", "Episode length", "steps", layered=False),
    )
}
OVERVIEW = ("return", "margin/dead_counts", "margin/mean_margins", "srank")
PUBLISHED = ("return", "pol_features_activity", "srank", "pol_weights")


def curve(metric: Metric, layers: list[int], layer: str, network: str = "") -> Value:
    """A function from `bins of a key` to the bins of this metric.

    layers: units per hidden layer; layer: "mean" over them (and the output, where it has a value), or a number, also of
    a layer that there is not; network: "" or "critic/".
    """
    if not metric.layered:
        return lambda bins: bins(network * (metric.key in _PER_NETWORK) + metric.key)
    chosen = range(len(layers) + metric.output) if layer == ALL_LAYERS else [int(layer)]

    def values(bins: Bins) -> np.ndarray:
        rows = [bins(key_of(metric, i, network)) * scale(metric, layers, i) for i in chosen]
        return np.mean(rows, axis=0) if rows else bins("")

    return values


def scale(metric: Metric, layers: list[int], layer: int) -> float:
    """What makes a count of units a percentage."""
    units = layers[layer] if layer < len(layers) else 0
    return 100.0 / units if metric.of_units and units else 1.0


def key_of(metric: Metric, layer: int, network: str = "") -> str:
    """The key of one layer. The critic's weights have a key of their own."""
    if network and metric.key == "pol_weights":
        return f"val_weights/layer_{layer}"
    return f"{network}{metric.key}/layer_{layer}"


@cache
def _glossary() -> ModuleType:
    """lop.monitor.glossary, from its file: importing the package brings torch, two seconds that a page has no use for."""
    path = Path(lop.__file__).parent / "monitor" / "glossary.py"
    spec = importlib.util.spec_from_file_location("lop.monitor.glossary", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_PER_NETWORK = {"frozen_parameter_fraction", "weight_change"}
