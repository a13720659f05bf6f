"""Sizes and changes of weights: pure functions of weight matrices [..., H, D]; leading dimensions pass through."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def weight_norm(weight: Tensor) -> Tensor:
    """‖w_j‖, each unit's Euclidean norm over its D incoming weights; [..., H, D] to [..., H]."""
    return (weight * weight).sum(-1).sqrt()


def weight_magnitude(weight: Tensor) -> Tensor:
    """Mean ∣w∣ of a layer; [..., H, D] to [...]."""
    return _absolute_sum(weight) / (weight.shape[-1] * weight.shape[-2])


def weight_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """Σ∣w − w_before∣ over all weights of all layers; lists of [..., H, D] to [...]. Biases are not counted."""
    changes = [_absolute_sum(new - old) for old, new in zip(before, after, strict=True)]
    return torch.stack(changes).sum(0)


def _absolute_sum(weight: Tensor) -> Tensor:
    # two sums in turn: one sum over two dimensions is split among threads for one member and not for several
    return weight.abs().sum(-1).double().sum(-1)


def frozen_parameters(dead: Sequence[Tensor], num_inputs: int, num_outputs: int) -> Tensor:
    """How many parameters of a multilayer perceptron the dead units freeze; [...].

    dead: one boolean [..., H_l] per hidden layer. A dead unit freezes its incoming weights, its bias and its outgoing
    weights; the union is counted, so that a weight between dead units of adjacent layers counts once (the published
    bound k(I + O + 1) counts it twice).
    """
    if not dead:
        return torch.tensor(0)
    counts = [mask.sum(-1) for mask in dead]
    sizes = [num_inputs, *(mask.shape[-1] for mask in dead), num_outputs]
    before = [torch.zeros_like(counts[0]), *counts]
    after = [*counts, torch.zeros_like(counts[0])]
    matrices = [
        k_in * size_out + k_out * size_in - k_in * k_out
        for k_in, k_out, size_in, size_out in zip(before, after, sizes[:-1], sizes[1:], strict=True)
    ]
    return torch.stack(matrices + counts).sum(0)


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases of a multilayer perceptron with these layer sizes, inputs first, outputs last."""
    return sum((before + 1) * after for before, after in pairwise(sizes))
