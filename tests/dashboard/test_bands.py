from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lop.dashboard import bands
from lop.dashboard.bands import Bands, band, centre


def slow_bootstrap(values: np.ndarray, statistic: str) -> np.ndarray:
    """Low and high [2, T]: seeds drawn one by one, the centre of each resample by scipy."""
    counts = bands._resamples(len(values))
    centres = []
    for row in counts:
        drawn = np.repeat(values, row, axis=0)
        centres.append(stats.trim_mean(drawn, 0.25 if statistic == "iqm" else 0.0, axis=0))
    return np.quantile(np.array(centres), [0.025, 0.975], axis=0)


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
@pytest.mark.parametrize("seeds", [2, 4, 9])
def test_centre_and_band_equal_a_slow_bootstrap_with_scipy(statistic, seeds):
    values = np.random.default_rng(seeds).normal(size=(seeds, 6))
    np.testing.assert_allclose(band(values, statistic), slow_bootstrap(values, statistic), rtol=1e-10, atol=1e-12)
    expected = stats.trim_mean(values, 0.25 if statistic == "iqm" else 0.0, axis=0)
    np.testing.assert_allclose(centre(values, statistic), expected)


def test_the_centre_is_over_the_seeds_that_are_there():
    values = np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan]])
    np.testing.assert_equal(centre(values, "mean"), [2.0, 1.0, np.nan])


def test_the_iqm_leaves_out_a_quarter_at_either_end():
    # of 1 2 3 100 the smallest and the largest go: (2 + 3) / 2
    assert centre(np.array([[100.0], [2.0], [3.0], [1.0]]), "iqm").tolist() == [2.5]


def test_every_resample_draws_as_many_seeds_as_there_are():
    assert (bands._resamples(7).sum(1) == 7).all()


def test_a_band_stops_where_a_seed_is_missing_and_one_seed_has_none():
    values = np.random.default_rng(0).normal(size=(3, 5))
    values[1, 3:] = np.nan
    low, high = Bands()("curve", values, "mean")
    assert np.isfinite(low).tolist() == np.isfinite(high).tolist() == [True, True, True, False, False]
    assert np.isnan(Bands()("curve", values[:1], "mean")).all()


def test_kept_bands_equal_fresh_ones_and_only_new_steps_are_computed(monkeypatch):
    random = np.random.default_rng(0)
    values = random.normal(size=(4, 8))
    kept = Bands()
    kept("curve", values, "iqm")
    grown = np.concatenate([values, random.normal(size=(4, 2))], axis=1)
    grown[2, 5] += 1.0
    widths = []
    monkeypatch.setattr(bands, "band", lambda v, s: (widths.append(v.shape[1]), band(v, s))[1])
    np.testing.assert_array_equal(kept("curve", grown, "iqm"), Bands()("curve", grown, "iqm"))
    assert widths == [3, 10]  # the changed step and the two new ones; all of them for the fresh one


def test_a_seed_more_makes_all_bands_anew():
    values = np.random.default_rng(0).normal(size=(5, 4))
    kept = Bands()
    kept("curve", values[:4], "mean")
    np.testing.assert_array_equal(kept("curve", values, "mean"), Bands()("curve", values, "mean"))
