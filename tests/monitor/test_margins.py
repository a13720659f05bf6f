from __future__ import annotations

import torch

from lop.monitor import margins

INF, NAN = float("inf"), float("nan")
# three samples, six units: dead, dead at exactly 0, at risk, alive at exactly epsilon, always on, selective
Z = torch.tensor(
    [
        [-1.0, -1.0, -1.0, -1.0, 0.5, -2.0],
        [-2.0, 0.0, 0.05, 0.1, 0.2, 3.0],
        [-3.0, -2.0, -4.0, -1.0, 0.9, -1.0],
    ],
    dtype=torch.float64,
)


def test_margin_and_lowest_are_the_extremes_over_the_samples():
    assert margins.margin(Z).tolist() == [-1.0, 0.0, 0.05, 0.1, 0.9, 3.0]
    assert margins.lowest(Z).tolist() == [-3.0, -2.0, -4.0, -1.0, 0.2, -2.0]


def test_classes_of_six_units_worked_by_hand():
    kinds = margins.classify(margins.margin(Z), margins.lowest(Z), 0.1)
    assert kinds.dead.tolist() == [True, True, False, False, False, False]
    assert kinds.at_risk.tolist() == [False, False, True, False, False, False]
    assert kinds.alive.tolist() == [False, False, False, True, True, True]
    assert kinds.always_on.tolist() == [False, False, False, False, True, False]
    assert kinds.selective.tolist() == [False, False, True, True, False, True]


def test_dead_at_risk_alive_and_non_finite_cover_every_unit_whatever_the_numbers():
    values = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1e-30, 0.05, 0.1, 7.0, -7.0])
    top, low = torch.cartesian_prod(values, values).unbind(-1)
    for epsilon in (0.1, 0.0, 1e-40):
        kinds = margins.classify(top, low, epsilon)
        assert (torch.stack(kinds[:4]).sum(0) == 1).all()
        assert not (kinds.always_on & kinds.non_finite).any()
        assert not (kinds.selective & (kinds.dead | kinds.always_on | kinds.non_finite)).any()


def test_a_nan_or_an_infinity_on_one_sample_makes_its_unit_non_finite_and_no_other():
    for bad in (NAN, INF, -INF):
        z = Z.clone()
        z[1, 3] = bad
        kinds = margins.classify(margins.margin(z), margins.lowest(z))
        assert kinds.non_finite.tolist() == [False, False, False, True, False, False]


def test_mean_margin_leaves_non_finite_units_out():
    assert margins.mean_margin(torch.tensor([1.0, 3.0, -1.0])).item() == 1.0
    assert margins.mean_margin(torch.tensor([1.0, NAN, 3.0, INF])).item() == 2.0
    assert margins.mean_margin(torch.tensor([NAN])).isnan()


def test_scale_free_margin_of_a_unit_without_weights_is_infinite_by_the_sign_of_its_bias():
    margin = torch.tensor([6.0, -6.0, 2.0, -2.0, 0.0])
    norm = torch.tensor([3.0, 2.0, 0.0, 0.0, 0.0])
    assert margins.scale_free_margin(margin, norm).tolist() == [2.0, -3.0, INF, -INF, 0.0]


def test_input_distances_are_signed_and_per_input():
    # w = (3, 4), b = 5: the origin is 5/5 = 1 in front; (-3, -4) gives -25 + 5 = -20, that is 4 behind
    w, b, x = torch.tensor([[3.0, 4.0]]), torch.tensor([5.0]), torch.tensor([[0.0, 0.0], [-3.0, -4.0]])
    z = x @ w.T + b
    assert margins.input_distances(z, w.norm(dim=-1)).tolist() == [[1.0], [-4.0]]


def test_dead_points_are_samples_that_no_unit_fires_on():
    z = torch.tensor([[-1.0, 0.0], [1.0, -1.0], [-1.0, -1.0], [NAN, -1.0]])
    assert margins.dead_points(z).tolist() == [True, False, True, False]


def test_data_radius_is_the_largest_distance_from_the_mean_input():
    # mean (1, 0); distances 1, 1 and 0 -> and with (1, 3), (1, -3): 3
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0], [1.0, -3.0]])
    assert margins.data_radius(x).item() == 3.0


def test_out_of_bounds_units_are_those_farther_from_the_mean_than_every_input():
    # inputs -1 and 1: mean 0, radius 1. Hyperplanes at -b/w: 0.5, 2 (dead), -2 (always on), and no weight at all
    weight, bias = torch.tensor([[2.0], [1.0], [1.0], [0.0], [0.0]]), torch.tensor([-1.0, -2.0, 2.0, 0.3, 0.0])
    x = torch.tensor([[-1.0], [1.0]])
    z = x @ weight.T + bias
    norm, radius = weight.norm(dim=-1), margins.data_radius(x)
    out = margins.out_of_bounds(z.mean(0), norm, radius)
    assert out.tolist() == [False, True, True, True, False]
    kinds = margins.classify(margins.margin(z), margins.lowest(z))
    assert (out <= (kinds.dead | kinds.always_on)).all()
    assert margins.out_of_bounds(bias, norm, 0.4).tolist() == [True, True, True, True, False]


def test_leading_dimensions_pass_through_every_function(normals):
    z, x = normals(2, 3, 50, 7), normals(2, 3, 50, 4, seed=2)
    norm = normals(2, 3, 7, seed=3).abs()
    for function, arguments in (
        (margins.margin, (z,)),
        (margins.lowest, (z,)),
        (margins.dead_points, (z,)),
        (margins.data_radius, (x,)),
        (margins.mean_margin, (z.amax(-2),)),
        (margins.scale_free_margin, (z.amax(-2), norm)),
        (margins.input_distances, (z, norm)),
        (margins.out_of_bounds, (z.mean(-2), norm, margins.data_radius(x) / 10)),
    ):
        whole = function(*arguments)
        for i in range(2):
            for j in range(3):
                assert torch.equal(whole[i, j], function(*(a[i, j] for a in arguments))), function.__name__
