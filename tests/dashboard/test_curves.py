from __future__ import annotations

import os

import numpy as np
import orjson
import pytest

from lop.dashboard import curves as module
from lop.dashboard.curves import Curves


def write(path, first: int, last: int, how: str = "ab", scale: float = 1.0) -> None:
    with open(path, how) as file:
        for i in range(first, last + 1):
            file.write(orjson.dumps({"format": 1, "global_step": i, "v": scale * i}) + b"\n")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def small(monkeypatch):
    """Files beyond 10 kB count as long; a fill reads 4 kB."""
    monkeypatch.setattr(module, "WHOLE_BYTES", 10_000)
    monkeypatch.setattr(module, "FILL_BYTES", 4_000)
    monkeypatch.setattr(module, "PREVIEW_ROWS", 20)


def test_a_short_file_is_read_whole_at_once(path):
    write(path, 1, 40)
    curves = Curves(path, 1)
    curves.poll()
    assert not curves.is_preview and curves.step == 40
    assert curves.ladder.mean("v").tolist() == list(range(1, 41))


def test_a_long_file_shows_a_sample_first_and_then_all_of_it(path, small):
    write(path, 1, 2000)
    curves = Curves(path, 1)
    curves.poll()
    assert curves.is_preview and curves.step == 2000
    sampled = curves.ladder.mean("v")
    assert 20 <= np.isfinite(sampled).sum() < 1000
    for _ in range(100):
        curves.fill()
    assert not curves.is_preview
    # 2000 steps in at most 1024 bins: pairs; the mean of 1 and 2 is 1.5
    np.testing.assert_allclose(curves.ladder.mean("v"), np.arange(1000) * 2 + 1.5)


def test_rows_that_come_while_a_long_file_is_read_are_shown_at_once_and_counted_once(path, small):
    write(path, 1, 900)
    curves = Curves(path, 1)
    curves.poll()
    curves.fill()
    write(path, 901, 950)
    curves.poll()
    assert curves.is_preview and curves.ladder.mean("v")[-50:].tolist() == list(range(901, 951))
    for _ in range(100):
        curves.fill()
    assert not curves.is_preview
    write(path, 951, 960)
    curves.poll()
    assert curves.ladder.mean("v").tolist() == list(range(1, 961))


def test_rows_that_come_between_a_look_and_a_fill_are_among_the_newest(path, small):
    write(path, 1, 900)
    curves = Curves(path, 1)
    curves.poll()
    write(path, 901, 950)
    for _ in range(100):
        curves.fill()
    curves.poll()
    assert not curves.is_preview and curves.step == 950
    assert curves.ladder.mean("v").tolist() == list(range(1, 951))


@pytest.mark.parametrize("filled", [0, 3, 100])
def test_a_long_run_cut_back_by_a_resume_is_read_again(path, small, filled):
    write(path, 1, 1000)
    curves = Curves(path, 1)
    curves.poll()
    for _ in range(filled):
        curves.fill()
    os.truncate(path, 0)
    write(path, 1, 5, scale=2.0)
    for _ in range(3):
        curves.poll()
        curves.fill()
    assert curves.ladder.mean("v").tolist() == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert curves.step == 5


def test_the_version_changes_with_new_rows_alone(path):
    write(path, 1, 5)
    curves = Curves(path, 1)
    curves.poll()
    before = curves.version
    curves.poll()
    assert curves.version == before
    write(path, 6, 6)
    curves.poll()
    assert curves.version > before


def test_a_damaged_row_is_counted(path):
    write(path, 1, 5)
    with open(path, "ab") as file:
        file.write(b"damage\n")
    curves = Curves(path, 1)
    curves.poll()
    assert curves.damaged == 1 and curves.step == 5
