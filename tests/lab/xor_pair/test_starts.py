from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lop.lab.xor_pair import starts
from lop.lab.xor_pair.measures import dead
from lop.lab.xor_pair.network import NEGATIVE, POSITIVE


def one_member(*units: tuple[float, float, float]) -> Tensor:
    return torch.tensor(units, dtype=torch.float64)[..., None]


# z of unit 1: −1, 0.8, −0.8, 1; of unit 2 the opposite: every point's best is 1, 0.8, 0.8, 1
TILTED = one_member((0.9, 0.1, 0), (-0.9, -0.1, 0))


def test_margin_of_the_code_is_the_best_pre_activation_of_the_worst_point():
    assert starts.best_above(0.79)(TILTED).tolist() == [True]
    assert starts.best_above(0.8)(TILTED).tolist() == [False]


def test_margin_of_the_text_is_the_distance_of_the_nearest_point_from_any_hyperplane():
    # the nearest are (±1, ∓1): 0.8/√0.82 = 0.8835
    nearest = 0.8 / math.sqrt(0.82)
    assert starts.distances_from(nearest - 1e-9)(TILTED).tolist() == [True]
    assert starts.distances_from(nearest + 1e-9)(TILTED).tolist() == [False]


def test_the_two_margins_differ_where_weights_are_long_and_where_a_second_unit_passes_near_a_point():
    # z is ten times the distance; the text's reading does not care for the length
    assert starts.best_above(5.0)(10 * TILTED) and not starts.distances_from(5.0)(10 * TILTED)
    # z: −1, 1, −1, 1 and 0.05, −1.95, 1.95, −0.05: the best of (−1, −1) is 0.05, of the others at least 1;
    # moved by b₂ = 0.1 the best is 0.15, and (1, 1) is 0.05/‖w₂‖ = 0.036 from unit 2, which does not fire it alone
    near = one_member((1, 0, 0), (-1, 0.95, 0.1))
    assert starts.best_above(0.1)(near) and not starts.distances_from(0.1)(near)


def test_a_far_start_with_a_dead_point_is_refused_by_the_text_too():
    # both units fire for x₁ > 0 only: (−1, ±1) are dead, and 1 from both hyperplanes
    assert not starts.distances_from(0.5)(one_member((1, 0, 0), (1, 0, 0)))


def test_redrawn_starts_fulfil_their_condition_and_keep_first_draws_that_did():
    condition = starts.best_above(0.2)
    found, attempts = starts.redrawn(condition)(5, 300)
    assert condition(found).all()
    first = starts.draw(5, 300)
    assert torch.equal(attempts == 1, condition(first))
    assert torch.equal(found[..., attempts == 1], first[..., attempts == 1])
    second = starts.draw(5, 300, attempt=1)
    assert (attempts == 2).any()
    assert torch.equal(found[..., attempts == 2], second[..., attempts == 2])


@pytest.mark.parametrize(
    "strategy", [starts.normal, starts.redrawn(starts.no_dead_point), starts.mirror, starts.bounded]
)
def test_the_first_runs_of_many_are_those_of_few(strategy):
    few, many = strategy(0, 20), strategy(0, 150)
    assert torch.equal(few.parameters, many.parameters[..., :20])
    assert torch.equal(few.attempts, many.attempts[:20])
    assert not torch.equal(few.parameters, strategy(1, 20).parameters)


def test_an_impossible_condition_is_an_error_and_no_endless_loop(monkeypatch):
    monkeypatch.setattr(starts, "MAX_ATTEMPTS", 5)
    with pytest.raises(ValueError, match="no start that fulfils the condition in 5 draws"):
        starts.redrawn(starts.best_above(1e9))(0, 3)


def test_mirror_starts_are_opposite_and_leave_no_point_dead():
    found = starts.mirror(0, 100).parameters
    assert torch.equal(found[0], -found[1])
    assert starts.no_dead_point(found).all()


def test_bounded_hyperplanes_touch_the_circle_and_face_the_origin():
    found = starts.bounded(0, 100).parameters
    distance = found[:, 2] / torch.linalg.vector_norm(found[:, :2], dim=1)
    torch.testing.assert_close(distance, torch.full_like(distance, 1.4))


def test_weights_have_the_stated_spread_and_biases_are_zero():
    found = starts.normal(0, 20_000).parameters
    assert not found[:, 2].any()
    # standard error of a standard deviation of 80,000 normals: 0.5/√160,000 = 0.00125
    assert abs(float(found[:, :2].std()) - 0.5) < 0.005


def test_dead_points_at_the_start_are_as_frequent_as_theory_says():
    points = dead(starts.normal(0, 20_000).parameters.movedim(-1, 0))
    positive, negative = points[:, POSITIVE].any(-1), points[:, NEGATIVE].any(-1)
    # 4.5 standard errors of a rate of 1/2 in 20,000: 0.016
    assert abs(float(positive.double().mean()) - 1 / 2) < 0.016
    assert abs(float((~positive & ~negative).double().mean()) - 1 / 4) < 0.016
