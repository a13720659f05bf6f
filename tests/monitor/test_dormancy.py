from __future__ import annotations

import math

import torch

from lop.monitor import dormancy


def test_activity_is_the_fraction_of_samples_a_unit_fires_on():
    h = torch.tensor([[0.0, 2.0, 1e-30, -1.0], [0.0, 1.0, 0.0, 3.0], [0.0, 5.0, 0.0, -2.0], [0.0, 4.0, 0.0, 0.0]])
    assert dormancy.activity(h).tolist() == [0.0, 1.0, 0.25, 0.25]
    assert dormancy.firing_counts(h.relu(), non_negative=True).tolist() == [0, 4, 1, 1]


def test_activity_counts_more_samples_than_a_byte_or_a_half_can_hold():
    h = torch.ones(5000, 2)
    h[0, 1] = 0
    assert dormancy.firing_counts(h).tolist() == [5000, 4999]


def test_mean_magnitude_uses_absolute_values():
    h = torch.tensor([[1.0, -1.0], [3.0, -3.0]])
    assert dormancy.mean_magnitude(h).tolist() == [2.0, 2.0]


def test_dormant_score_worked_by_hand():
    # magnitudes 0, 1, 3, 4: mean 2
    score = dormancy.relative_score(torch.tensor([0.0, 1.0, 3.0, 4.0]))
    assert score.tolist() == [0.0, 0.5, 1.5, 2.0]
    assert dormancy.dormant(score, 0.025).tolist() == [True, False, False, False]
    assert dormancy.dormant(score, 0.5).tolist() == [True, True, False, False]


def test_an_all_dead_layer_is_wholly_dormant_and_never_nan():
    score = dormancy.relative_score(torch.zeros(2, 3))
    assert score.tolist() == [[0.0] * 3] * 2
    assert dormancy.dormant(score, 0.025).all()


def test_a_non_finite_magnitude_leaves_the_other_units_alone():
    score = dormancy.relative_score(torch.tensor([1.0, math.nan, 3.0, math.inf]))
    assert score[[0, 2]].tolist() == [0.5, 1.5]
    assert score[[1, 3]].isnan().all()
    assert not dormancy.dormant(score, 0.1).any()


def test_rarely_active_percent_counts_units_on_for_at_most_one_percent():
    assert dormancy.rarely_active_percent(torch.tensor([[0.0, 0.01, 0.011, 1.0]])).tolist() == [50.0]
