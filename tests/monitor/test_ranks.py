from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lop.monitor import ranks


@pytest.fixture
def gaussian():
    return torch.from_numpy(np.random.default_rng(0).standard_normal((1000, 256)))


def test_published_values_for_standard_normals_and_their_relu(gaussian):
    def values(a):
        found = ranks.all_ranks(ranks.singular_values(a), 1000)
        return [float(found[k]) for k in ("stable_rank", "srank", "effective_rank", "approximate_rank")]

    assert values(gaussian.float()) == pytest.approx([114.9, 252, 247, 248], rel=0.02)  # another draw
    assert values(gaussian.float().relu()) == pytest.approx([3.1, 251, 232, 244], rel=0.01)


@pytest.mark.parametrize("shape", [(1000, 256), (37, 100), (100, 37), (1, 5), (5, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_singular_values_equal_those_of_a_full_decomposition(normals, shape, scale):
    a = normals(*shape).relu() * scale
    exact = torch.linalg.svdvals(a.double())
    found = ranks.singular_values(a)
    assert found.dtype == torch.float64
    assert found.shape == exact.shape
    assert torch.allclose(found, exact, rtol=1e-7, atol=4e-7 * float(exact[0]))


def test_ranks_of_badly_conditioned_activations_equal_those_of_a_full_decomposition(normals):
    a = (normals(1000, 100, dtype=torch.float64) * torch.logspace(0, -12, 100, dtype=torch.float64)).float()
    exact = ranks.all_ranks(torch.linalg.svdvals(a.double()), 1000)
    for name, value in ranks.all_ranks(ranks.singular_values(a), 1000).items():
        assert float(value) == pytest.approx(float(exact[name]), rel=1e-4), name


def test_ranks_of_singular_values_3_2_1_worked_by_hand():
    sigma = torch.tensor([1.0, 3.0, 2.0])  # any order
    assert float(ranks.stable_rank(sigma)) == pytest.approx(14 / 9)
    entropy = -(1 / 2 * math.log(1 / 2) + 1 / 3 * math.log(1 / 3) + 1 / 6 * math.log(1 / 6))
    assert float(ranks.effective_rank(sigma)) == pytest.approx(math.exp(entropy))
    p = [9 / 14, 4 / 14, 1 / 14]
    assert float(ranks.covariance_effective_rank(sigma)) == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)))
    assert float(ranks.srank(sigma)) == 3
    assert float(ranks.srank(sigma, 0.5)) == 1
    assert float(ranks.srank(sigma, 0.6)) == 2
    # squares 9, 4, 1 of 14: 13/14 = 0.93
    assert float(ranks.approximate_rank(sigma)) == 3
    assert float(ranks.approximate_rank(sigma, 0.9)) == 2
    # divided by sqrt(10000) = 100: 0.03, 0.02, 0.01, and 0.01 is not above 0.01
    assert float(ranks.feature_rank(sigma, 10_000)) == 2


def test_every_rank_of_a_zero_matrix_is_0_and_of_a_single_direction_is_1():
    zero = ranks.all_ranks(ranks.singular_values(torch.zeros(2, 30, 8)), 30)
    assert {name: value.tolist() for name, value in zero.items()} == {name: [0.0, 0.0] for name in ranks.RANKS}
    ones = ranks.all_ranks(ranks.singular_values(torch.ones(1000, 256)), 1000)
    assert {name: float(value) for name, value in ones.items()} == pytest.approx(dict.fromkeys(ranks.RANKS, 1.0))


@pytest.mark.parametrize("shape", [(1000, 10), (37, 100), (1000, 256)])
@pytest.mark.parametrize("threads", [1, 2])
def test_ranks_of_a_member_have_the_same_bits_alone_and_among_four(normals, shape, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a = normals(4, *shape).relu()
        together = ranks.all_ranks(ranks.singular_values(a), shape[0])
        for m in range(4):
            alone = ranks.all_ranks(ranks.singular_values(a[m : m + 1].clone()), shape[0])
            assert all(torch.equal(alone[name], together[name][m : m + 1]) for name in ranks.RANKS)
    finally:
        torch.set_num_threads(before)
