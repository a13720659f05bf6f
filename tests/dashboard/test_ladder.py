from __future__ import annotations

import math

import numpy as np
import pytest

from lop.dashboard.ladder import Ladder


def slow_means(rows: list[dict], key: str, width: int, num_bins: int) -> list[float]:
    """The mean of a key by bin, one row after the other."""
    found: list[list[float]] = [[] for _ in range(num_bins)]
    for row in rows:
        value = row.get(key)
        if isinstance(value, float) and math.isfinite(value):
            found[(row["global_step"] - 1) // width].append(value)
    return [sum(values) / len(values) if values else math.nan for values in found]


def made_up_rows(count: int, base: int) -> list[dict]:
    random = np.random.default_rng(1)
    rows: list[dict] = []
    for i in range(1, count + 1):
        row: dict = {"format": 1, "global_step": i * base, "value": float(random.normal())}
        if i % 5 == 0:
            row["rank"] = float(i)
        if i % 11 == 0:
            row["value"] = "NaN"
        rows.append(row)
    return rows


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_bins_equal_a_slow_mean_however_the_rows_came(pieces, shuffled):
    rows = made_up_rows(1000, 2048)
    if shuffled:
        rows = [rows[i] for i in np.random.default_rng(2).permutation(len(rows))]
    ladder = Ladder(2048, max_bins=64)
    for piece in np.array_split(np.arange(len(rows)), pieces):
        ladder.add([rows[i] for i in piece])
    assert ladder.width == 2048 * 16  # 1000 / 64 = 15.6, and widths double
    assert ladder.num_bins == 63
    for key in ("value", "rank"):
        np.testing.assert_allclose(ladder.mean(key), slow_means(rows, key, ladder.width, 63), rtol=1e-12)


def test_a_bin_ends_with_its_last_step():
    ladder = Ladder(10)
    ladder.add([{"global_step": 10, "v": 1.0}, {"global_step": 11, "v": 3.0}, {"global_step": 20, "v": 5.0}])
    assert ladder.mean("v").tolist() == [1.0, 4.0]


def test_a_key_that_comes_late_is_missing_before():
    ladder = Ladder(1)
    ladder.add([{"global_step": 1}, {"global_step": 2, "rank": 7}])
    assert ladder.mean("rank").tolist()[1] == 7
    assert math.isnan(ladder.mean("rank")[0])
    assert np.isnan(ladder.mean("nothing")).all() and len(ladder.mean("nothing")) == 2


@pytest.mark.parametrize("step", [None, "x", 0, -5, 2.5, 10**18])
def test_a_row_without_a_sensible_step_is_passed_over(step):
    ladder = Ladder(1, max_bins=8)
    ladder.add([{"global_step": step, "v": 1.0}, {"global_step": 3, "v": 2.0}])
    assert ladder.width == 1 and ladder.mean("v").tolist()[2] == 2.0


def test_texts_and_infinite_values_are_missing():
    ladder = Ladder(1)
    ladder.add([{"global_step": 1, "v": "Infinity"}, {"global_step": 2, "v": "abc"}, {"global_step": 3, "v": [1]}])
    ladder.add([{"global_step": 4, "v": None}, {"global_step": 5, "v": 10**400}, {"global_step": 6, "v": "-Infinity"}])
    assert np.isnan(ladder.mean("v")).all()
