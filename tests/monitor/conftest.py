"""Networks and slow second implementations shared by the monitor's tests."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch


class StackedMLP:
    """M perceptrons with ReLU, written as plainly as possible; the output layer is the last of `weights`."""

    def __init__(self, weights: list[torch.Tensor], biases: list[torch.Tensor]):
        self.weights, self.biases = weights, biases

        self.num_hidden = len(weights) - 1

    def preactivation(self, layer, x):
        return torch.baddbmm(self.biases[layer].unsqueeze(1), x, self.weights[layer].mT)

    def layer_parameters(self, layer):
        return self.weights[layer], self.biases[layer]

    def take(self, members):
        return StackedMLP([w[members].clone() for w in self.weights], [b[members].clone() for b in self.biases])


@pytest.fixture
def make_stacked():
    def make(members: int, sizes: list[int], seed: int = 0, dtype=torch.float32) -> StackedMLP:
        g = torch.Generator().manual_seed(seed)
        shapes = list(itertools.pairwise(sizes))
        weights = [torch.randn(members, b, a, generator=g, dtype=dtype) / a**0.5 for a, b in shapes]
        return StackedMLP(weights, [torch.randn(members, b, generator=g, dtype=dtype) * 0.3 for _, b in shapes])

    return make


@pytest.fixture
def normals():
    def make(*shape: int, seed: int = 1, dtype=torch.float32) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)

    return make


@pytest.fixture
def brute_force():
    return brute_force_layer


def brute_force_layer(z: np.ndarray, epsilon: float = 0.1) -> dict[str, object]:
    """Statistics of one ReLU layer from z [N, H], one unit and one sample at a time, in float64."""
    samples, units = z.shape
    found = dict.fromkeys(("dead", "at_risk", "alive", "always_on", "selective", "dead_points"), 0)
    margin, lowest, activity, magnitude = [], [], [], []
    for j in range(units):
        column = [float(v) for v in z[:, j]]
        margin.append(max(column))
        lowest.append(min(column))
        activity.append(sum(v > 0 for v in column) / samples)
        magnitude.append(sum(max(v, 0.0) for v in column) / samples)
        kind = "dead" if margin[-1] <= 0 else "at_risk" if margin[-1] < epsilon else "alive"
        found[kind] += 1
        found["always_on"] += lowest[-1] > 0
        found["selective"] += kind != "dead" and not lowest[-1] > 0
    for n in range(samples):
        found["dead_points"] += all(z[n, j] <= 0 for j in range(units))
    mean = sum(magnitude) / units
    score = [m / mean if mean > 0 else 0.0 for m in magnitude]
    found |= {f"dormant_{tau}": sum(s <= tau for s in score) for tau in (0.025, 0.1)}
    return found | {"margin": margin, "lowest": lowest, "activity": activity, "mean_abs_activation": magnitude}
