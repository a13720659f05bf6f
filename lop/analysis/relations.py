"""How deaths go with the return, and margin with rank and return: per run first, then over seeds.

Points along one run are not independent, so that no p-value is taken from them. Each run gives one number, the numbers of
several seeds are tested against 0 (Wilcoxon, exact), and Holm's adjustment covers every test of a table. Changes from bin to
bin are correlated beside the levels: two quantities that merely both drift have correlated levels, but not changes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from lop.analysis import statistics
from lop.analysis.runs import IDENTITY

PAIRS = (("margin", "return"), ("srank", "return"), ("margin", "srank"), ("dead", "return"), ("dead", "srank"))
#: a bin belongs to a plateau if the return changes by less than this share of its range over SPAN bins around it
PLATEAU_SHARE = 0.05
SPAN = 5
PHASES = ("rising", "plateau", "falling")


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Spearman correlations within runs, a row per environment, label, pair, and levels or changes.

    Columns: mean over seeds (rho, low, high), seeds, p (of rho = 0 over seeds), p_holm (over all rows), verdict.
    """
    rows = []
    for (env, label), part in frame.groupby(["env", "label"], observed=True):
        for x, y in PAIRS:
            if x not in part or y not in part:
                continue
            for kind in ("levels", "changes"):
                values = [_rho(run, x, y, kind) for _, run in part.groupby("run", observed=True)]
                known = np.array([value for value in values if np.isfinite(value)])
                if len(known):
                    rows.append({"env": env, "label": label, "pair": f"{x} – {y}", "of": kind, **_over_seeds(known)})
    return with_verdicts(pd.DataFrame(rows), "rho")


def _rho(run: pd.DataFrame, x: str, y: str, kind: str) -> float:
    a, b = run[x].to_numpy(float), run[y].to_numpy(float)
    return statistics.spearman(a, b) if kind == "levels" else statistics.spearman(np.diff(a), np.diff(b))


def _over_seeds(values: np.ndarray) -> dict[str, float]:
    """Mean [n] with its bootstrap interval, and the p-value of Wilcoxon's signed-rank test against 0."""
    low, high = statistics.interval(values[:, None])
    p = float(stats.wilcoxon(values).pvalue) if np.any(values != 0) else 1.0
    if least_signed_rank_p(len(values)) > statistics.ALPHA:
        p = np.nan  # no outcome of so few seeds could count: no test
    return {"rho": values.mean(), "low": low[0], "high": high[0], "seeds": len(values), "p": p}


def least_signed_rank_p(seeds: int) -> float:
    """The smallest two-sided p-value that Wilcoxon's test can give: all values on one side, 2 / 2^n."""
    return 2.0 ** (1 - seeds)


def with_verdicts(table: pd.DataFrame, effect: str, alpha: float = statistics.ALPHA) -> pd.DataFrame:
    """The table with p_holm over all its rows, and a verdict; "too few seeds": no outcome could have been significant."""
    if table.empty:
        return table
    table = table.assign(p_holm=statistics.holm(table["p"].to_numpy(float)))
    tests = int(table["p"].notna().sum())
    possible = least_signed_rank_p(table["seeds"]) * tests <= alpha
    sign = np.where(table[effect] > 0, "positive", "negative")
    shown = table["p_holm"] <= alpha
    return table.assign(
        verdict=np.where(shown, sign, np.where(possible & table["p"].notna(), "not shown", "too few seeds"))
    )


def phases(returns: np.ndarray) -> np.ndarray:
    """Each bin's phase, [C]: 0 rising, 1 plateau, 2 falling, -1 unknown, by the return's change over SPAN bins around it.

    A plateau changes by less than 5 % of the range of the run's smoothed return (mean over SPAN bins).
    """
    found = np.full(len(returns), -1)
    half = SPAN // 2
    if len(returns) < 2 * SPAN:
        return found
    smooth = pd.Series(returns).rolling(SPAN, center=True).mean().to_numpy()
    change = np.full(len(returns), np.nan)
    change[half:-half] = smooth[2 * half :] - smooth[: -2 * half]
    limit = PLATEAU_SHARE * np.nanmax([np.nanmax(smooth) - np.nanmin(smooth), 1e-12])
    found[np.abs(change) < limit] = 1
    found[change >= limit] = 0
    found[change <= -limit] = 2
    return found


def deaths_by_phase(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per run: deaths per 1000 units and 100k steps while the return rises, stays, and falls; NaN: no such bin."""
    rows = []
    if "deaths" not in frame or "return" not in frame:
        return pd.DataFrame(columns=[*IDENTITY, *PHASES])
    for _, run in frame.groupby("run", observed=True):
        phase, deaths = phases(run["return"].to_numpy(float)), run["deaths"].to_numpy(float)
        row = {name: run[name].iloc[0] for name in IDENTITY}
        for number, name in enumerate(PHASES):
            known = deaths[(phase == number) & np.isfinite(deaths)]
            row[name] = known.mean() if len(known) else np.nan
        rows.append(row)
    return pd.DataFrame(rows, columns=[*IDENTITY, *PHASES])


def phase_summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per environment and label: mean rates, and the difference plateau − rising over the seeds that have both."""
    rows = []
    for (env, label), part in table.groupby(["env", "label"], observed=True):
        both = (part["plateau"] - part["rising"]).dropna().to_numpy(float)
        if not len(both):
            continue
        tested = _over_seeds(both)
        tested["difference"] = tested.pop("rho")
        order = {key: tested[key] for key in ("difference", "low", "high", "seeds", "p")}
        rows.append({"env": env, "label": label, **{name: part[name].mean() for name in PHASES}, **order})
    return with_verdicts(pd.DataFrame(rows), "difference")
