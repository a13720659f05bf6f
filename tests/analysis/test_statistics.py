"""Statistics against hand-worked cases, slow second implementations and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lop.analysis import statistics
from lop.analysis.statistics import (
    auc,
    compare,
    generator_of,
    holm,
    interval,
    iqm,
    least_rank_sum_p,
    performance_profile,
    probability_of_improvement,
    resample,
    roc,
    spearman,
    stratified_interval,
)


def test_the_interquartile_mean_of_eight_values():
    # sorted 0 1 2 3 4 5 6 100: floor(8/4) = 2 fall away on each side, (2 + 3 + 4 + 5) / 4 = 3.5
    values = np.array([100.0, 0, 1, 2, 3, 4, 5, 6])
    assert iqm(values) == 3.5
    np.testing.assert_array_equal(iqm(np.stack([values, 2 * values], axis=1)), [3.5, 7.0])
    # three values: nothing falls away
    assert iqm(np.array([1.0, 2.0, 6.0])) == 3.0


@pytest.mark.parametrize("trim", [0.0, 0.25])
@pytest.mark.parametrize("num", [3, 4, 7, 10])
def test_the_interval_equals_a_loop_over_resamples(num, trim):
    values = np.random.default_rng(num).normal(size=(num, 3))
    values[1] = values[0]  # ties
    low, high = interval(values, trim, resamples=200)
    drawn = resample(num, generator_of(values), 200)
    for c in range(3):
        means = [stats.trim_mean(values[draw, c], trim) for draw in drawn]
        np.testing.assert_allclose([low[c], high[c]], np.quantile(means, [0.025, 0.975]), rtol=1e-12)


def test_the_interval_of_the_mean_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=30)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    low, high = interval(values[:, None], resamples=20_000)
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], atol=0.02)


def test_the_same_data_give_the_same_interval_and_the_global_generator_is_left_alone():
    values = np.random.default_rng(0).normal(size=(5, 2))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = interval(values)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(first, interval(values.copy()))
    assert (np.array(first) != np.array(interval(values + 1)) - 1).any()


def test_fewer_than_three_seeds_have_no_interval():
    assert np.isnan(interval(np.ones((2, 4)))).all()
    assert np.isnan(stratified_interval([np.ones(2), np.ones(9)])).all()


@pytest.mark.parametrize("num", [10, 30])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(num):
    # percentile intervals of few seeds are somewhat too narrow: 0.95 is reached from below
    draws = np.random.default_rng(3).normal(size=(num, 400))
    covered = 0
    for c in range(400):
        low, high = interval(draws[:, c : c + 1], resamples=400)
        covered += low[0] <= 0 <= high[0]
    assert 0.86 <= covered / 400 <= 0.98


def test_strata_are_resampled_within_themselves():
    # two tasks of constant scores: however runs are drawn within a task, the mean stays (1 * 3 + 5 * 9) / 12 = 4
    low, high = stratified_interval([np.ones(3), np.full(9, 5.0)], lambda x: x.mean(axis=1))
    assert (low, high) == (4.0, 4.0)


def test_a_stratified_interval_equals_a_loop():
    strata = [np.random.default_rng(k).normal(size=4 + k) for k in range(3)]
    generator = generator_of(*strata)
    drawn = [resample(len(s), generator, 100) for s in strata]
    means = [iqm(np.concatenate([s[d[b]] for s, d in zip(strata, drawn, strict=True)])) for b in range(100)]
    np.testing.assert_allclose(stratified_interval(strata, resamples=100), np.quantile(means, [0.025, 0.975]))


def test_a_performance_profile_counts_runs_above_each_threshold():
    np.testing.assert_array_equal(
        performance_profile(np.array([1.0, 2, 3, 4]), np.array([0, 2, 3.5, 4])), [1, 0.5, 0.25, 0]
    )


def test_the_probability_of_improvement_counts_pairs():
    # pairs (2,1) win, (2,2) tie, (5,1) win, (5,2) win: (1 + ½ + 1 + 1) / 4
    assert probability_of_improvement(np.array([2.0, 5]), np.array([1.0, 2])) == 0.875
    x, y = np.random.default_rng(0).normal(size=(2, 9))
    assert probability_of_improvement(x, y) == pytest.approx(stats.mannwhitneyu(x, y).statistic / 81)


def test_holm_by_hand():
    # sorted 0.01 0.02 0.03: times 3, 2, 1 gives 0.03 0.04 0.03, and none may be below the one before; NaN is no test
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01, 0.03]), [0.04, np.nan, 0.03, 0.04])


def test_a_planted_difference_is_found_and_none_is_invented():
    rng = np.random.default_rng(5)
    found, invented = 0, 0
    for _ in range(150):
        same = {name: rng.normal(size=10) for name in "abc"}
        invented += any(c.verdict != "no difference shown" for c in compare(same))
        planted = {"a": rng.normal(size=10), "b": rng.normal(2, 1, size=10), "c": rng.normal(size=10)}
        found += next(c.verdict for c in compare(planted) if (c.first, c.second) == ("a", "b")) == "b > a"
    # at level 0.05, 150 tries: more than 15 false alarms has probability 0.003
    assert invented <= 15
    assert found >= 135


def test_three_seeds_against_three_can_show_nothing():
    # the least p of 3 against 3 is 2 / C(6, 3) = 0.1
    assert least_rank_sum_p(3, 3) == pytest.approx(0.1)
    verdicts = [c.verdict for c in compare({"a": np.array([1.0, 2, 3]), "b": np.array([7.0, 8, 9])})]
    assert verdicts == ["too few seeds"]
    assert compare({"a": np.arange(5.0), "b": np.arange(7.0, 12)})[0].verdict == "b > a"


def test_spearman_equals_scipy_and_passes_over_what_is_missing():
    x, y = np.random.default_rng(0).normal(size=(2, 40))
    y[::3] = y[0]  # ties
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert spearman(np.append(x, np.nan), np.append(y, 3.0)) == pytest.approx(spearman(x, y))
    assert np.isnan(spearman(x[:3], y[:3]))


def test_the_area_under_the_curve_by_hand_and_by_pairs():
    scores, positive = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, False])
    # pairs: (.9,.8) 1, (.9,.1) 1, (.8,.8) ½, (.8,.1) 1: 3.5 / 4
    assert auc(scores, positive) == 0.875
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(6, size=60).astype(float), rng.random(60) < 0.3
    assert auc(scores, positive) == pytest.approx(probability_of_improvement(scores[positive], scores[~positive]))
    assert np.isnan(auc(scores, np.zeros(60, bool)))


def test_the_area_under_roc_points_is_the_auc():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(9, size=200).astype(float), rng.random(200) < 0.4
    grid = np.linspace(0, 1, 20_001)
    assert np.trapezoid(roc(scores, positive, grid), grid) == pytest.approx(auc(scores, positive), abs=1e-4)


def test_the_draws_depend_on_the_data_alone():
    assert statistics.generator_of(np.arange(3)).integers(1 << 60) == statistics.generator_of(np.arange(3.0)).integers(
        1 << 60
    )
