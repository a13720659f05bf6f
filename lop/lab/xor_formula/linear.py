"""Models that are linear in their features: gradient descent, and the normal equations."""

from __future__ import annotations

import numpy as np

RATE = 0.1
STEPS = 2_000


def with_ones(features: np.ndarray) -> np.ndarray:
    """A column of ones behind the features [N, K], so that the last weight is the bias; [N, K + 1]."""
    return np.column_stack([features, np.ones(len(features))])


def descend(
    features: np.ndarray, targets: np.ndarray, rng: np.random.Generator, steps: int = STEPS, rate: float = RATE
) -> np.ndarray:
    """Weights and bias [K + 1] after gradient descent on the mean squared error, from a normal start."""
    table = with_ones(features)
    weights = rng.standard_normal(table.shape[1])
    for _ in range(steps):
        weights = weights - rate * 2 / len(targets) * table.T @ (table @ weights - targets)
    return weights


def closed_form(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weights and bias [K + 1] where the slope of the mean squared error is zero: (XᵀX) w = Xᵀy."""
    table = with_ones(features)
    return np.linalg.solve(table.T @ table, table.T @ targets)


def mse(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """The mean squared error of these weights."""
    return float(((with_ones(features) @ weights - targets) ** 2).mean())


def slowest(features: np.ndarray, rate: float = RATE) -> float:
    """The factor by which a step shrinks the error in the direction where it shrinks least: 1 - rate·λ_min(Hessian)."""
    table = with_ones(features)
    return float(1 - rate * np.linalg.eigvalsh(2 / len(table) * table.T @ table)[0])


def best_of_random_lines(corners: np.ndarray, truth: np.ndarray, rng: np.random.Generator, lines: int) -> int:
    """The most corners that one of so many random lines w·A + b > 0 gets right."""
    drawn = rng.standard_normal((lines, 3))
    answers = with_ones(corners) @ drawn.T > 0
    return int((answers == (truth > 0.5)[:, None]).sum(0).max())


def parity(inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """All corners {0, 1}^n [2^n, n], and at each whether the number of ones is odd [2^n]."""
    corners = np.array(list(np.ndindex(*(2,) * inputs)), dtype=np.float64)
    return corners, corners.sum(1) % 2
