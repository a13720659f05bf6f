"""What is measured of trained networks on their test points: losses, orbit variance of every layer, margins and ranks."""

from __future__ import annotations

import torch

from lop.lab.symmetry.data import TEST, Stacked, Task, stacked
from lop.lab.symmetry.losses import orbit_share, orbit_variance
from lop.lab.symmetry.network import Population
from lop.lab.symmetry.settings import OUTPUT
from lop.lab.symmetry.training import Row, Trained, task_losses
from lop.monitor import MarginMonitor

OF_LAYER = {
    "dead": "margin/dead_counts",
    "at_risk": "margin/at_risk_counts",
    "always_on": "margin/always_on_counts",
    "mean_margin": "margin/mean_margins",
    "effective_rank": "effective_rank",
    "srank": "srank",
}
"""Columns <name>_<layer>, layer = 1 ... n, and the monitor's keys that they hold."""


def test_points(tasks: list[Task], device: torch.device | str) -> Stacked:
    """The test points of each member, [M, ...]."""
    found = {task.seeds: task.held_out(TEST) for task in tasks}
    return stacked(found, [task.seeds for task in tasks], device)


def measure(trained: Trained) -> list[Row]:
    """A row for each member: where its weights come from, and everything on its test points.

    test_sym_loss: orbit variance of the layer that the symmetry loss looked at (the output's if it looked at none).
    """
    population, device = trained.population, trained.population.flat.device
    points = test_points(trained.tasks, device)
    with torch.no_grad():
        losses = task_losses(population, points).tolist()
    orbits, margins = orbit_rows(population, points), margin_rows(population, points, ranks=True)
    rows = []
    for m, member in enumerate(trained.members):
        best = trained.best_epoch[m]
        row = {name: trained.history[m][best][name] for name in ("train_task_loss", "validation_task_loss")}
        symmetry = orbits[m][f"orbit_variance_{column_of(member.layer)}"]
        row = {"best_epoch": best, **row, "test_task_loss": losses[m], "test_sym_loss": symmetry}
        rows.append(row | orbits[m] | margins[m])
    return rows


@torch.no_grad()
def orbit_rows(population: Population, points: Stacked) -> list[Row]:
    """orbit_variance_<layer> and orbit_share_<layer> of every layer, "out" the output, on the points' two rotated copies."""
    pairs = [h.unflatten(1, (2, -1)).unbind(1) for h in population.activations(points.rotated.flatten(1, 2))]
    columns = {}
    for layer, (first, second) in enumerate(pairs, start=1):
        name = str(layer) if layer <= population.num_hidden else "out"
        columns[f"orbit_variance_{name}"] = orbit_variance(first, second).tolist()
        columns[f"orbit_share_{name}"] = orbit_share(first, second).tolist()
    return [{name: column[m] for name, column in columns.items()} for m in range(len(points.x))]


def margin_rows(population: Population, points: Stacked, ranks: bool = False) -> list[Row]:
    """The margin monitor's numbers of every hidden layer on the points: OF_LAYER, without the ranks unless asked for."""
    monitor = MarginMonitor(population, buffer_size=points.x.shape[1], members=len(points.x))
    monitor.observe(points.x)
    found = monitor.compute(ranks=ranks)
    return [
        {
            f"{name}_{layer + 1}": metrics[f"{key}/layer_{layer}"]
            for name, key in OF_LAYER.items()
            for layer in range(population.num_hidden)
            if ranks or key.startswith("margin/")
        }
        for metrics in found
    ]


def column_of(layer: int | None) -> str:
    """The ending of a layer's columns; the output's for no layer."""
    return "out" if layer in (None, OUTPUT) else str(layer)
