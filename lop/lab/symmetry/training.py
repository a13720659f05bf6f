"""Training a population: every member its own data, first weights, rotations, symmetry layer and λ.

`train` is the loop. A member's result is a function of its settings and seeds alone: the same bits alone and in company.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lop.lab.symmetry.data import VALIDATE, Stacked, Task, stacked
from lop.lab.symmetry.losses import orbit_variance, symmetry_weight
from lop.lab.symmetry.network import Population
from lop.lab.symmetry.settings import Member, Settings

Row = dict[str, float]
Witness = Callable[[Population, Stacked], None]


@dataclass
class Trained:
    """Members in the order in which they were given, their networks with the weights that count, and how they got there.

    best_epoch [M]: whose weights these are (the last one, without early stopping). history: a row per epoch.
    """

    settings: Settings
    members: list[Member]
    tasks: list[Task]
    population: Population
    best_epoch: list[int]
    history: list[list[Row]]


def train(
    settings: Settings,
    members: list[Member],
    device: torch.device | str = "cpu",
    *,
    watch: Callable[[Population], list[Row]] | None = None,
    witness: Witness | None = None,
    tell: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train all members to their end.

    watch: called after every epoch; its rows [M] are put into the histories. witness: shown the weights and the batch
    before every step. Both see the members with the deepest symmetry layer first. tell: called with every finished epoch.
    """
    # the symmetry pass goes up layer by layer with those that need it: a prefix
    order = sorted(range(len(members)), key=lambda m: -members[m].depth(settings))
    run = Run(settings, [members[m] for m in order], device)
    adam = torch.optim.AdamW([run.population.flat], lr=settings.learning_rate, weight_decay=0.0, fused=True)
    for epoch in range(settings.epochs):
        points = run.points_of(epoch)
        sums = torch.zeros(2, len(members), device=device)
        weights = torch.tensor([symmetry_weight(epoch, settings.epochs, m.lambda_max) for m in run.members]).to(device)
        for batch in batches(points, settings.batch_size):
            if witness:
                witness(run.population, batch)
            task = task_losses(run.population, batch)
            symmetry = symmetry_losses(run.population, batch.rotated, run.depths) if epoch else task[:0]
            run.population.backward(task.sum() + (weights[: len(symmetry)] * symmetry).sum())
            adam.step()
            sums[0] += task.detach() * batch.y.shape[1]
            sums[1, : len(symmetry)] += symmetry.detach() * batch.y.shape[1]
        run.end_epoch(epoch, sums / settings.num_train, weights, watch)
        tell(epoch)
        if not run.active.any():
            break
    return run.result(order)


def batches(points: Stacked, size: int) -> Iterator[Stacked]:
    """The points in pieces of `size`, the last one smaller."""
    for first in range(0, points.y.shape[1], size):
        rows = slice(first, first + size)
        yield Stacked(points.x[:, rows], points.y[:, rows], points.rotated[:, :, rows])


def task_losses(population: Population, points: Stacked) -> Tensor:
    """Mean squared error of each member, [M]."""
    return (population.activations(points.x)[-1][..., 0] - points.y).square().mean(1)


def symmetry_losses(population: Population, rotated: Tensor, depths: list[int]) -> Tensor:
    """Orbit variance of each of the first m members at its own depth, [m].

    rotated [M, 2, N, 3]. depths: m numbers >= 1 that fall (1: first hidden layer), one for each member with a symmetry loss.
    """
    found: list[Tensor] = []
    h = rotated[: len(depths)].flatten(1, 2)
    for layer in range(max(depths, default=0)):
        h = population.activation(layer, h)
        going_on = sum(depth > layer + 1 for depth in depths)
        if going_on < len(h):
            found.insert(0, orbit_variance(*h[going_on:].unflatten(1, (2, -1)).unbind(1)))
            h = h[:going_on]
    return torch.cat(found) if found else rotated.new_zeros(0)


class Run:
    """A population in training: its data, its histories, the best weights so far, and who has stopped."""

    def __init__(self, settings: Settings, members: list[Member], device: torch.device | str):
        self.settings, self.members, self.device = settings, members, device
        self.depths = [depth for member in members if (depth := member.depth(settings))]
        self.tasks = {member.seeds: Task(settings, member.seeds) for member in members}
        self.population = Population(len(members), settings, device)
        self.population.initialise([member.seeds for member in members])
        self.validation = self._stacked(lambda task: task.held_out(VALIDATE))
        self.history: list[list[Row]] = [[] for _ in members]
        self.active = np.ones(len(members), bool)
        self._best_loss = np.full(len(members), np.inf)
        self._best_epoch = np.zeros(len(members), int)
        self._best = self.population.flat.clone() if settings.early_stop else None

    def points_of(self, epoch: int) -> Stacked:
        return self._stacked(lambda task: task.epoch(epoch))

    def _stacked(self, points_of: Callable[[Task], object]) -> Stacked:
        order = [member.seeds for member in self.members]
        return stacked({seeds: points_of(task) for seeds, task in self.tasks.items()}, order, self.device)

    @torch.no_grad()
    def end_epoch(
        self, epoch: int, means: Tensor, weights: Tensor, watch: Callable[[Population], list[Row]] | None
    ) -> None:
        """Rows of the members that have not stopped; then who stops, and whose weights are the best so far."""
        validation = task_losses(self.population, self.validation).tolist()
        watched = watch(self.population) if watch else [{}] * len(self.members)
        columns = zip(means.T.tolist(), weights.tolist(), validation, watched, strict=True)
        for m, ((task, symmetry), weight, loss, more) in enumerate(columns):
            if self.active[m]:
                row = {"epoch": epoch, "lambda_sym": weight, "train_task_loss": task, "validation_task_loss": loss}
                # the loss is not looked at where its weight is 0
                row["train_sym_loss"] = symmetry if weight else np.nan
                self.history[m].append(row | more)
        self._keep_best(epoch, np.array(validation))

    def _keep_best(self, epoch: int, losses: np.ndarray) -> None:
        if self._best is None:
            self._best_epoch[:] = epoch
            return
        # the first epoch counts even if it ended in NaN: these are then the weights, and the row says so
        better = self.active & ((losses < self._best_loss) | (epoch == 0))
        self._best_loss[better], self._best_epoch[better] = losses[better], epoch
        rows = torch.from_numpy(np.flatnonzero(better)).to(self.device)
        self._best[rows] = self.population.flat[rows]
        self.active &= epoch - self._best_epoch < self.settings.early_stop

    @torch.no_grad()
    def result(self, order: list[int]) -> Trained:
        """Everything in the order before sorting. order: where each member had been."""
        back = np.argsort(order).tolist()
        population = Population(len(order), self.settings, self.device)
        population.flat.copy_((self.population.flat if self._best is None else self._best)[back])
        members = [self.members[i] for i in back]
        tasks = [self.tasks[member.seeds] for member in members]
        best, history = self._best_epoch[back].tolist(), [self.history[i] for i in back]
        return Trained(self.settings, members, tasks, population, best, history)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch with so many threads, and as it was afterwards; from now on without denormal numbers, which slow Adam."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
