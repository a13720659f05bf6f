from __future__ import annotations

import pytest
import torch

from lop.monitor import weights


def test_norm_magnitude_and_change_worked_by_hand():
    w = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert weights.weight_norm(w).tolist() == [5.0, 0.0]
    assert weights.weight_magnitude(w).item() == 7 / 4
    after = [w + torch.tensor([[1.0, 0.0], [0.0, -2.0]]), torch.ones(1, 3)]
    assert weights.weight_change([w, torch.zeros(1, 3)], after).item() == 3 + 3


def slow_union(dead: list[list[bool]], inputs: int, outputs: int) -> int:
    """Every parameter of a perceptron named, frozen ones collected in a set."""
    sizes, frozen = [inputs, *(len(d) for d in dead), outputs], set()
    for layer, mask in enumerate(dead):
        for unit, is_dead in enumerate(mask):
            if is_dead:
                frozen |= {("w", layer, unit, i) for i in range(sizes[layer])} | {("b", layer, unit)}
                frozen |= {("w", layer + 1, o, unit) for o in range(sizes[layer + 2])}
    return len(frozen)


@pytest.mark.parametrize(
    "dead",
    [
        [[True, False, False]],
        [[True, True, False], [False, False]],
        [[True, True, False], [True, False]],
        [[True] * 3, [True] * 2, [False, True]],
        [[False] * 3, [False] * 2],
    ],
)
def test_frozen_parameters_are_the_union_over_dead_units(dead):
    assert int(weights.frozen_parameters([torch.tensor(d) for d in dead], 4, 5)) == slow_union(dead, 4, 5)


def test_one_layer_freezes_k_times_inputs_plus_outputs_plus_one():
    assert int(weights.frozen_parameters([torch.tensor([True, True, False])], 4, 5)) == 2 * (4 + 5 + 1)


def test_frozen_parameters_of_a_population_are_counted_member_by_member(normals):
    dead = [normals(3, 6) > 0, normals(3, 5, seed=2) > 0]
    together = weights.frozen_parameters(dead, 4, 2).tolist()
    assert together == [slow_union([d[m].tolist() for d in dead], 4, 2) for m in range(3)]


def test_parameter_count_counts_weights_and_biases():
    assert weights.parameter_count([4, 3, 2]) == 4 * 3 + 3 + 3 * 2 + 2


@pytest.mark.parametrize("threads", [1, 2])
def test_weight_sums_have_the_same_bits_alone_and_among_four(normals, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for shape in ((256, 256), (256, 27), (8, 100), (1, 256)):
            w, v = normals(4, *shape).mT, normals(4, *shape, seed=2).mT
            for function in (weights.weight_magnitude, weights.weight_norm):
                assert torch.equal(function(w)[:1], function(w[:1].clone()))
            assert torch.equal(weights.weight_change([v], [w])[:1], weights.weight_change([v[:1]], [w[:1].clone()]))
    finally:
        torch.set_num_threads(before)
