"""One number per run: how well it did at the end and throughout, over steps that all compared runs have done."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lop.analysis import statistics
from lop.analysis.rows import note
from lop.analysis.runs import IDENTITY, Runs
from lop.analysis.statistics import Comparison, compare

FINAL_SHARE = 0.1


def scores(frame: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """A row per run: `final`, the mean return of the episodes that ended in the last tenth of the steps, and `overall`, the
    mean over all bins of steps of the frame (the area under the curve).

    Per environment the steps are those of the shortest run, so that like is compared with like; runs shorter than half of
    the longest (young or dead ones) and runs without an episode in the last tenth are left out, and named.
    """
    rows = []
    for env, part in frame.dropna(subset=["return"]).groupby("env", observed=True):
        reach = runs.table.set_index("run")["steps"].loc[part["run"].astype(str).unique()]
        short = reach.index[reach < reach.max() / 2]
        for name in short:
            text = f"{reach[name]:,.0f} steps, less than half of the longest of {env}: not scored"
            note(runs.left_out, f"{runs.root / str(name)}: {text}")
        common = int(reach.drop(short).min())
        scored = part[~part["run"].isin(short)]
        last_bin = scored.groupby("run", observed=True)["step"].max().min()
        for name, run in scored.groupby("run", observed=True):
            final = final_return(runs, str(name), common)
            if np.isnan(final):
                text = f"no episode ended between steps {(1 - FINAL_SHARE) * common:,.0f} and {common:,}: not scored"
                note(runs.left_out, f"{runs.root / str(name)}: {text}")
                continue
            row = {column: run[column].iloc[0] for column in IDENTITY}
            overall = run.loc[run["step"] <= last_bin, "return"].mean()
            rows.append(row | {"steps": common, "final": final, "overall": overall})
    return pd.DataFrame(rows, columns=[*IDENTITY, "steps", "final", "overall"])


def final_return(runs: Runs, name: str, steps: int) -> float:
    """The mean return of the episodes that ended in the last tenth of a run's first `steps`; NaN if none did."""
    episodes = runs.records(name, "episodes")
    if not episodes:
        return np.nan
    ended = episodes["global_step"]
    last = episodes["return"][(ended > (1 - FINAL_SHARE) * steps) & (ended <= steps)]
    return float(last.mean()) if len(last) else np.nan


def summary(table: pd.DataFrame, column: str = "final") -> pd.DataFrame:
    """A row per environment and label: seeds, steps, mean and IQM with their intervals."""
    rows = []
    for (env, label), part in table.groupby(["env", "label"], observed=True):
        values = part[column].to_numpy(float)
        row = {
            "env": env,
            "algo": part["algo"].iloc[0],
            "label": label,
            "seeds": len(values),
            "steps": part["steps"].iloc[0],
        }
        for name, trim in (("mean", 0.0), ("iqm", statistics.IQM_TRIM)):
            low, high = statistics.interval(values[:, None], trim)
            row |= {name: statistics.trimmed_mean(values, trim), f"{name}_low": low[0], f"{name}_high": high[0]}
        rows.append(row)
    return pd.DataFrame(rows)


def comparisons(table: pd.DataFrame, column: str = "final") -> dict[str, list[Comparison]]:
    """All pairs of labels, by environment; the adjustment is over the pairs of one environment."""
    found = {}
    for env, part in table.groupby("env", observed=True):
        groups = {str(label): own[column].to_numpy(float) for label, own in part.groupby("label", observed=True)}
        if len(groups) > 1:
            found[str(env)] = compare(groups)
    return found


def thresholds_of(values: np.ndarray, number: int = 101) -> np.ndarray:
    """Thresholds of a performance profile, from a little below the least score to a little above the largest."""
    span = max(float(np.ptp(values)), 1.0)
    return np.linspace(values.min() - 0.02 * span, values.max() + 0.02 * span, number)
