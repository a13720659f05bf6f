"""Figures of the unit studies: ROC of the predictors, lead times, onsets of death; and deaths by phase of the return."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lop.analysis import statistics, style
from lop.analysis.colours import colour_of
from lop.analysis.predictors import FALSE_POSITIVE_RATES, HORIZON, PREDICTORS, THIRDS, UnitStudy
from lop.analysis.relations import PHASES

INTERVAL = f"{100 * statistics.LEVEL:.0f} % bootstrap interval over seeds (from {statistics.MIN_SEEDS} seeds)"


def unit_figures(table: pd.DataFrame, studies: dict[str, UnitStudy]) -> Iterator[style.Drawing]:
    """For each environment of `study_table`: how well deaths are foretold, and when units die."""
    for env, part in table.groupby("env", observed=True):
        algos = sorted(set(part["algo"].astype(str)))
        if part["deaths"].sum():
            yield _roc_figure(str(env), part, studies, algos)
            yield _time_figure(str(env), part, studies, algos)


def _roc_figure(env: str, part: pd.DataFrame, studies: dict[str, UnitStudy], algos: list[str]) -> style.Drawing:
    sheet = style.Sheet(f"{env}_roc", f"{env}: margins as predictors of death", len(PREDICTORS), panel_height=2.5)
    for axes, predictor in zip(sheet.panels, PREDICTORS, strict=True):
        axes.plot(FALSE_POSITIVE_RATES, FALSE_POSITIVE_RATES, color=style.FAINT, linewidth=0.8, linestyle=":")
        for label, own in style.by_label(part):
            rates = [studies[name].rates[predictor] for name in own["run"] if predictor in studies[name].rates]
            if not rates:
                continue
            colour, area = colour_of(str(own["algo"].iloc[0]), algos), own[f"auc {predictor}"].mean()
            axes.plot(FALSE_POSITIVE_RATES, np.mean(rates, axis=0), color=colour, label=f"{label}: AUC {area:.3f}")
            style.draw_band(axes, FALSE_POSITIVE_RATES, *statistics.interval(np.array(rates)), colour)
        style.headline(axes, predictor)
        axes.set(xscale="log", xlabel="false-positive rate", ylabel="true-positive rate", ylim=(-0.02, 1.02))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=7, handlelength=1)
    caption = (
        f"Low values of a living unit as a predictor of its death within {HORIZON} updates; curves and AUC: means over "
    )
    return sheet.finish(style.legend_of(part), caption + f"seeds, band: {INTERVAL}.")


def _time_figure(env: str, part: pd.DataFrame, studies: dict[str, UnitStudy], algos: list[str]) -> style.Drawing:
    sheet = style.Sheet(f"{env}_death_times", f"{env}: warning before death, and onset of death", 2, panel_height=2.5)
    for _, own in style.by_label(part):
        leads = np.concatenate([studies[name].leads for name in own["run"]])
        if len(leads):
            colour = colour_of(str(own["algo"].iloc[0]), algos)
            lengths = np.arange(0, max(int(leads.max()), 1) + 2)
            share = [(leads >= length).mean() for length in lengths]
            sheet.panels[0].step(lengths, share, where="pre", color=colour)
    style.headline(sheet.panels[0], "lasting deaths with at least so long a warning")
    sheet.panels[0].set(xlabel="updates at risk before death", ylabel="share of deaths", ylim=(-0.02, 1.02))
    sheet.panels[0].xaxis.get_major_locator().set_params(integer=True)
    shares = part.assign(**{name: 100 * part[name] / part["units"] for name in THIRDS})
    _dots(sheet.panels[1], shares, THIRDS, algos)
    style.headline(sheet.panels[1], "lasting deaths by third of the run (% of hidden units)")
    caption = (
        f"A death is lasting if the unit stays dead for {HORIZON} updates on end. Left: warning is the unbroken time with "
        f"0 < margin < ε just before; deaths of all seeds pooled. Right: dots are runs, large: mean, bar: {INTERVAL}."
    )
    return sheet.finish(style.legend_of(part), caption)


def phase_figure(table: pd.DataFrame, env: str) -> style.Drawing | None:
    """Death rates while the return rises, stays and falls; None without any."""
    part = table[table["env"] == env].dropna(subset=list(PHASES), how="all")
    if part.empty:
        return None
    sheet = style.Sheet(f"{env}_phases", f"{env}: death rate by phase of the return", 1, panel_height=2.5)
    _dots(sheet.panels[0], part, PHASES, sorted(set(part["algo"].astype(str))))
    style.headline(sheet.panels[0], "deaths per 1000 units and 100k steps")
    sheet.panels[0].set_xlabel("phase of the return")
    caption = (
        "Dots: runs; large: mean; bar: "
        + INTERVAL
        + ". Plateau: the return, smoothed over 5 bins, changes by less than "
    )
    return sheet.finish(style.legend_of(part), caption + "5 % of its range in the run over the 5 bins around.")


def _dots(axes: Axes, table: pd.DataFrame, columns: tuple[str, ...], algos: list[str]) -> None:
    """Runs as dots beside each column's name, their mean and its interval, a colour per algorithm."""
    labels = table["label"].nunique()
    for place, (_, own) in enumerate(style.by_label(table)):
        colour, shift = colour_of(str(own["algo"].iloc[0]), algos), 0.12 * (place - (labels - 1) / 2)
        for i, column in enumerate(columns):
            known = own[column].dropna().to_numpy(float)
            if not len(known):
                continue
            low, high = statistics.interval(known[:, None])
            axes.plot(np.full(len(known), i + shift), known, ".", color=colour, markersize=3, alpha=0.5)
            axes.plot([i + shift] * 2, [low[0], high[0]], color=colour, linewidth=1.2)
            axes.plot(i + shift, known.mean(), "o", color=colour, markersize=5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_xlim(-0.5, len(columns) - 0.5)
