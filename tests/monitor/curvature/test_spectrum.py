"""Counting eigenvalues: exactly on matrices worked by hand, by Lanczos against the exact count."""

from __future__ import annotations

import math

import pytest
import torch

from lop.monitor.curvature.spectrum import congruent, dense, epsilon_count, exact_count


def of(matrix):
    return lambda v: v @ matrix


def rotated(eigenvalues, normals, dtype=torch.float64):
    """A symmetric matrix with these eigenvalues in a random basis."""
    size = len(eigenvalues)
    basis = torch.linalg.qr(normals(size, size, dtype=torch.float64))[0]
    return ((basis * torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T).to(dtype)


def test_eigenvalues_of_both_signs_beyond_epsilon_are_counted():
    matrix = torch.diag(torch.tensor([3.0, -2.0, 0.1, 0.11, -0.05, 0.0], dtype=torch.float64))
    assert exact_count(matrix, 0.1) == (3, 0)  # 3, −2, 0.11; 0.1 itself is not beyond
    assert exact_count(matrix, 1e-9) == (5, 0)


def test_dense_gives_the_matrix_back_in_chunks(normals):
    matrix = rotated([float(i) for i in range(37)], normals)
    assert torch.allclose(dense(of(matrix), 37, matrix), matrix)


def test_the_output_side_has_the_same_eigenvalues_also_of_an_indefinite_loss(normals):
    jacobian, middle = normals(5, 12, dtype=torch.float64), rotated([2.0, -1.0, 0.5, 0.0, -3.0], normals)
    large = torch.linalg.eigvalsh(jacobian.T @ middle @ jacobian)
    small = torch.linalg.eigvalsh(congruent(jacobian @ jacobian.T, middle))
    by_size = large[large.abs().argsort(descending=True)][:5].sort().values
    assert torch.allclose(by_size, small, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_few_outlying_eigenvalues_are_counted_exactly(dtype, normals):
    outliers = [50.0, 20.0, 7.0, 3.0, -2.0, 1.0, -0.5, 0.2]
    matrix = rotated(outliers + [0.001 * math.sin(i) for i in range(392)], normals, dtype)
    found = epsilon_count(of(matrix), 400, 0.1, matrix)
    assert found.count == pytest.approx(8, abs=1e-3)
    assert found.error < 1e-3
    assert epsilon_count(of(matrix), 400, 0.6, matrix).count == pytest.approx(6, abs=1e-3)


def test_repeated_eigenvalues_are_all_counted_within_the_error(normals):
    matrix = rotated([5.0] * 40 + [0.0] * 360, normals)
    found = epsilon_count(of(matrix), 400, 0.1, matrix, probes=16)
    assert 0 < found.error < 5
    assert abs(found.count - 40) < 3 * found.error


def test_a_dense_spectrum_is_estimated_within_the_error(normals):
    eigenvalues = [10 ** (-4 + 6 * i / 999) * (-1) ** i for i in range(1000)]  # 1e-4 to 100, evenly in the logarithm
    matrix, exact = rotated(eigenvalues, normals), sum(abs(e) > 0.1 for e in eigenvalues)
    found = epsilon_count(of(matrix), 1000, 0.1, matrix, steps=128)
    assert exact == 500
    assert found.count == pytest.approx(exact, rel=0.1)


def test_the_signs_come_from_the_seed_and_from_no_global_random_state(normals):
    matrix = rotated([1.0 / (i + 1) for i in range(200)], normals)
    counts = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        counts.append(epsilon_count(of(matrix), 200, 0.1, matrix, steps=6))
        assert torch.equal(before, torch.get_rng_state())
    assert counts[0] == counts[1]
    assert counts[0] != epsilon_count(of(matrix), 200, 0.1, matrix, steps=6, seed=1)


def test_a_zero_matrix_has_rank_zero_and_a_broken_one_is_not_a_number():
    zero = torch.zeros(50, 50)
    assert epsilon_count(of(zero), 50, 0.1, zero) == (0, 0)
    assert exact_count(zero.double(), 0.1) == (0, 0)
    broken = torch.full((50, 50), float("nan"))
    assert math.isnan(epsilon_count(of(broken), 50, 0.1, broken).count)
    assert math.isnan(exact_count(broken.double(), 0.1).count)
    assert math.isnan(exact_count(congruent(broken.double(), zero.double()), 0.1).count)
