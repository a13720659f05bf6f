"""The network and its data: y = φ(w₁·x + b₁) + φ(w₂·x + b₂) on the four points of centred XOR.

Members come last here, parameters as [H, 3, M] = (w_1, w_2, b) of H = 2 units: every operation then runs along the
members and rounds each number by itself, so that a member's result is the same alone and in company, bit for bit.
Sums over units and points are written out for that reason: the order of a library's sum may depend on the shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

POINTS = ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0))
LABELS = (0, 1, 1, 0)
POSITIVE = tuple(n for n, label in enumerate(LABELS) if label == 1)
NEGATIVE = tuple(n for n, label in enumerate(LABELS) if label == 0)
THRESHOLD = 0.5  # an output above it says 1
UNITS = 2


@dataclass(frozen=True)
class Activation:
    """φ and its derivative, elementwise. can_die: flat for z <= 0, so that nothing passes there."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    can_die: bool = False


def leaky(negative_slope: float) -> Activation:
    """z for z > 0, negative_slope * z otherwise."""
    return Activation(
        lambda z: torch.where(z > 0, z, z * negative_slope),
        lambda z: torch.where(z > 0, 1.0, torch.full_like(z, negative_slope)),
    )


RELU = Activation(lambda z: z.clamp(min=0), lambda z: (z > 0).to(z.dtype), can_die=True)
ELU = Activation(
    lambda z: torch.where(z > 0, z, torch.expm1(z.clamp(max=0))),
    lambda z: torch.where(z > 0, 1.0, torch.exp(z.clamp(max=0))),
)
ABSOLUTE = Activation(torch.abs, torch.sign)


def pre_activations(parameters: Tensor) -> Tensor:
    """z_j(x) = w_j·x + b_j of every point: parameters [H, 3, M] to [N, H, M], N = 4."""
    points = _columns(parameters)
    return points[0] * parameters[:, 0] + points[1] * parameters[:, 1] + parameters[:, 2]


def outputs(z: Tensor, activation: Activation) -> Tensor:
    """y = Σ_j φ(z_j): [N, H, M] to [N, M]."""
    return _total(activation.value(z), 1)


def errors(y: Tensor) -> Tensor:
    """y − label of every point, [N, M]."""
    return y - torch.tensor(LABELS, dtype=y.dtype, device=y.device)[:, None]


def loss(error: Tensor) -> Tensor:
    """The mean squared error over the points: [N, M] to [M]."""
    return _total(error * error, 0) / len(LABELS)


def gradient(z: Tensor, error: Tensor, activation: Activation) -> Tensor:
    """∂loss/∂parameters [H, 3, M] from pre-activations [N, H, M] and errors [N, M]."""
    dz = (error * (2 / len(LABELS)))[:, None] * activation.slope(z)
    points = _columns(z)
    return torch.stack([_total(dz * points[0], 0), _total(dz * points[1], 0), _total(dz, 0)], dim=1)


def right(y: Tensor) -> Tensor:
    """Boolean [N, M]: the output is on its label's side of 0.5."""
    return (y > THRESHOLD) == torch.tensor(LABELS, device=y.device)[:, None].bool()


def members_first(tensor: Tensor) -> Tensor:
    """[..., M] to [M, ...], the layout of lop.monitor; a view."""
    return tensor.movedim(-1, 0)


def _columns(like: Tensor) -> Tensor:
    """The points' two coordinates, [D, N, 1, 1]."""
    return torch.tensor(POINTS, dtype=like.dtype, device=like.device).T[:, :, None, None]


def _total(tensor: Tensor, dim: int) -> Tensor:
    return reduce(add, tensor.unbind(dim))
