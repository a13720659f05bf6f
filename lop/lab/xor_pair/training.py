"""Full-batch training of many runs side by side; each stops by itself, and its numbers are those it has alone.

Adam as torch.optim.Adam (lr 0.01, betas 0.9 and 0.99, eps 1e-8), written in operations that round each number by
itself: fused ones round a vector's tail differently. An epoch is one step on all four points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lop.lab.xor_pair import network
from lop.lab.xor_pair.mending import Mender
from lop.lab.xor_pair.network import Activation
from lop.monitor.margins import dead_points

LEARNING_RATE = 0.01
BETAS = (0.9, 0.99)
EPS = 1e-8
LOSS_GOAL = 1e-7
MIN_IMPROVEMENT = 1e-24
PATIENCE_EPOCHS = 10
COMPACT_EVERY_EPOCHS = 16
REASONS = ("converged", "stalled", "ran out")
_CONVERGED, _STALLED, _RAN_OUT = range(3)
ALIVE = -1

#: told after every step: epoch (from 1), indices [m] of the runs still going, their parameters [H, 3, m]
Watch = Callable[[int, Tensor, Tensor], None]


@dataclass
class Trained:
    """What training made of each run. Members last.

    end: parameters [H, 3, M]; epochs [M]: steps taken; reason [M]: index into REASONS; dead_since [N, M]: the epoch
    since which a point has been dead up to the end, 0 from the start on, ALIVE (−1): it is not; nudges, resets [M]: how
    often the monitor acted.
    """

    end: Tensor
    epochs: Tensor
    reason: Tensor
    dead_since: Tensor
    nudges: Tensor
    resets: Tensor


@dataclass
class _Running:
    """The runs that still go on, and a few that have ended since the last `keep`; all tensors [..., m]."""

    index: Tensor
    going: Tensor
    parameters: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    unimproved: Tensor
    dead_since: Tensor

    def keep(self, members: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[..., members])


def train(
    start: Tensor, activation: Activation, max_epochs: int, mend: bool = False, watch: Watch | None = None
) -> Trained:
    """Trains every run from its start [H, 3, M]; the start's dtype is that of all arithmetic.

    A run ends at a loss below 1e-7, after 10 epochs in which its best loss did not fall by more than 1e-24, or after
    max_epochs. mend: the monitor acts too, and no run ends for want of improvement, which may follow a mending.
    """
    runs = _begin(start)
    mender = Mender.for_members(len(runs.index))
    done = _nothing_yet(start, max_epochs)
    for epoch in range(max_epochs):
        z = network.pre_activations(runs.parameters)
        y = network.outputs(z, activation)
        error = network.errors(y)
        loss = network.loss(error)
        grad = network.gradient(z, error, activation)
        dead = _dead(z, activation)
        runs.dead_since = _dead_since(runs.dead_since, dead, epoch)
        if mend:
            mender.mend(runs.parameters, dead, network.right(y))
        _adam(runs, grad, epoch + 1)
        if watch is not None:
            watch(epoch + 1, runs.index[runs.going], runs.parameters[..., runs.going])
        converged, stalled = loss < LOSS_GOAL, _stalled(runs, loss) & (not mend)
        ended = runs.going & (converged | stalled | (epoch + 1 == max_epochs))
        if ended.any():
            reason = torch.where(converged, _CONVERGED, torch.where(stalled, _STALLED, _RAN_OUT))
            _retire(runs, mender, done, ended, reason, epoch + 1, activation)
        if epoch % COMPACT_EVERY_EPOCHS == 0:
            keep = torch.nonzero(runs.going).flatten()
            if not len(keep):
                break
            runs.keep(keep)
            mender.keep(keep)
    return done


def _begin(start: Tensor) -> _Running:
    members = start.shape[-1]
    return _Running(
        index=torch.arange(members),
        going=torch.ones(members, dtype=torch.bool),
        parameters=start.clone(),
        mean=torch.zeros_like(start),
        square=torch.zeros_like(start),
        best=torch.full((members,), math.inf, dtype=start.dtype),
        unimproved=torch.zeros(members, dtype=torch.int64),
        dead_since=torch.full((len(network.LABELS), members), ALIVE),
    )


def _nothing_yet(start: Tensor, max_epochs: int) -> Trained:
    members = start.shape[-1]
    zeros = [torch.zeros(members, dtype=torch.int64) for _ in range(3)]
    dead_since = torch.full((len(network.LABELS), members), ALIVE)
    return Trained(start.clone(), torch.full((members,), max_epochs), zeros[0], dead_since, zeros[1], zeros[2])


def _dead(z: Tensor, activation: Activation) -> Tensor:
    """Boolean [N, M]: nothing passes for this point; never where the activation is flat nowhere."""
    if not activation.can_die:
        return torch.zeros_like(z[:, 0], dtype=torch.bool)
    return dead_points(network.members_first(z)).T


def _dead_since(since: Tensor, dead: Tensor, epoch: int) -> Tensor:
    return torch.where(dead, torch.where(since == ALIVE, epoch, since), ALIVE)


def _adam(runs: _Running, grad: Tensor, step: int) -> None:
    """One step of all runs (Kingma & Ba 2015, algorithm 1); they have taken equally many."""
    runs.mean = runs.mean + (grad - runs.mean) * (1 - BETAS[0])
    runs.square = runs.square * BETAS[1] + grad * grad * (1 - BETAS[1])
    rate = LEARNING_RATE / (1 - BETAS[0] ** step)
    denominator = runs.square.sqrt() / math.sqrt(1 - BETAS[1] ** step) + EPS
    runs.parameters = runs.parameters - runs.mean / denominator * rate


def _stalled(runs: _Running, loss: Tensor) -> Tensor:
    improved = runs.best - loss > MIN_IMPROVEMENT
    runs.best = torch.where(improved, loss, runs.best)
    runs.unimproved = torch.where(improved, 0, runs.unimproved + 1)
    return runs.unimproved >= PATIENCE_EPOCHS


def _retire(
    runs: _Running, mender: Mender, done: Trained, ended: Tensor, reason: Tensor, epoch: int, activation: Activation
) -> None:
    """Writes down the runs that have ended; they are not looked at again."""
    members = torch.nonzero(ended).flatten()
    index = runs.index[members]
    end = runs.parameters[..., members]
    dead = _dead(network.pre_activations(end), activation)
    done.end[..., index] = end
    done.epochs[index] = epoch
    done.reason[index] = reason[members]
    done.dead_since[:, index] = _dead_since(runs.dead_since[:, members], dead, epoch)
    done.nudges[index], done.resets[index] = mender.nudges[members], mender.resets[members]
    runs.going = runs.going & ~ended
