"""What the study must show, on 4000 runs of each published strategy with seed 0."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from lop.lab.xor_pair import failures, hyperplanes, tables
from lop.lab.xor_pair.measures import BOTH_DIED
from lop.lab.xor_pair.published import PUBLISHED, p_recomputed, p_value

PUBLISHED_FAILED, PUBLISHED_SOLVED = (87.64, 1.66, 16), (45.15, 25.63, 984)


def of(rows: pd.DataFrame, strategy: str) -> pd.DataFrame:
    return rows[rows["strategy"] == strategy]


@pytest.mark.parametrize("strategy", PUBLISHED)
def test_success_agrees_with_the_published_and_the_recomputed_rates(rows, strategy):
    row = tables.success(of(rows, strategy)).iloc[0]
    assert row["p_published"] > 0.001
    if PUBLISHED[strategy].recomputed is not None:
        assert row["p_recomputed"] > 0.001


@pytest.mark.parametrize("strategy", [name for name, known in PUBLISHED.items() if known.mirror])
def test_mirror_shares_agree_with_the_published_ones(rows, strategy):
    assert tables.symmetry(of(rows, strategy)).iloc[0]["p_published"] > 0.001


def test_what_the_start_says_agrees_with_theory_and_decides(rows):
    none, negative, alive, positive = failures.by_start(rows).itertuples()
    for row in (none, negative, alive, positive):
        assert abs(row.share_rate - row.theory) < 0.03  # 4 standard errors of 1/2 in 4000: 0.032
    # 93 % and 0.4 % of definitions.md, of 2000 runs each; its "none dead" means none of the positive class
    assert p_value((alive.solved, alive.solved_of), (1860, 2000)) > 0.001
    assert p_value((positive.solved, positive.solved_of), (8, 2000)) > 0.001
    # a normal start without any dead point is a reinit start: the two rates are one
    reinit = of(rows, "reinit")["solved"]
    assert p_value((none.solved, none.solved_of), (int(reinit.sum()), len(reinit))) > 0.001


def test_mirror_fails_at_half_accuracy_and_across_the_solution(rows):
    part = of(rows, "mirror")
    failed = part[~part["solved"]]
    assert set(failed["points_right"]) == {2} and set(failed["failure"]) == {BOTH_DIED}
    for chosen, (mean, std, runs) in ((failed, PUBLISHED_FAILED), (part[part["solved"]], PUBLISHED_SOLVED)):
        angle = chosen["solution_angle_start_deg_1"]
        # 4 standard errors of the difference of the two means
        assert abs(angle.mean() - mean) < 4 * std * math.sqrt(1 / runs + 1 / len(angle))


def test_the_rule_of_the_trap_points_at_nearly_all_failures_of_mirror(rows):
    solved, failed = failures.trap(rows).itertuples()
    assert failed.inside_rule >= 0.9 * failed.number
    assert solved.inside_rule <= 0.5 * failed.number


def test_failures_are_sealed_early_and_nearly_all_by_death(rows):
    failed = rows[(rows["failure"] != "") & (rows["strategy"] != "bounded")]
    assert failed["sealed_epoch"].notna().all() and failed["sealed_epoch"].max() < 60


def test_units_of_the_monitor_end_alive_and_its_hyperplanes_in_two_clusters(rows):
    end = hyperplanes.units(of(rows, "monitor")).set_index("when").loc["end"]
    assert (end["dead"], end["always_on"]) == (0, 0)
    cluster = hyperplanes.clusters(of(rows, "monitor")).iloc[0]
    assert cluster["in_two_largest"] > 0.98
    assert {cluster["centre_1"][:7], cluster["centre_2"][:7]} <= {"(-0.55,", "(-0.54,", "(0.54, ", "(0.55, "}


def test_solved_runs_end_with_one_positive_point_fired_and_class_0_dark(rows):
    table = hyperplanes.distance_table(of(rows, "mirror")).set_index(["when", "points"])
    # without biases, of every pair x, −x one fires, and their distances are opposite
    for label in ("class 0", "class 1"):
        start = table.loc["start", label]
        assert start["firing"] == 0.5 and start["firing_mean"] == pytest.approx(-start["dark_mean"])
    # (w·x + b + w·(−x) + b)/2 = b: both classes have the same signed mean, and biases have fallen
    end = table.loc["end"]
    assert end.loc["class 1", "signed_mean"] == pytest.approx(end.loc["class 0", "signed_mean"])
    assert end.loc["class 1", "signed_mean"] < 0
    assert end.loc["class 1", "firing"] == 0.5 and end.loc["class 0", "absolute_mean"] < 0.2


def test_p_values_worked_by_hand():
    # which 2 of 4 runs succeed: 6 ways, 2 of them as extreme as all against none: p = 2/6
    assert p_value((2, 2), (0, 2)) == pytest.approx(1 / 3)
    assert p_value((4000, 4000), (1000, 1000)) == 1
    # within a range there is nothing to hold against it; below it the lower end counts
    assert p_recomputed((3996, 4000), (998, 1000, 1000)) > 0.9
    assert p_recomputed((3900, 4000), (998, 1000, 1000)) == p_value((3900, 4000), (998, 1000))


def test_the_rule_of_the_trap_worked_by_hand():
    # (∣v∣ − 0.7071)/3 at v = 1: 0.0976
    assert failures.in_trap(np.array([0.09, 0.11, 0.0]), np.array([1.0, 1.0, 0.7])).tolist() == [True, False, False]


def test_points_in_reach_of_each_other_are_one_group_and_lone_ones_none():
    points = np.array([[0.0, 0, 0], [0.09, 0, 0], [0.18, 0, 0], [1, 0, 0], [2, 0, 0], [2, 0.05, 0]])
    labels = hyperplanes.groups(points, 0.1)
    assert labels[3] == -1
    assert len(set(labels[:3])) == 1 and labels[4] == labels[5] != labels[0]
    assert sorted(set(labels)) == [-1, 0, 1]
    assert hyperplanes.groups(points[:2], 0.1).tolist() == [0, 0]
    assert hyperplanes.groups(points[3:5], 0.1).tolist() == [-1, -1]
