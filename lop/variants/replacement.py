"""How many units continual backprop replaces after each minibatch, known on the host before an update starts."""

from __future__ import annotations

import numpy as np

from lop.nets.actor_critic import NETS
from lop.run.streams import stream


class ReplacementSchedule:
    """How many units of each member, net and layer are replaced after each minibatch: counts [M, 2, L]."""

    def __init__(self, seeds: list[int], hidden_sizes: tuple[int, ...], rate: float, maturity: int):
        self.seeds, self.rate, self.maturity = seeds, rate, maturity
        self.shape = (len(seeds), len(NETS), len(hidden_sizes))
        self.eligible = np.zeros(self.shape, dtype=np.int64)
        self.maturing = {maturity: np.broadcast_to(hidden_sizes, self.shape).astype(np.int64)}

    def counts(self, update: int, minibatches: int) -> dict[int, np.ndarray]:
        """Index in the update -> counts [M, 2, L], for the minibatches that replace anything."""
        shape = (minibatches, *self.shape[1:])
        draws = np.stack([stream(seed, "cbp/counts", update).random(shape) for seed in self.seeds], axis=1)
        found = {}
        for index in range(minibatches):
            minibatch = update * minibatches + index
            if minibatch in self.maturing:
                self.eligible = self.eligible + self.maturing.pop(minibatch)
            expected = self.rate * self.eligible
            count = np.where(expected < 1, draws[index] < expected, expected).astype(np.int64)
            if count.any():
                found[index] = count
                self.eligible = self.eligible - count
                self._add(minibatch + self.maturity + 1, count)
        return found

    def _add(self, minibatch: int, count: np.ndarray) -> None:
        self.maturing[minibatch] = self.maturing.get(minibatch, 0) + count

    def restore(self, ages: dict[tuple[int, int, int], np.ndarray], minibatch: int) -> None:
        """Continue before minibatch number `minibatch`, with the ages [H] of the given (member, net, layer)."""
        self.maturing = {due: count.copy() for due, count in self.maturing.items()}
        for place, age in ages.items():
            for count in self.maturing.values():
                count[place] = 0
            age = age.astype(np.int64)
            self.eligible[place] = np.count_nonzero(age > self.maturity)
            dues, numbers = np.unique(minibatch + self.maturity - age[age <= self.maturity], return_counts=True)
            for due, number in zip(dues, numbers, strict=True):
                count = np.zeros(self.shape, dtype=np.int64)
                count[place] = number
                self._add(int(due), count)
