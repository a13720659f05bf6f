"""The symmetry loss of one layer, and how its weight grows: pure functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def orbit_variance(first: Tensor, second: Tensor) -> Tensor:
    """L_sym = ½ mean_x ‖φ(R₁x) − φ(R₂x)‖²; activations [..., N, H] of two rotated copies to [...].

    The variance of a layer's activations along the orbits of the rotation group, summed over its units: for independent
    uniform R₁, R₂ its mean is E_x tr Cov_R φ(Rx). 0: the layer does not see orientation.
    """
    return (first - second).square().sum(-1).mean(-1) / 2


def orbit_share(first: Tensor, second: Tensor) -> Tensor:
    """Orbit variance over the whole variance of the same activations, [..., N, H] to [...]: free of their scale.

    0: the layer does not see orientation; 1: it sees nothing else; NaN: it is constant.
    """
    pooled = torch.cat((first, second), -2)
    return orbit_variance(first, second) / pooled.var(-2, correction=0).sum(-1)


def symmetry_weight(epoch: int, epochs: int, largest: float) -> float:
    """λ(t) = λ_max (1 − cos(πt/T))/2, t = epoch = 0 ... T = epochs − 1: 0 in the first epoch, λ_max in the last."""
    return largest * (1 - math.cos(math.pi * epoch / max(epochs - 1, 1))) / 2
