"""Rotations: in the group, and uniform on it (Haar)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lop.lab.symmetry.rotations import from_quaternions, rotate, uniform_rotations
from lop.run.streams import stream

NUM = 50_000
LEAST_P = 1e-3


@pytest.fixture(scope="module")
def rotations() -> np.ndarray:
    return uniform_rotations(stream(42, "test_rotations"), NUM)


@pytest.fixture(scope="module")
def angles_and_axes(rotations) -> tuple[np.ndarray, np.ndarray]:
    """Angle θ in (0, π) and unit axis of each rotation: tr R = 1 + 2 cos θ, R − Rᵀ = 2 sin θ [axis]ₓ."""
    angle = np.arccos((np.trace(rotations, axis1=1, axis2=2) - 1) / 2)
    skew = rotations - rotations.swapaxes(1, 2)
    axis = np.stack((skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]), -1)
    return angle, axis / np.linalg.norm(axis, axis=1, keepdims=True)


def uniform_between(values: np.ndarray, low: float, high: float) -> float:
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue


def test_rotations_are_orthogonal_with_determinant_one(rotations):
    products = rotations @ rotations.swapaxes(1, 2)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-14)


def test_the_angle_has_density_one_minus_cosine_over_pi(angles_and_axes):
    # the integral of (1 − cos θ)/π from 0 is (θ − sin θ)/π
    assert stats.kstest(angles_and_axes[0], lambda t: (t - np.sin(t)) / np.pi).pvalue > LEAST_P


def test_the_axis_is_uniform_on_the_sphere(angles_and_axes):
    _, axis = angles_and_axes
    # Archimedes: every coordinate of a uniform point of the sphere is uniform on [−1, 1]
    assert min(uniform_between(axis[:, k], -1, 1) for k in range(3)) > LEAST_P
    assert uniform_between(np.arctan2(axis[:, 1], axis[:, 0]), -np.pi, np.pi) > LEAST_P


def test_angle_and_axis_are_independent(angles_and_axes):
    angle, axis = angles_and_axes
    assert min(stats.spearmanr(angle, axis[:, k]).pvalue for k in range(3)) > LEAST_P


@pytest.mark.parametrize("vector", [[0, 0, 1], [1, 0, 0], [1, -2, 2]])
def test_a_fixed_vector_goes_anywhere_on_its_sphere(rotations, vector):
    vector = np.array(vector, float)
    images = rotate(rotations, vector) / np.linalg.norm(vector)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-14)
    assert min(uniform_between(images[:, k], -1, 1) for k in range(3)) > LEAST_P
    assert uniform_between(np.arctan2(images[:, 1], images[:, 0]), -np.pi, np.pi) > LEAST_P


def test_turning_all_rotations_leaves_their_distribution(rotations):
    # Haar measure is what does not change under multiplication from either side
    fixed = uniform_rotations(stream(1, "test_rotations"), 1)[0]
    half = NUM // 2
    for turned in (fixed @ rotations[half:], rotations[half:] @ fixed):
        p_values = [stats.ks_2samp(rotations[:half, i, j], turned[:, i, j]).pvalue for i in range(3) for j in range(3)]
        assert min(p_values) > LEAST_P


def test_the_uniformity_tests_find_what_is_not_uniform():
    # uniform angle about a uniform axis: a common mistake
    generator = stream(3, "test_rotations")
    axis = generator.standard_normal((NUM, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    half = generator.uniform(0, np.pi, NUM)[:, None] / 2
    wrong = from_quaternions(np.concatenate((np.cos(half), np.sin(half) * axis), 1))
    assert uniform_between(rotate(wrong, np.array([0.0, 0.0, 1.0]))[:, 2], -1, 1) < 1e-6


def test_a_quarter_turn_about_z_by_hand():
    # q = (cos 45°, 0, 0, sin 45°): x → y, y → −x
    quarter = from_quaternions(np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]))
    np.testing.assert_allclose(quarter, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)


def test_opposite_quaternions_are_the_same_rotation():
    q = np.array([0.5, -0.5, 0.5, 0.5])
    np.testing.assert_array_equal(from_quaternions(q), from_quaternions(-q))
