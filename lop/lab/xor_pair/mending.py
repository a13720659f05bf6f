"""A monitor that mends while it watches: dead and wrong points are revived, lost hyperplanes fetched back.

A point dead and wrong for more than 5 epochs gets the smallest change of the nearest unit's weights that revives it; a
unit whose hyperplane has been farther than 1.4 from the origin for more than 3 epochs gets bias 0. Both look before
either acts, between the gradient and the optimiser's step (as the published code of the study does).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lop.lab.xor_pair.network import LABELS, POINTS, UNITS, members_first
from lop.monitor.margins import out_of_bounds

DEAD_PATIENCE_EPOCHS = 5
BOUNDS_PATIENCE_EPOCHS = 3
RADIUS = 1.4
TARGET = 1e-4  # pre-activation of a revived point


def smallest_nudge(point: Tensor, z: Tensor) -> Tensor:
    """The shortest Δw after which w·x + b = 1e-4: max(0, 1e-4 − z)/‖x‖²·x; point [D], z [M] to [D, M]."""
    return (TARGET - z).clamp(min=0) / (point * point).sum() * point[:, None]


@dataclass
class Mender:
    """How long each point [N, M] and each unit [H, M] has been in trouble, and what was done, [M]."""

    dead_epochs: Tensor
    lost_epochs: Tensor
    nudges: Tensor
    resets: Tensor

    @classmethod
    def for_members(cls, members: int) -> Mender:
        """A mender that has seen nothing."""
        return cls(*(torch.zeros(*rows, members, dtype=torch.int64) for rows in ((len(LABELS),), (UNITS,), (), ())))

    def keep(self, members: Tensor) -> None:
        """Forgets all members but these."""
        for name, value in vars(self).items():
            setattr(self, name, value[..., members])

    def mend(self, parameters: Tensor, dead: Tensor, right: Tensor) -> None:
        """Looks, and changes the parameters [H, 3, M] in place where it must. dead, right: [N, M]."""
        weights, biases = members_first(parameters)[..., :2], members_first(parameters)[..., 2]
        lost = out_of_bounds(biases, torch.linalg.vector_norm(weights, dim=-1), RADIUS).T
        self.dead_epochs = torch.where(dead & ~right, self.dead_epochs + 1, 0)
        self.lost_epochs = torch.where(lost, self.lost_epochs + 1, 0)
        fetch = self.lost_epochs > BOUNDS_PATIENCE_EPOCHS
        revive = self.dead_epochs > DEAD_PATIENCE_EPOCHS
        if revive.any():
            self._revive(parameters, revive)
        if fetch.any():
            parameters[:, 2].masked_fill_(fetch, 0.0)
            self.resets += fetch.sum(0)
            self.lost_epochs.masked_fill_(fetch, 0)

    def _revive(self, parameters: Tensor, revive: Tensor) -> None:
        for point, of_point in zip(torch.tensor(POINTS, dtype=parameters.dtype), revive, strict=True):
            members = torch.nonzero(of_point).flatten()
            if len(members):
                nudge_nearest(parameters, members, point)
        self.nudges += revive.sum(0)
        self.dead_epochs.masked_fill_(revive, 0)


def nudge_nearest(parameters: Tensor, members: Tensor, point: Tensor) -> None:
    """Gives the unit nearest to the point its smallest nudge, in the members named; in place. point [D]."""
    chosen = parameters[..., members]
    z = chosen[:, 0] * point[0] + chosen[:, 1] * point[1] + chosen[:, 2]
    norms = (chosen[:, 0] * chosen[:, 0] + chosen[:, 1] * chosen[:, 1]).sqrt()
    unit = (z.abs() / norms).argmin(0)
    nudge = smallest_nudge(point, z.gather(0, unit[None])[0])
    parameters[unit[:, None], torch.arange(2), members[:, None]] += nudge.T
