"""Tasks and predictive margins, on networks small enough to work by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lop.monitor import MarginMonitor


@pytest.fixture
def net():
    """Two units on one input: z = (x, −x + 1)."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 1.0]))
    return net


def test_units_killed_by_a_change_of_task_are_found_with_the_weights_of_the_change(net):
    monitor = MarginMonitor(net, buffer_size=2)
    assert monitor.task("right") is None
    monitor.observe(torch.tensor([[0.5], [3.0]]))  # margins 3, 0.5
    monitor.compute(0)
    right = monitor.task("left")
    assert [m.tolist() for m in right.end_margins] == [[3.0, 0.5]]
    assert right.deaths == 0
    monitor.observe(torch.tensor([[-1.0]]))
    monitor.observe(torch.tensor([[-2.0]]))  # the window is full: margins −1, 3 with the weights of the change
    with torch.no_grad():
        net[0].bias[0] = 5.0  # learning revives the unit before anything is computed
    monitor.observe(torch.tensor([[-4.0], [-3.0]]))  # margins 2, 5
    monitor.compute(1)
    left = monitor.task("end")
    assert [units.tolist() for units in left.killed_by_change] == [[0]]
    assert left.summary() == {
        "task/deaths": 0,
        "task/revivals": 0,
        "task/start_dead_counts/layer_0": 1,
        "task/start_mean_margins/layer_0": 1.0,
        "task/end_dead_counts/layer_0": 0,
        "task/end_mean_margins/layer_0": 3.5,
        "task/killed_by_change_counts/layer_0": 1,
    }


def test_deaths_within_a_task_are_counted_and_a_short_task_starts_at_its_first_compute(net):
    monitor = MarginMonitor(net, buffer_size=100)
    monitor.task("only")
    monitor.observe(torch.tensor([[0.5], [3.0]]))
    monitor.compute(0)
    with torch.no_grad():
        net[0].bias.fill_(-10.0)
    monitor.compute(1)
    task = monitor.task("next")
    assert task.deaths == 2
    assert task.start_margins[0].tolist() == [3.0, 0.5]
    assert task.end_margins[0].tolist() == [-7.0, -10.5]


def test_predictive_margins_are_those_of_the_last_weights_on_the_present_inputs(net):
    monitor = MarginMonitor(net, buffer_size=2, predictive=True)
    monitor.observe(torch.tensor([[0.5], [3.0]]))
    assert "margin/will_die_counts/layer_0" not in monitor.compute(0)
    monitor.observe(torch.tensor([[-1.0], [-2.0]]))
    with torch.no_grad():
        net[0].bias[0] = 5.0
    row = monitor.compute(1)
    units = monitor.report().units[0]
    assert units["predictive_margin"].tolist() == [-1.0, 3.0]
    assert units["margin"].tolist() == [4.0, 3.0]
    assert row["margin/will_die_counts/layer_0"] == 1
    assert row["margin/deaths/layer_0"] == 0


def test_a_population_has_the_tasks_and_predictions_of_its_members_alone(make_stacked, normals):
    """Three stacked members, then each of them as a monitor of its own."""
    net, windows = make_stacked(3, [4, 8, 8, 2]), [normals(3, 6, 4, seed=i) - 1.5 * i for i in range(4)]

    def run(net, inputs):
        monitor, rows = MarginMonitor(net, buffer_size=6, predictive=True), []
        for step, x in enumerate(inputs):
            if step % 2 == 0:
                ended = monitor.task(str(step))
            monitor.observe(x)
            with torch.no_grad():
                net.biases[0] -= 0.2
            rows.append((monitor.compute(step), monitor.report().units[0].get("predictive_margin")))
        return rows, monitor.task("end"), ended

    alone = [run(net.take(slice(m, m + 1)), [x[m : m + 1] for x in windows]) for m in range(3)]
    together = run(net.take(slice(0, 3)), windows)
    for m, (rows, last, ended) in enumerate(alone):
        assert [row[m] for row, _ in together[0]] == [row[0] for row, _ in rows]
        assert together[0][3][1][m].tolist() == rows[3][1][0].tolist()
        assert together[1][m].summary() == last[0].summary()
        assert together[2][m].summary() == ended[0].summary()
        assert together[1][m].name == "2"
    assert any(row.get("margin/will_die_counts/layer_0", 0) > 0 for rows, _ in together[0] for row in rows)
    assert any(row["task/killed_by_change_counts/layer_0"] > 0 for row in (task.summary() for task in together[1]))


def test_a_module_of_members_has_tasks_too(normals):
    class Population(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(normals(2, 3, 4))

        def forward(self, x):
            return torch.bmm(x, self.w).relu()

    monitor = MarginMonitor(Population(), members=2, predictive=True)
    assert monitor.task("a") is None
    monitor.observe(normals(2, 5, 3))
    monitor.compute(0)
    first, second = monitor.task("b")
    assert [first.end_margins[0].shape, second.end_margins[0].shape] == [(4,), (4,)]
    assert first.end_margins[0].tolist() != second.end_margins[0].tolist()
