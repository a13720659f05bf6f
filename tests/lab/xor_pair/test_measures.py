from __future__ import annotations

import math

import pytest
import torch

from lop.lab.xor_pair import measures
from lop.lab.xor_pair.measures import BOTH_DIED, DEAD_FROM_START, ONE_DIED, STUCK
from lop.lab.xor_pair.strategies import STRATEGIES, strategy


def pair(*units: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(units, dtype=torch.float64)


def test_angles_worked_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 2.0], [1.0, 0.0]])
    b = torch.tensor([[0.0, 3.0], [-5.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    angles = measures.angle_deg(a, b)
    assert angles[:3].tolist() == pytest.approx([90, 180, 45])
    assert math.isnan(angles[3])


def test_mirror_deviation_is_the_angle_from_the_opposite():
    assert float(measures.mirror_deviation_deg(pair((1, -1, 0), (-2, 2, 7)))) == 0
    assert float(measures.mirror_deviation_deg(pair((1, 0, 0), (-1, 1, 0)))) == pytest.approx(45)


def test_a_mirror_pair_has_a_cosine_below_minus_0_95():
    # cos = −0.95 at 18.195°
    for degrees, expected in ((18.1, True), (18.3, False)):
        turn = math.radians(degrees)
        one = pair((1, 0, 0), (-math.cos(turn), math.sin(turn), 0))
        assert bool(measures.is_mirror(one)) is expected


def test_solution_angle_is_to_the_nearer_direction():
    angles = measures.solution_angle_deg(pair((1, -1, 0), (-1, 1, 3)))
    assert angles.tolist() == pytest.approx([0, 0])
    angles = measures.solution_angle_deg(pair((1, 1, 0), (-1, 0, 0)))
    assert angles.tolist() == pytest.approx([90, 45])


def test_distances_worked_by_hand():
    # w = (3, 4), b = 5, ‖w‖ = 5: (−1, −1): (−7 + 5)/5 = −0.4; (1, −1): 0.8; (−1, 1): 1.2; (1, 1): 2.4
    found = measures.distances(pair((3, 4, 5), (0, 1, 0))[None])
    assert found[0, :, 0].tolist() == pytest.approx([-0.4, 0.8, 1.2, 2.4])


def test_failures_are_told_apart():
    # columns: points (−1, −1), (1, −1), (−1, 1), (1, 1); −1: alive at the end
    cases = [
        ([1, 1, 1, 1], [-1, 4, -1, -1], "", math.nan),
        ([1, 0, 1, 1], [-1, 0, -1, -1], DEAD_FROM_START, 0),
        ([1, 0, 0, 1], [3, 7, 0, -1], DEAD_FROM_START, 0),
        ([1, 0, 1, 1], [0, 12, -1, 5], ONE_DIED, 12),
        ([1, 0, 0, 1], [30, 9, 11, 30], BOTH_DIED, 9),
        ([0, 1, 1, 0], [-1, -1, -1, -1], STUCK, math.nan),
        # the dead one is right for another reason: no loss of it
        ([0, 1, 1, 1], [-1, 0, -1, -1], STUCK, math.nan),
    ]
    right = torch.tensor([case[0] for case in cases], dtype=torch.bool)
    since = torch.tensor([case[1] for case in cases])
    assert measures.failure(right, since) == [case[2] for case in cases]
    assert measures.sealed_epoch(right, since).tolist() == pytest.approx([case[3] for case in cases], nan_ok=True)


def test_rows_hold_the_parameters_and_agree_with_them():
    chosen = strategy("monitor")
    begun = chosen.start(0, 40)
    trained = chosen.train(begun)
    rows = measures.run_rows(chosen, begun, trained)
    assert len(rows) == 40 and set(rows["strategy"]) == {"monitor"}
    start, end = (measures.parameters_of(rows, when) for when in ("start", "end"))
    assert torch.equal(start, begun.parameters.movedim(-1, 0)) and torch.equal(end, trained.end.movedim(-1, 0))
    assert rows["bias_sum"].tolist() == (end[:, 0, 2] + end[:, 1, 2]).tolist()
    ratio = start[:, 1, :2].norm(dim=-1) / end[:, 1, :2].norm(dim=-1)
    assert rows["norm_ratio_2"].tolist() == pytest.approx(ratio.tolist())
    assert (rows["failure"] == "").tolist() == rows["solved"].tolist()
    assert (rows["points_right"] == 4).tolist() == rows["solved"].tolist()


def test_strategies_have_different_names():
    names = [one.name for one in STRATEGIES]
    assert len(set(names)) == len(names)
    assert {"normal", "reinit", "monitor", "mirror", "bounded", "absolute"} <= set(names)
