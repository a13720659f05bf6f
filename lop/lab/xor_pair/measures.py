"""What is said about each run: pure functions of parameters [..., H, 3] = (w, b), and one row a run.

z, distances and dead points are lop.monitor's; members come first from here on.
"""

from __future__ import annotations

import math

import pandas as pd
import torch
from torch import Tensor

from lop.lab.xor_pair import network
from lop.lab.xor_pair.network import NEGATIVE, POSITIVE, members_first
from lop.lab.xor_pair.starts import Starts
from lop.lab.xor_pair.strategies import Strategy
from lop.lab.xor_pair.training import ALIVE, REASONS, Trained
from lop.monitor.margins import dead_points, input_distances

MIRROR_COSINE = -0.95  # below it the published report calls w₁, w₂ a mirror pair
SOLUTION = (1.0, -1.0)  # the direction of ±w in |w·x|, which solves XOR
DEAD_FROM_START, ONE_DIED, BOTH_DIED, STUCK = "dead from start", "one died", "both died", "alive, stuck"
FAILURES = {
    DEAD_FROM_START: "a positive point was dead at the start and ever after: no gradient ever asked for it",
    ONE_DIED: "the two positive points were alive at the start; one died while training and stayed dead",
    BOTH_DIED: "both positive points died while training: the output ends near 0 everywhere, two points are right",
    STUCK: "no positive point is dead, and yet a point is wrong: a minimum with gradients, or stopped too early",
}


def angle_deg(a: Tensor, b: Tensor) -> Tensor:
    """The angle between vectors [..., D], 0 to 180 degrees, [...]; NaN where one has no length."""
    # atan2 keeps the digits that acos loses near 0 and 180
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    angle = torch.rad2deg(torch.atan2(cross.abs(), (a * b).sum(-1)))
    lengths = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return torch.where(lengths > 0, angle, math.nan)


def mirror_deviation_deg(parameters: Tensor) -> Tensor:
    """The angle between w₁ and −w₂: [..., H, 3] to [...]; 0 for a mirror pair."""
    return angle_deg(parameters[..., 0, :2], -parameters[..., 1, :2])


def is_mirror(parameters: Tensor) -> Tensor:
    """Boolean [...]: cos(w₁, w₂) < −0.95, that is w₁ within 18.2° of −w₂."""
    return mirror_deviation_deg(parameters) < math.degrees(math.acos(-MIRROR_COSINE))


def solution_angle_deg(parameters: Tensor) -> Tensor:
    """Each w's angle to the nearer of ±(1, −1): [..., H, 3] to [..., H], 0 to 90; 90: perpendicular to the solution."""
    weights = parameters[..., :2]
    angle = angle_deg(weights, torch.tensor(SOLUTION, dtype=weights.dtype).expand_as(weights))
    return torch.minimum(angle, 180 - angle)


def distances(parameters: Tensor) -> Tensor:
    """(w_j·x + b_j)/‖w_j‖, signed: [M, H, 3] to [M, N, H]."""
    z = members_first(network.pre_activations(parameters.movedim(0, -1)))
    return input_distances(z, torch.linalg.vector_norm(parameters[..., :2], dim=-1))


def dead(parameters: Tensor) -> Tensor:
    """Boolean [M, N]: no unit has a positive pre-activation for this point."""
    return dead_points(members_first(network.pre_activations(parameters.movedim(0, -1))))


def failure(right: Tensor, dead_since: Tensor) -> list[str]:
    """How each run failed, "" for those that did not. right, dead_since: [M, N], see `Trained`."""
    lost = ~right[:, POSITIVE] & (dead_since[:, POSITIVE] != ALIVE)
    from_start = (lost & (dead_since[:, POSITIVE] == 0)).any(-1)
    solved, count = right.all(-1), lost.sum(-1)
    kinds = []
    for run in range(len(right)):
        kind = DEAD_FROM_START if from_start[run] else (STUCK, ONE_DIED, BOTH_DIED)[int(count[run])]
        kinds.append("" if solved[run] else kind)
    return kinds


def sealed_epoch(right: Tensor, dead_since: Tensor) -> Tensor:
    """The epoch since which a wrong positive point has been dead for good, [M]; NaN where there is none."""
    lost = ~right[:, POSITIVE] & (dead_since[:, POSITIVE] != ALIVE)
    epochs = torch.where(lost, dead_since[:, POSITIVE].double(), math.inf).amin(-1)
    return torch.where(torch.isfinite(epochs), epochs, math.nan)


def run_rows(strategy: Strategy, begun: Starts, trained: Trained) -> pd.DataFrame:
    """One row a run; see the columns' list in docs/lab/xor_pair.md."""
    start, end = members_first(begun.parameters), members_first(trained.end)
    y = network.outputs(network.pre_activations(trained.end), strategy.activation)
    right, since = members_first(network.right(y)), members_first(trained.dead_since)
    start_dead = dead(start)
    norms = [torch.linalg.vector_norm(parameters[..., :2], dim=-1) for parameters in (start, end)]
    columns = {
        "strategy": strategy.name,
        "run": range(len(start)),
        "solved": right.all(-1),
        "points_right": right.sum(-1),
        "failure": failure(right, since),
        "sealed_epoch": sealed_epoch(right, since),
        "epochs": trained.epochs,
        "reason": [REASONS[reason] for reason in trained.reason.tolist()],
        "final_loss": network.loss(network.errors(y)),
        "draws": begun.attempts,
        "nudges": trained.nudges,
        "resets": trained.resets,
        "dead_positive_start": start_dead[:, POSITIVE].sum(-1),
        "dead_negative_start": start_dead[:, NEGATIVE].sum(-1),
        "mirror": is_mirror(end),
        "mirror_deviation_deg": mirror_deviation_deg(end),
        "bias_sum": end[:, :, 2].sum(-1),
        **_by_unit("solution_angle_start_deg", solution_angle_deg(start)),
        **_by_unit("turn_deg", angle_deg(start[..., :2], end[..., :2])),
        **_by_unit("norm_ratio", norms[0] / norms[1]),
        **_parameters("start", start),
        **_parameters("end", end),
    }
    return pd.DataFrame({name: _plain(value) for name, value in columns.items()})


def parameters_of(rows: pd.DataFrame, when: str) -> Tensor:
    """The parameters [M, H, 3] in rows of `run_rows`; when: "start" or "end"."""
    names = list(_parameters(when, torch.zeros(1, network.UNITS, 3)))
    return torch.tensor(rows[names].to_numpy()).unflatten(1, (network.UNITS, 3))


def _parameters(when: str, parameters: Tensor) -> dict[str, Tensor]:
    names = [f"{name}_{unit + 1}_{when}" for unit in range(network.UNITS) for name in ("wx", "wy", "b")]
    return dict(zip(names, parameters.flatten(1).T, strict=True))


def _by_unit(name: str, values: Tensor) -> dict[str, Tensor]:
    return {f"{name}_{unit + 1}": values[:, unit] for unit in range(values.shape[1])}


def _plain(value: object) -> object:
    return value.numpy() if isinstance(value, Tensor) else value
