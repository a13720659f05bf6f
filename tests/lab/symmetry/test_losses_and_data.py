"""The pure parts: the field, the points, the symmetry loss and its weight."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lop.lab.symmetry.data import TEST, VALIDATE, Task, field
from lop.lab.symmetry.losses import orbit_share, orbit_variance, symmetry_weight
from lop.lab.symmetry.settings import Seeds, Settings


def test_the_field_by_hand():
    assert field(np.zeros(3)) == 1
    # R² = π/2: exp(−π/4)·cos π
    assert field(np.array([math.sqrt(math.pi / 2), 0, 0])) == pytest.approx(-math.exp(-math.pi / 4))


def test_the_field_does_not_change_under_rotation():
    task = Task(Settings(points=1000), Seeds.of(1))
    points = task.held_out(TEST)
    np.testing.assert_allclose(field(points.rotated[0]), points.y, atol=2e-6)
    np.testing.assert_allclose(field(points.rotated[1]), points.y, atol=2e-6)
    assert np.abs(points.rotated[0] - points.rotated[1]).max() > 1


def test_orbit_variance_by_hand():
    # two points, two units: differences (1, 2) and (0, −2); ½·mean(1 + 4, 0 + 4) = ½·4.5
    first, second = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 2.0]])
    assert orbit_variance(first, second).item() == 2.25


def test_orbit_share_is_one_for_orientation_alone_and_zero_without():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 20_000, 3, generator=generator)
    assert orbit_share(one, other).item() == pytest.approx(1, abs=0.03)
    assert orbit_share(one, one).item() == 0
    # one of three equal and independent units sees orientation
    mixed = torch.cat((other[:, :1], one[:, 1:]), 1)
    assert orbit_share(one, mixed).item() == pytest.approx(1 / 3, abs=0.02)
    assert orbit_share(5 * one, 5 * mixed).item() == pytest.approx(orbit_share(one, mixed).item(), rel=1e-5)


def test_the_weight_grows_from_nothing_to_its_largest_along_a_cosine():
    assert [symmetry_weight(epoch, 5, 8.0) for epoch in range(5)] == pytest.approx(
        [0, 4 * (1 - math.sqrt(0.5)), 4, 4 * (1 + math.sqrt(0.5)), 8]
    )
    assert symmetry_weight(0, 1, 8.0) == 0


def test_the_three_parts_are_60_20_20_and_apart():
    settings = Settings(points=1000)
    task = Task(settings, Seeds.of(3))
    parts = [task.epoch(0).x, task.held_out(VALIDATE).x, task.held_out(TEST).x]
    assert [len(part) for part in parts] == [600, 200, 200]
    assert len({tuple(point) for part in parts for point in part}) == 1000
    assert np.abs(task.x).max() <= 5
    assert np.abs(task.x).max() > 4.9


def test_every_epoch_is_the_same_points_in_another_order():
    task = Task(Settings(points=100), Seeds.of(3))
    first, second = task.epoch(0), task.epoch(1)
    assert not np.array_equal(first.x, second.x)
    assert sorted(map(tuple, first.x)) == sorted(map(tuple, second.x))
    np.testing.assert_array_equal(first.y, field(first.x).astype(np.float32))


def rotations_used(task: Task, copy: int) -> int:
    """How many different rotations took an epoch's points there: least squares on every three points in a row."""
    points, found = task.epoch(2), set()
    for first in range(0, 60, 3):
        x, turned = points.x[first : first + 3].astype(float), points.rotated[copy, first : first + 3].astype(float)
        found.add(tuple(np.round(np.linalg.solve(x, turned), 2).ravel() + 0.0))
    return len(found)


def test_a_batch_has_one_pair_of_rotations_or_every_point_its_own():
    for copy in (0, 1):
        # 60 training points in batches of 30: two rotations
        assert rotations_used(Task(Settings(points=100, batch_size=30), Seeds.of(5)), copy) == 2
    point = Settings(points=100, batch_size=30, rotations="point")
    assert rotations_used(Task(point, Seeds.of(5)), 0) == 20


def test_data_and_augmentation_seeds_change_their_own_kind_alone():
    settings = Settings(points=100)
    base, other = Task(settings, Seeds(1, 1, 1)).epoch(0), Task(settings, Seeds(1, 2, 1)).epoch(0)
    assert all(np.array_equal(a, b) for a, b in zip(base, other, strict=True))
    turned = Task(settings, Seeds(1, 1, 2)).epoch(0)
    assert np.array_equal(base.x, turned.x)
    assert not np.array_equal(base.rotated, turned.rotated)
    assert not np.array_equal(base.x, Task(settings, Seeds(2, 1, 1)).epoch(0).x)
