"""Gradient descent on the mean squared error, and starts that are tried one after the other until one learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lop.lab.xor_formula.network import CORNERS, XOR, Network, right

START_STD = 0.5
RATE = 0.1
MAX_STEPS = 4_000
ENOUGH_MSE = 1e-12
#: no number moves by more than a tenth of this in a step: the descent has ended, wherever it stands
FLAT = 1e-9


@dataclass(frozen=True)
class Attempt:
    """One start: its index from 1, the network it ended as, its steps, its mean squared error on the four corners."""

    start: int
    network: Network
    steps: int
    mse: float

    @property
    def learned(self) -> bool:
        return self.mse <= ENOUGH_MSE and right(self.network.says(CORNERS)) == len(XOR)


def mse(network: Network) -> float:
    """The mean squared error on the four corners."""
    return float(((network(CORNERS) - XOR) ** 2).mean())


def gradient(network: Network) -> np.ndarray:
    """∂(mean squared error on the four corners)/∂numbers for an output that is linear; order as `Network.numbers`."""
    z = network.drives(CORNERS)
    h = network.hidden(CORNERS)
    slope = 1 - h * h if network.activation == "tanh" else (z > 0).astype(np.float64)
    error = 2 * (h @ network.output_weights + network.output_bias - XOR) / len(XOR)
    back = error[:, None] * network.output_weights * slope
    return np.concatenate([(back.T @ CORNERS).ravel(), back.sum(0), h.T @ error, [error.sum()]])


def draw(rng: np.random.Generator, activation: str, units: int = 2) -> Network:
    """A start: every weight and bias normal with deviation 0.5, the output's bias 0."""
    numbers = START_STD * rng.standard_normal(4 * units + 1)
    numbers[-1] = 0.0
    empty = Network(np.zeros((units, 2)), np.zeros(units), np.zeros(units), 0.0, activation)
    return empty.with_numbers(numbers)


def descend(network: Network, start: int = 1) -> Attempt:
    """Full-batch gradient descent until the error is small enough or the slope is gone, or for MAX_STEPS steps."""
    for steps in range(MAX_STEPS):
        slope = gradient(network)
        if mse(network) <= ENOUGH_MSE or np.abs(slope).max() < FLAT:
            return Attempt(start, network, steps, mse(network))
        network = network.with_numbers(network.numbers - RATE * slope)
    return Attempt(start, network, MAX_STEPS, mse(network))


def attempts(
    activation: str, seed: int, purpose: int, max_starts: int, accept: Callable[[Network], bool] = lambda _: True
) -> Iterator[Attempt]:
    """Start after start, up to and with the first that learned and that `accept` takes; all failed: max_starts of them.

    A start is a function of (seed, purpose, its index) alone.
    """
    for start in range(1, max_starts + 1):
        attempt = descend(draw(np.random.default_rng([seed, purpose, start]), activation), start)
        yield attempt
        if attempt.learned and accept(attempt.network):
            return
