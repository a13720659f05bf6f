"""One number per run: how well it did at the end and throughout, over steps that all compared runs have done."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lop.analysis import statistics
from lop.analysis.runs import IDENTITY, Runs
from lop.analysis.statistics import Comparison, compare

FINAL_SHARE = 0.1


def scores(frame: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """A row per run: `final`, the mean return over the last tenth of the steps, and `overall`, over all of them.

    Per environment the steps are those of the shortest run, so that like is compared with like; runs shorter than half of
    the longest (young or dead ones) are left out, and named.
    """
    rows = []
    for env, part in frame.dropna(subset=["return"]).groupby("env", observed=True):
        reach = part.groupby("run", observed=True)["step"].max()
        short = reach.index[reach < reach.max() / 2]
        for name in short:
            text = (
                f"{runs.root / str(name)}: {reach[name]:,.0f} steps, less than half of the longest of {env}: not scored"
            )
            if text not in runs.left_out:
                runs.left_out.append(text)
        common = reach.drop(short).min()
        for _, run in part[~part["run"].isin(short)].groupby("run", observed=True):
            use = run[run["step"] <= common]
            final = use.loc[use["step"] > (1 - FINAL_SHARE) * common, "return"]
            row = {name: run[name].iloc[0] for name in IDENTITY}
            rows.append(row | {"steps": int(common), "final": final.mean(), "overall": use["return"].mean()})
    return pd.DataFrame(rows, columns=[*IDENTITY, "steps", "final", "overall"])


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
