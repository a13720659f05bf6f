"""Figures over environment steps, and the performance profile: what the publications show, and what explains it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lop.analysis import quantities as q
from lop.analysis import statistics, style
from lop.analysis.colours import colour_of
from lop.analysis.curves import Group, groups
from lop.analysis.scores import FINAL_SHARE, thresholds_of
from lop.run.progress import short

BAND = (
    f"Band: {100 * statistics.LEVEL:.0f} % percentile bootstrap over seeds ({statistics.RESAMPLES:,} resamples of whole "
    f"runs), cut where a seed is missing and absent below {statistics.MIN_SEEDS} seeds; faint lines: fewer seeds."
)


def step_figures(frame: pd.DataFrame) -> Iterator[style.Drawing]:
    """For each environment of the derived frame: the published quantities, deaths, margins."""
    for env, part in frame.groupby("env", observed=True):
        yield from _drawn(
            curve_figure(part, f"{env}_published", f"{env}: return, dormant units, rank and weights", q.PUBLISHED),
            curve_figure(
                part,
                f"{env}_deaths",
                f"{env}: accumulation of dead units",
                (q.DEAD, q.AT_RISK, q.DEATHS_SO_FAR, q.REVIVALS_SO_FAR),
            ),
            curve_figure(part, f"{env}_margins", f"{env}: erosion of the margins", _margins(part)),
            layer_figure(part, f"{env}_layers", f"{env}: profile over the layers"),
        )


def curve_figure(
    frame: pd.DataFrame, name: str, title: str, wanted: tuple[q.Quantity, ...], axis: str = "step"
) -> style.Drawing | None:
    """A panel per quantity: IQM with its band, and the mean; None if there is nothing to show.

    axis: the column along x: "step", or "task". Where the frame has task_steps, lines mark the changes of task.
    """
    panels = [(quantity, found) for quantity in wanted if (found := list(groups(frame, quantity.column, axis)))]
    if not panels:
        return None
    sheet = style.Sheet(name, title, len(panels))
    for axes, (quantity, found) in zip(sheet.panels, panels, strict=True):
        draw_groups(axes, found)
        cut = quantity.outliers and style.cut_outliers(axes, np.concatenate([group.centre() for group in found]))
        style.headline(axes, quantity.label + " (outliers cut)" * cut)
        if axis == "step":
            style.steps_axis(axes)
            _mark_tasks(axes, frame)
        else:
            axes.set_xlabel(axis)
            axes.xaxis.get_major_locator().set_params(integer=True)
    width = f"; bins of {short(frame['width'].max())} steps, no other smoothing" if "width" in frame else ""
    caption = f"Line: interquartile mean over seeds; dotted: mean{width}. {BAND}"
    return sheet.finish(style.legend_of(frame), caption)


def _mark_tasks(axes: Axes, frame: pd.DataFrame) -> None:
    """Lines where SlipperyAnt changes its friction, if all runs do it at the same steps and not too often."""
    every = frame["task_steps"].unique() if "task_steps" in frame else [0]
    if len(every) == 1 and 0 < frame["step"].max() / max(every[0], 1) <= 50:
        for step in np.arange(every[0], frame["step"].max(), every[0]):
            axes.axvline(step, color=style.FAINT, linewidth=0.6, linestyle=(0, (1, 3)), zorder=0)


def draw_groups(axes: Axes, found: list[Group]) -> None:
    """Every group's IQM, band and mean."""
    algos = [group.algo for group in found]
    dashes = style.dashes_of([group.label for group in found], algos)
    for group in found:
        colour = colour_of(group.algo, algos)
        style.draw_band(axes, group.steps, *group.band(), colour)
        style.draw_line(axes, group.steps, group.centre(), group.whole, colour, dashes[group.label])
        if group.seeds > 3:  # of three values the IQM is the mean
            mean = np.where(group.whole, group.centre(0.0), np.nan)
            axes.plot(group.steps, mean, color=colour, linewidth=0.8, linestyle=":")


def layer_figure(frame: pd.DataFrame, name: str, title: str) -> style.Drawing | None:
    """Each layer at the end of the runs: dead, at risk, mean margin, srank."""
    wanted = {
        "margin/dead_counts": "dead units",
        "margin/at_risk_counts": "units at risk",
        "margin/mean_margins": "mean margin (pre-activation)",
        "srank": "srank",
    }
    panels = {key: text for key, text in wanted.items() if q.layer_numbers(frame, key)}
    if not panels:
        return None
    last = _last_tenth(frame)
    sheet = style.Sheet(name, title, len(panels))
    algos = sorted(set(frame["algo"].astype(str)))
    for axes, (key, text) in zip(sheet.panels, panels.items(), strict=True):
        layers = q.layer_numbers(frame, key)
        parts = style.by_label(last)
        for place, (_, part) in enumerate(parts):
            colour = colour_of(str(part["algo"].iloc[0]), algos)
            _layer_points(
                axes, part, [f"{key}/layer_{i}" for i in layers], 0.09 * (place - (len(parts) - 1) / 2), colour
            )
        axes.set_xticks(range(len(layers)), [f"layer {i}" for i in layers])
        axes.set_xlim(-0.5, len(layers) - 0.5)
        style.headline(axes, text)
    caption = f"Actor. Small dots: runs, mean of the last {100 * FINAL_SHARE:.0f} % of their steps; large: interquartile mean; "
    return sheet.finish(
        style.legend_of(frame), caption + f"bar: its {100 * statistics.LEVEL:.0f} % bootstrap interval (from 3 seeds)."
    )


def profile_figure(table: pd.DataFrame, env: str) -> style.Drawing | None:
    """The performance profile of the final returns of one environment."""
    part = table[table["env"] == env].dropna(subset=["final"])
    if part.empty:
        return None
    sheet = style.Sheet(f"{env}_profile", f"{env}: performance profile", 1, panel_height=2.8)
    axes, algos = sheet.panels[0], sorted(set(part["algo"].astype(str)))
    thresholds = thresholds_of(part["final"].to_numpy(float))
    labels = [(label, str(own["algo"].iloc[0])) for label, own in style.by_label(part)]
    dashes = style.dashes_of([label for label, _ in labels], [algo for _, algo in labels])
    for label, algo in labels:
        values, colour = part.loc[part["label"] == label, "final"].to_numpy(float), colour_of(algo, algos)
        profile = statistics.performance_profile(values, thresholds)
        axes.step(thresholds, profile, where="post", color=colour, linestyle=dashes[label])
        style.draw_band(axes, thresholds, *statistics.profile_interval(values, thresholds), colour)
    axes.set(xlabel="final return τ", ylabel="fraction of runs with a final return > τ", ylim=(-0.02, 1.02))
    steps = short(part["steps"].max())
    share = f"{100 * FINAL_SHARE:.0f} %"
    caption = f"Final return: mean over the last {share} of {steps} steps, which all of these runs have done. {BAND}"
    return sheet.finish(
        style.legend_of(part), caption.replace(", cut where a seed is missing and", ",").split("; faint")[0] + "."
    )


def _margins(frame: pd.DataFrame) -> tuple[q.Quantity, ...]:
    layers = q.layer_numbers(frame, "margin/mean_margins")
    plain = [q.Quantity(f"margin/mean_margins/layer_{i}", f"mean margin, layer {i}") for i in layers]
    key = "margin/mean_scale_free_margins"
    # a unit whose weights have all but vanished has an enormous margin / ‖w‖
    free = [q.Quantity(f"{key}/layer_{i}", f"mean margin / ‖w‖, layer {i}", outliers=True) for i in layers]
    return tuple(plain + free)


def _last_tenth(frame: pd.DataFrame) -> pd.DataFrame:
    reach = frame.groupby("run", observed=True)["step"].transform("max")
    return frame[frame["step"] > (1 - FINAL_SHARE) * reach]


def _layer_points(axes: Axes, part: pd.DataFrame, columns: list[str], shift: float, colour: str) -> None:
    values = part.groupby("run", observed=True)[columns].mean().to_numpy(float)  # [n, layers]
    for i, column in enumerate(values.T):
        known = column[np.isfinite(column)]
        if not len(known):
            continue
        axes.plot(np.full(len(known), i + shift), known, ".", color=colour, markersize=3, alpha=0.5)
        centre = statistics.iqm(known)
        low, high = statistics.interval(known[:, None], statistics.IQM_TRIM)
        if np.isfinite(low[0]):
            axes.plot([i + shift] * 2, [low[0], high[0]], color=colour, linewidth=1.2)
        axes.plot(i + shift, centre, "o", color=colour, markersize=5)


def _drawn(*drawings: style.Drawing | None) -> Iterator[style.Drawing]:
    yield from (drawing for drawing in drawings if drawing is not None)
