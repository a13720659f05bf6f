"""The field, its points, and the batches of every epoch: functions of the seeds, whoever else is trained beside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lop.lab.symmetry.rotations import rotate, uniform_rotations
from lop.lab.symmetry.settings import Seeds, Settings
from lop.run.streams import stream

LOW, HIGH = -5.0, 5.0
VALIDATE, TEST = 0, 1


def field(x: np.ndarray) -> np.ndarray:
    """f(x) = exp(−R²/2)·cos(2R²), R = ‖x‖; [..., 3] to [...]. It is near 0 beyond R = 3: most of the cube."""
    squared = np.square(x, dtype=np.float64).sum(-1)
    return np.exp(-squared / 2) * np.cos(2 * squared)


class Points(NamedTuple):
    """x [N, 3] and y [N], with one further pair of rotated copies of each point, rotated [2, N, 3]."""

    x: np.ndarray
    y: np.ndarray
    rotated: np.ndarray


class Task:
    """The data of one member, float32: drawn uniformly from the cube, in three parts (drawn independently, so that the
    first 60 % are as good a choice as any)."""

    def __init__(self, settings: Settings, seeds: Seeds):
        self.settings, self.seeds = settings, seeds
        drawn = stream(seeds.data, "symmetry.points").uniform(LOW, HIGH, (settings.points, 3))
        self.x = drawn.astype(np.float32)
        self.y = field(self.x).astype(np.float32)

    def epoch(self, epoch: int) -> Points:
        """The training points in the order of this epoch; their rotations are new in every epoch.

        Batch b is rows b·batch_size and on; the last one is smaller.
        """
        settings, num = self.settings, self.settings.num_train
        order = stream(self.seeds.data, "symmetry.batches", epoch).permutation(num)
        generator = stream(self.seeds.augmentation, "symmetry.rotations", epoch)
        if settings.rotations == "batch":
            pairs = uniform_rotations(generator, 2, -(-num // settings.batch_size))
            pairs = np.repeat(pairs, settings.batch_size, axis=1)[:, :num]
        else:
            pairs = uniform_rotations(generator, 2, num)
        x = self.x[order]
        return Points(x, self.y[order], rotate(pairs, x).astype(np.float32))

    def held_out(self, part: int) -> Points:
        """The points of VALIDATE or TEST; their rotations are always the same, a pair for each point."""
        first = self.settings.num_train + (self.settings.num_validate if part == TEST else 0)
        last = self.settings.points if part == TEST else first + self.settings.num_validate
        x = self.x[first:last]
        pairs = uniform_rotations(stream(self.seeds.augmentation, "symmetry.held_out", part), 2, len(x))
        return Points(x, self.y[first:last], rotate(pairs, x).astype(np.float32))


class Stacked(NamedTuple):
    """The same for a population: x [M, N, 3], y [M, N], rotated [M, 2, N, 3]."""

    x: Tensor
    y: Tensor
    rotated: Tensor


def stacked(points: dict[Seeds, Points], order: list[Seeds], device: torch.device | str) -> Stacked:
    """The points of members with these seeds; members of the same seeds get copies of the same numbers."""
    keys = list(points)
    place = torch.tensor([keys.index(seeds) for seeds in order])
    columns = (torch.from_numpy(np.stack(column)) for column in zip(*points.values(), strict=True))
    return Stacked(*(column[place].to(device) for column in columns))
