"""When and how runs fail: what the start already says, how a failure happens, and mirror's perpendicular trap."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lop.lab.xor_pair.measures import FAILURES
from lop.lab.xor_pair.tables import by_strategy, rate

#: see `in_trap`
TRAP_FROM, TRAP_SLOPE = np.sqrt(0.5), 1 / 3


def by_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Normal starts by the points that are dead in them: how many there are, in theory too, and how many succeed.

    Data centred and biases 0: x is dead or −x is, unless w₁·x and w₂·x differ in sign, which happens in half of all
    starts, for either class independently of the other (their points are orthogonal).
    """
    part = rows[rows["strategy"] == "normal"]
    positive, negative = part["dead_positive_start"] > 0, part["dead_negative_start"] > 0
    kinds = (
        ("no point dead", ~positive & ~negative, 0.25),
        ("class-0 points dead only", ~positive & negative, 0.25),
        ("no positive-class point dead (both rows above)", ~positive, 0.5),
        ("a positive-class point dead", positive, 0.5),
    )
    found = []
    for kind, where, theory in kinds:
        solved = int(part.loc[where, "solved"].sum())
        found.append(
            {"start": kind, "theory": theory, **rate(int(where.sum()), len(part), "share")}
            | rate(solved, int(where.sum()), "solved")
        )
    return pd.DataFrame(found)


def failures(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a strategy and kind of failure: its share of all runs, points right, when it was sealed, final loss."""
    found = []
    for name, part in by_strategy(rows):
        for kind in FAILURES:
            failed = part[part["failure"] == kind]
            if len(failed):
                epochs = failed["sealed_epoch"]
                found.append(
                    {"strategy": name, "failure": kind, "runs": len(failed), "share": len(failed) / len(part)}
                    | {f"right_{count}": int((failed["points_right"] == count).sum()) for count in range(4)}
                    | {f"sealed_{q:.0%}": epochs.quantile(q) for q in (0.1, 0.5, 0.9)}
                    | {"final_loss": failed["final_loss"].median()}
                )
    columns = ["strategy", "failure", "runs", "share"]
    return pd.DataFrame(found, columns=None if found else columns)


def along_and_across(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """∣u∣ and ∣v∣ of w₁ at the start, [M] each: u along the solution (1, −1)/√2, v along (1, 1)/√2."""
    x, y = rows["wx_1_start"].to_numpy(), rows["wy_1_start"].to_numpy()
    return np.abs(x - y) / np.sqrt(2), np.abs(x + y) / np.sqrt(2)


def in_trap(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Which mirror starts should fail: ∣u∣ < (∣v∣ − 1/√2)/3.

    A unit fires on one class-0 point, output √2v, and one positive point, output √2u, of error 1 − √2u ≈ 1. Its bias
    falls as long as √2v + b > 1. Early steps of Adam are of equal length in w_x, w_y and b whatever the gradient's: u
    then stays, √2v falls by 2 units while b falls by 1. So b ends near −(√2v − 1)/3, and where that is below −√2u
    the positive point is dead before the weights can turn. So is the other, by symmetry.
    """
    return along < (across - TRAP_FROM) * TRAP_SLOPE


def trap(rows: pd.DataFrame) -> pd.DataFrame:
    """Mirror starts, solved and failed: angle of w₁ from the solution's direction, and how many the rule points at."""
    part = rows[rows["strategy"] == "mirror"]
    found = []
    for name, where in (("solved", part["solved"]), ("failed", ~part["solved"])):
        chosen = part[where]
        angle = chosen["solution_angle_start_deg_1"]
        rule = in_trap(*along_and_across(chosen))
        found.append(
            {"runs": name, "number": len(chosen), "angle_deg_mean": angle.mean(), "angle_deg_std": angle.std()}
            | {f"right_{count}": int((chosen["points_right"] == count).sum()) for count in range(5)}
            | {"inside_rule": int(rule.sum())}
        )
    return pd.DataFrame(found)
