"""Success and speed of every strategy, beside what was published. Rates are fractions of 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lop.lab.study import wilson
from lop.lab.xor_pair.measures import is_mirror, parameters_of
from lop.lab.xor_pair.published import PUBLISHED, Count, p_recomputed, p_value
from lop.lab.xor_pair.strategies import strategy
from lop.lab.xor_pair.training import REASONS

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def by_strategy(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each strategy, in the order in which they were run."""
    return ((str(name), part) for name, part in rows.groupby("strategy", sort=False))


def success(rows: pd.DataFrame) -> pd.DataFrame:
    """Solved runs with Wilson's 95 % interval; the published count with its own, the recomputed rates, both p values."""
    return pd.DataFrame([_success(name, part) for name, part in by_strategy(rows)])


def _success(name: str, part: pd.DataFrame) -> dict[str, object]:
    ours: Count = (int(part["solved"].sum()), len(part))
    row: dict[str, object] = {"strategy": name, **rate(*ours, "solved")}
    known = PUBLISHED.get(name)
    if known is not None:
        row |= {**rate(*known.solved, "published"), "p_published": p_value(ours, known.solved)}
        if known.recomputed is not None:
            low, high, runs = known.recomputed
            row |= {"recomputed_from": low / runs, "recomputed_to": high / runs}
            row |= {"p_recomputed": p_recomputed(ours, known.recomputed)}
    return row | {"meaning": strategy(name).meaning, "note": known.note if known else ""}


def rate(count: int, runs: int, name: str) -> dict[str, float]:
    """A count, its runs, its rate and Wilson's interval, as columns that begin with `name`."""
    low, high = wilson(count, runs) if runs else (np.nan, np.nan)
    share = count / runs if runs else np.nan
    return {name: count, f"{name}_of": runs, f"{name}_rate": share, f"{name}_low": low, f"{name}_high": high}


def speed(rows: pd.DataFrame) -> pd.DataFrame:
    """How runs ended, epochs of the solved ones, draws and mendings a run, final losses (medians)."""
    found = []
    for name, part in by_strategy(rows):
        solved = part[part["solved"]]
        row = {"strategy": name, "draws": part["draws"].mean()}
        row |= {reason: (part["reason"] == reason).mean() for reason in REASONS}
        row |= {f"epochs_{q:.0%}": solved["epochs"].quantile(q) for q in QUANTILES}
        row |= {"epochs_max": solved["epochs"].max(), "loss_solved": solved["final_loss"].median()}
        row |= {"loss_failed": part.loc[~part["solved"], "final_loss"].median()}
        found.append(row | {"nudges": part["nudges"].mean(), "resets": part["resets"].mean()})
    return pd.DataFrame(found)


def symmetry(rows: pd.DataFrame) -> pd.DataFrame:
    """Solved runs that end as mirror pairs, and how far solved runs are from one; how far their weights went.

    perfect: cos(w₁, w₂) within 0.001 of −1, the share of all runs. norm_ratio: ‖w start‖/‖w end‖.
    """
    found = []
    for name, part in by_strategy(rows):
        solved = part[part["solved"]]
        mirrors = int(is_mirror(parameters_of(solved, "end")).sum())
        known = PUBLISHED.get(name)
        published = known.mirror if known else None
        deviation = solved["mirror_deviation_deg"]
        row = {"strategy": name, **rate(mirrors, len(part), "mirror")}
        row |= {"published": "{}/{}".format(*published) if published else ""}
        row |= {"p_published": p_value((mirrors, len(part)), published) if published else np.nan}
        row |= {"perfect_rate": (np.cos(np.deg2rad(deviation)) > 1 - 1e-3).sum() / len(part)}
        row |= _mean_std("deviation_deg", deviation) | _mean_std("bias_sum", solved["bias_sum"])
        row |= _mean_std("turn_deg", _both(solved, "turn_deg"))
        row |= {f"norm_ratio_{q:.0%}": _both(solved, "norm_ratio").quantile(q) for q in QUANTILES[::2]}
        found.append(row)
    return pd.DataFrame(found)


def _both(rows: pd.DataFrame, name: str) -> pd.Series:
    return pd.concat([rows[f"{name}_1"], rows[f"{name}_2"]])


def _mean_std(name: str, values: pd.Series) -> dict[str, float]:
    return {f"{name}_mean": values.mean(), f"{name}_std": values.std()}
