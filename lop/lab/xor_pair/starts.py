"""The first weights of every run: drawn, drawn again until a condition holds, mirrored, or bounded.

Parameters are [H, 3, M] = (w_1, w_2, b). Attempt k of run r is row r of the stream (seed, "xor_pair", k): all strategies
start from the same draws, and the first 100 of 4000 runs are the 100 runs of `--runs 100`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lop.lab.xor_pair.network import UNITS, members_first, pre_activations
from lop.monitor.margins import dead_points, input_distances
from lop.run.streams import stream

WEIGHT_STD = 0.5
BOUND = 1.4  # radius around the origin; the points are at √2 = 1.414
MAX_ATTEMPTS = 10_000

#: parameters [H, 3, M] to boolean [M]: whether a start may be used
Condition = Callable[[Tensor], Tensor]


class Starts(NamedTuple):
    """Parameters [H, 3, M] and how many draws each took [M]."""

    parameters: Tensor
    attempts: Tensor


def draw(seed: int, runs: int, attempt: int = 0) -> Tensor:
    """Weights from N(0, 0.5²), biases 0: [H, 3, M] in double precision."""
    normals = stream(seed, "xor_pair", attempt).standard_normal((runs, UNITS, 2))
    parameters = torch.zeros(UNITS, 3, runs, dtype=torch.float64)
    parameters[:, :2] = torch.from_numpy(normals).permute(1, 2, 0) * WEIGHT_STD
    return parameters


def normal(seed: int, runs: int) -> Starts:
    """The first draw, whatever it is."""
    return Starts(draw(seed, runs), torch.ones(runs, dtype=torch.int64))


def redrawn(condition: Condition) -> Callable[[int, int], Starts]:
    """Starts drawn again until the condition holds. Errors: ValueError if one does not within 10,000 draws."""

    def starts(seed: int, runs: int) -> Starts:
        parameters, attempts = normal(seed, runs)
        waiting = torch.nonzero(~condition(parameters)).flatten()
        for attempt in range(1, MAX_ATTEMPTS):
            if not len(waiting):
                return Starts(parameters, attempts)
            # rows behind the last one still waiting need not be drawn
            fresh = draw(seed, int(waiting[-1]) + 1, attempt)[..., waiting]
            parameters[..., waiting] = fresh
            attempts[waiting] += 1
            waiting = waiting[~condition(fresh)]
        raise ValueError(f"no start that fulfils the condition in {MAX_ATTEMPTS:,} draws")

    return starts


def no_dead_point(parameters: Tensor) -> Tensor:
    """Whether every point fires a unit."""
    return ~dead_points(members_first(pre_activations(parameters))).any(-1)


def best_above(epsilon: float) -> Condition:
    """Whether every point's best pre-activation is above epsilon: the margin of the published code."""
    return lambda parameters: (members_first(pre_activations(parameters)).amax(-1) > epsilon).all(-1)


def distances_from(epsilon: float) -> Condition:
    """Whether no point is dead or nearer than epsilon to a hyperplane: the margin of the published text."""

    def condition(parameters: Tensor) -> Tensor:
        z = members_first(pre_activations(parameters))
        norms = torch.linalg.vector_norm(members_first(parameters)[..., :2], dim=-1)
        return no_dead_point(parameters) & (input_distances(z, norms).abs() >= epsilon).all(-1).all(-1)

    return condition


def mirror(seed: int, runs: int) -> Starts:
    """w₂ = −w₁, b₂ = −b₁: together |w₁·x|, so that no point is dead."""
    parameters, attempts = normal(seed, runs)
    return Starts(torch.stack([parameters[0], -parameters[0]]), attempts)


def bounded(seed: int, runs: int) -> Starts:
    """Hyperplanes that touch the circle of radius 1.4 around the origin, facing it: b = 1.4‖w‖."""
    parameters, attempts = normal(seed, runs)
    parameters[:, 2] = BOUND * torch.linalg.vector_norm(parameters[:, :2], dim=1)
    return Starts(parameters, attempts)
