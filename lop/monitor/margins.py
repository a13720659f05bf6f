"""Where each unit's hyperplane lies among the samples: pure functions of pre-activations [..., N, H].

z_j(x) = w_j·x + b_j is unit j's pre-activation; N samples, H units; leading dimensions (members) pass through.
For an activation other than ReLU pass its drive instead of z (activations.py): <= 0 exactly where no gradient passes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def margin(z: Tensor) -> Tensor:
    """Each unit's largest pre-activation over the samples, γ_j = max_x z_j(x); [..., N, H] to [..., H].

    <= 0: the unit is dead on these samples. It grows with N, so that N belongs beside it. A NaN makes its unit's NaN.
    """
    return z.amax(-2)


def lowest(z: Tensor) -> Tensor:
    """Each unit's smallest pre-activation over the samples; [..., N, H] to [..., H]. > 0: the unit is always on."""
    return z.amin(-2)


class UnitClasses(NamedTuple):
    """Boolean masks [..., H]. dead, at_risk, alive and non_finite are disjoint and cover every unit."""

    dead: Tensor
    at_risk: Tensor
    alive: Tensor
    non_finite: Tensor
    always_on: Tensor
    selective: Tensor


def classify(margin: Tensor, lowest: Tensor, epsilon: float = 0.1, can_die: bool = True) -> UnitClasses:
    """What each unit does on the samples, from its largest and smallest pre-activation, both [..., H].

    dead: γ <= 0 (not <: ReLU(0) = 0 with zero gradient); at_risk: 0 < γ < epsilon; alive: γ >= epsilon;
    non_finite: a NaN or infinite pre-activation; always_on: min z > 0, the unit is linear on the samples;
    selective: neither dead nor always-on. can_die=False, for activations that are flat nowhere: all finite units live.
    """
    # one question instead of two: infinite or NaN as soon as one of them is
    non_finite = ~torch.isfinite(margin - lowest)
    dead = (margin <= 0) & ~non_finite if can_die else torch.zeros_like(non_finite)
    alive = (margin >= epsilon) & ~dead & ~non_finite if can_die else ~non_finite
    always_on = (lowest > 0) & ~non_finite
    at_risk, selective = ~(dead | alive | non_finite), ~(dead | always_on | non_finite)
    return UnitClasses(dead, at_risk, alive, non_finite, always_on, selective)


def mean_margin(margin: Tensor, non_finite: Tensor | None = None) -> Tensor:
    """(1/H) Σ_j γ_j, [..., H] to [...]; NOT the mean pre-activation. Units with non_finite set take no part.

    NaN when no unit is left.
    """
    keep = torch.isfinite(margin) if non_finite is None else ~non_finite
    return torch.where(keep, margin, 0.0).sum(-1) / keep.sum(-1)


def scale_free_margin(margin: Tensor, weight_norm: Tensor) -> Tensor:
    """γ_j / ‖w_j‖ [..., H]: the distance from the farthest-firing sample to the hyperplane, in input units.

    For ‖w_j‖ = 0, where γ_j = b_j: ±infinity by the sign of b_j, 0 for b_j = 0.
    """
    return _over_norm(margin, weight_norm)


def input_distances(z: Tensor, weight_norm: Tensor) -> Tensor:
    """(w_j·x + b_j)/‖w_j‖, signed; z [..., N, H] and norms [..., H] to [..., N, H]; ‖w_j‖ = 0 as scale_free_margin."""
    return _over_norm(z, weight_norm.unsqueeze(-2))


def _over_norm(value: Tensor, norm: Tensor) -> Tensor:
    return torch.where((norm == 0) & (value == 0), 0.0, value / norm)


def dead_points(z: Tensor, positions: int = 1) -> Tensor:
    """Boolean [..., N / positions]: inputs for which every unit has z_j(x) <= 0, so that nothing passes the layer.

    positions: how many consecutive samples belong to one input. An input with a NaN is not counted as dead.
    """
    dead = z.amax(-1) <= 0
    return dead if positions == 1 else dead.unflatten(-1, (-1, positions)).all(-1)


def data_radius(inputs: Tensor) -> Tensor:
    """The largest ‖x − x̄‖ over the samples, x̄ their mean; layer inputs [..., N, D] to [...]."""
    centred = inputs - inputs.mean(-2, keepdim=True)
    return torch.linalg.vector_norm(centred, dim=-1).amax(-1)


def out_of_bounds(mean_z: Tensor, weight_norm: Tensor, radius: Tensor | float) -> Tensor:
    """Boolean [..., H]: units whose hyperplane is farther than `radius` [...] from the mean input: ∣w·x̄ + b∣/‖w‖ > r.

    mean_z [..., H]: the mean pre-activation over the samples, which equals w·x̄ + b. Such a unit is dead or always-on.
    For the mean taken as the origin (XOR study, r = 1.4) pass the biases as mean_z.
    """
    limit = torch.as_tensor(radius, dtype=mean_z.dtype, device=mean_z.device).unsqueeze(-1)
    return _over_norm(mean_z, weight_norm).abs() > limit
