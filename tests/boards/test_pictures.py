"""Heat maps are drawn from the run's records, seldom."""

from __future__ import annotations

import importlib.util

import pytest

from lop.boards.pictures import due, heat_maps


def test_pictures_are_due_at_multiples_and_at_the_end_of_a_run_that_has_one():
    # updates of 256 steps, every 1000, the run ends at 2560: multiples are passed at 1024 and 2048
    steps = [step for step in range(256, 2561, 256) if due(step, 256, 1000, 2560)]
    assert steps == [1024, 2048, 2560]
    assert not any(due(step, 256, 10_000, 2560) for step in range(256, 2561, 256))
    assert not any(due(step, 256, 0, 2560) for step in range(256, 2561, 256))


def test_each_layer_is_a_png(local, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    local.write_rows(tmp_path / "run", range(1, 9), units=True)
    found = heat_maps(tmp_path / "run")
    assert list(found) == ["units/margin/layer_0", "units/margin/layer_1"]
    for number, png in enumerate(found.values()):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png)
        with image.open(path) as picture:
            assert picture.format == "PNG" and min(picture.size) > 400


def test_without_records_or_matplotlib_there_are_none(local, tmp_path, monkeypatch):
    local.write_rows(tmp_path / "empty", range(0))
    assert heat_maps(tmp_path / "empty") == {}
    local.write_rows(tmp_path / "run", range(1, 9), units=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert heat_maps(tmp_path / "run") == {}
