"""Figures over all strategies: who succeeds and how fast, when runs succeed and fail, where points end up."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lop.analysis.colours import COLOURS
from lop.analysis.style import Drawing, Sheet, headline
from lop.lab.xor_pair.hyperplanes import CLASSES
from lop.lab.xor_pair.measures import BOTH_DIED, DEAD_FROM_START, ONE_DIED, STUCK, distances, parameters_of
from lop.lab.xor_pair.tables import by_strategy

BLUE, RED, AMBER, PURPLE, GREEN = (COLOURS[name] for name in ("cbp", "std", "ns", "l2", "redo"))
KIND_COLOURS = {DEAD_FROM_START: RED, ONE_DIED: AMBER, BOTH_DIED: PURPLE, STUCK: GREEN}
SHOWN = ("normal", "reinit", "monitor", "mirror")


def strategies_figure(success: pd.DataFrame, speed: pd.DataFrame) -> Drawing:
    """Failures with intervals, ours above the published ones, and the epochs of solved runs."""
    sheet = Sheet("strategies", "Failures and speed of every strategy", panels=2, panel_height=4.6)
    left, right = sheet.panels
    place = -np.arange(len(success), dtype=float)
    for prefix, lift, colour, marker in (("solved", 0.15, BLUE, "o"), ("published", -0.2, AMBER, "D")):
        _intervals(left, success, prefix, place + lift, colour, marker)
    for edge in ("recomputed_from", "recomputed_to"):
        left.plot(100 - 100 * success[edge], place + 0.15, "|", color=PURPLE, markersize=10, markeredgewidth=1.5)
    left.set_xscale("symlog", linthresh=0.1, linscale=0.5)
    left.set_xticks([0, 0.1, 1, 10, 50], ["0", "0.1", "1", "10", "50"])
    left.set_xlim(-0.01, 80)
    left.minorticks_off()
    headline(left, "failed")
    left.set_xlabel("% of runs")
    left.set_yticks(place, success["strategy"])
    right.hlines(place, speed["epochs_10%"], speed["epochs_90%"], color=BLUE, linewidth=1)
    right.hlines(place, speed["epochs_25%"], speed["epochs_75%"], color=BLUE, linewidth=4, alpha=0.5)
    right.plot(speed["epochs_50%"], place, "o", color=BLUE, markersize=4)
    headline(right, "epochs of the solved runs")
    right.set_xlabel("epochs")
    right.set_xlim(left=0)
    right.set_yticks(place, [])
    for axes in sheet.panels:
        axes.set_ylim(place.min() - 0.6, 0.6)
    runs = int(success["solved_of"].iloc[0])
    caption = (
        "Left: runs with a point wrong, linear below 0.1 %, logarithmic above; bars are 95 % Wilson intervals. Strokes: the"
        " rates of the earlier recomputation, 4,000 runs (monitor: 1,000, both ends of a range). bounded was published"
        " with N(0, 1) weights. Right: median, quartiles and 10 to 90 % of the epochs after which solved runs stopped."
        f" {runs:,} runs a strategy, all from the same draws."
    )
    return sheet.finish({"ours": BLUE, "published": AMBER, "recomputed": PURPLE}, caption, counted="")


def _intervals(axes: Axes, frame: pd.DataFrame, prefix: str, place: np.ndarray, colour: str, marker: str) -> None:
    known = frame[f"{prefix}_rate"].notna().to_numpy()
    low, high = 100 - 100 * frame[f"{prefix}_high"][known], 100 - 100 * frame[f"{prefix}_low"][known]
    axes.hlines(place[known], low, high, color=colour, linewidth=1.3)
    axes.plot(100 - 100 * frame[f"{prefix}_rate"][known], place[known], marker, color=colour, markersize=3.5)


def timeline_figure(rows: pd.DataFrame) -> Drawing:
    """The share of runs solved and stopped, and sealed as failures, by epoch."""
    sheet = Sheet("timelines", "When runs succeed and when failures are sealed", panels=len(SHOWN))
    parts = dict(by_strategy(rows))
    end = max(parts[name].loc[parts[name]["solved"], "epochs"].quantile(0.99) for name in SHOWN)
    grid = np.unique(np.round(np.geomspace(1, max(2, np.nan_to_num(end, nan=2)), 200)))
    for axes, name in zip(sheet.panels, SHOWN, strict=True):
        part = parts[name]
        solved = part.loc[part["solved"], "epochs"]
        axes.plot(grid, _share_by(solved, grid, len(part)), color=BLUE)
        for kind in (DEAD_FROM_START, ONE_DIED, BOTH_DIED):
            sealed = part.loc[part["failure"] == kind, "sealed_epoch"]
            if len(sealed):
                axes.plot(grid, _share_by(sealed, grid, len(part)), color=KIND_COLOURS[kind])
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=1, linscale=0.7)
        axes.set_ylim(0, 130)
        axes.set_yticks([0, 0.5, 1, 10, 100], ["0", "0.5", "1", "10", "100"])
        axes.minorticks_off()
        axes.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
        axes.set_ylabel("% of runs")
        axes.set_xlabel("epoch")
        headline(axes, f"{name}: {int((~part['solved']).sum()):,} of {len(part):,} runs fail")
    last_epoch = pd.concat([parts[name] for name in SHOWN])["sealed_epoch"].max()
    last = "" if np.isnan(last_epoch) else f" The last of these failures is sealed at epoch {last_epoch:.0f}."
    labels = {"solved": BLUE}
    labels |= {kind: KIND_COLOURS[kind] for kind in (DEAD_FROM_START, ONE_DIED, BOTH_DIED)}
    caption = (
        f"Shares of {len(parts[SHOWN[0]]):,} runs a strategy that have ended solved, or have failed for good; linear below"
        " 1 %, logarithmic above. A failure is sealed at the epoch since which a positive-class point has been dead up to"
        f" the end: no gradient asks for it any more.{last}"
    )
    return sheet.finish(labels, caption, counted="")


def _share_by(epochs: pd.Series, grid: np.ndarray, runs: int) -> np.ndarray:
    return 100 * np.searchsorted(np.sort(epochs.to_numpy()), grid, side="right") / runs


def distance_figure(rows: pd.DataFrame) -> Drawing:
    """Signed distances of the points from the hyperplanes, start and end, solved runs."""
    sheet = Sheet("distances", "Where the points lie from the hyperplanes", panels=len(SHOWN))
    bins = np.linspace(-2.5, 1.5, 81)
    parts = dict(by_strategy(rows))
    for axes, name in zip(sheet.panels, SHOWN, strict=True):
        part = parts[name][parts[name]["solved"]]
        for when, style in (("start", {"histtype": "step"}), ("end", {"alpha": 0.55})):
            values = distances(parameters_of(part, when))
            for (_, points), colour in zip(CLASSES.items(), (RED, BLUE), strict=True):
                own = values[:, points].flatten().numpy()
                weights = np.full(len(own), 100 / max(len(own), 1))
                axes.hist(np.clip(own, bins[0], bins[-1]), bins, weights=weights, color=colour, **style)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, 100)
        axes.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        axes.minorticks_off()
        axes.set_xlabel("signed distance from the hyperplane")
        axes.set_ylabel("% of distances")
        headline(axes, f"{name}, {len(part):,} solved runs")
    caption = (
        "(w·x + b)/‖w‖ of both units and of the two points of a class, in input units; outlines: at the start, filled: at"
        " the end, solved runs only; linear below 1 %, logarithmic above. Each hyperplane ends beyond both class-0 points or on"
        " them; one positive point fires its unit, the other lies far on the dark side and is left to the other unit."
    )
    return sheet.finish({"class 0": RED, "class 1": BLUE}, caption, counted="")


def dot(axes: Axes) -> None:
    """The four points of XOR: filled for class 1, hollow for class 0."""
    axes.plot([1, -1], [-1, 1], "o", color=PURPLE, markersize=6, zorder=5)
    axes.plot([-1, 1], [-1, 1], "o", markerfacecolor="none", markeredgecolor=PURPLE, markeredgewidth=1.5, zorder=5)
