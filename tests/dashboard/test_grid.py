from __future__ import annotations

import numpy as np

from lop.dashboard.grid import aligned, bridged, common_width, joined
from lop.dashboard.ladder import Ladder


def ladder(steps, values, base=1, max_bins=1024) -> Ladder:
    made = Ladder(base, max_bins)
    made.add([{"global_step": int(s), "v": float(v)} for s, v in zip(steps, values, strict=True)])
    return made


def of(key):
    return lambda bins: bins(key)


def test_joined_bins_equal_those_of_a_ladder_of_that_width():
    steps, values = np.arange(1, 101), np.random.default_rng(0).normal(size=100)
    wide = ladder(steps, values, base=8)
    np.testing.assert_allclose(joined(ladder(steps, values), "v", 8), wide.mean("v"))


def test_bins_of_no_common_multiple_go_where_their_middle_is():
    # bins of 3 steps: middles 1 4 7 10; common bins of 5: (0, 5] (5, 10] (10, 15]
    coarse = ladder([3, 6, 9, 12], [1, 3, 5, 7], base=3)
    np.testing.assert_allclose(joined(coarse, "v", 5), [2, 5, 7])


def test_runs_of_different_lengths_share_their_steps():
    long, short = ladder(range(1, 9), range(8)), ladder(range(1, 5), range(4))
    steps, values = aligned([long, short], [of("v")] * 2, points=4)
    # pairs: steps 1.5 3.5 5.5 7.5, values 0.5 2.5 4.5 6.5
    assert steps.tolist() == [1.5, 3.5, 5.5, 7.5]
    np.testing.assert_equal(values, [[0.5, 2.5, 4.5, 6.5], [0.5, 2.5, np.nan, np.nan]])


def test_the_width_is_no_narrower_than_any_ladders_bins():
    wide = ladder(range(1, 65), range(64), max_bins=16)
    assert wide.width == 4
    assert common_width([wide, ladder([1], [1])], points=1000) == 4
    assert common_width([wide], points=5) == 16


def test_a_hole_inside_a_run_is_bridged_and_its_ends_are_not():
    nan = np.nan
    np.testing.assert_equal(
        bridged(np.array([0.0, 1, 2, 4, 5, 6]), np.array([nan, 1, nan, 4, nan, nan])), [nan, 1, 2, 4, nan, nan]
    )


def test_steps_without_any_value_are_left_out():
    sparse = Ladder(1)
    sparse.add([{"global_step": i, **({"v": 1.0} if i % 5 == 0 else {})} for i in range(1, 21)])
    steps, values = aligned([sparse, sparse], [of("v")] * 2, points=100)
    assert steps.tolist() == [5, 10, 15, 20] and values.shape == (2, 4)


def test_no_rows_give_no_steps():
    steps, values = aligned([Ladder(1), Ladder(1)], [of("v")] * 2, points=10)
    assert steps.shape == (0,) and values.shape == (2, 0)
