"""A worked diagnosis: why does a network that learned one task learn the next one badly? Seconds on a laptop.

    python examples/diagnosis.py

A small regression network learns a function of eight sensors (task "first"). Then the sensors drift: every reading moves
by a constant, the function stays the same (task "drifted"). The old network learns the second task worse than a fresh one
would. The monitor says which units are lost, when, and whether the data or the learning lost them; two remedies are
tried on that evidence. docs/monitor.md walks through the output.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lop.monitor import MarginMonitor

NUM_SENSORS, NUM_UNITS, BATCH, STEPS = 8, 64, 128, 1500
DRIFT = 3.0


def sensors(num: int, drift: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Readings [num, 8] that moved by `drift`, and the target [num, 1], which does not depend on the drift."""
    x = torch.rand(num, NUM_SENSORS, generator=generator) * 2 - 1
    y = torch.sin(3 * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + 0.5 * torch.cos(4 * x[:, 3:4])
    return x + drift, y


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(NUM_SENSORS, NUM_UNITS),
        nn.ReLU(),
        nn.Linear(NUM_UNITS, NUM_UNITS),
        nn.ReLU(),
        nn.Linear(NUM_UNITS, 1),
    )


def learn(net: nn.Module, drift: float, seed: int, monitor: MarginMonitor | None = None, start: int = 0) -> float:
    """Train on one task and return the test error; a monitor sees every input and computes every 100 steps."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for step in range(start, start + STEPS):
        x, y = sensors(BATCH, drift, generator)
        if monitor is not None:
            monitor.observe(x)
            if step % 100 == 0:
                show(monitor, step, lambda x=x, y=y: F.mse_loss(net(x), y))
        optimizer.zero_grad()
        F.mse_loss(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        x, y = sensors(10_000, drift, torch.Generator().manual_seed(99))
        return F.mse_loss(net(x), y).item()


def show(monitor: MarginMonitor, step: int, loss) -> None:
    row = monitor.compute(step, ranks=True, loss=loss)
    if step % 500 == 0 or row["margin/deaths/layer_0"] > 0:
        names = ("margin/dead_counts", "margin/at_risk_counts", "margin/always_on_counts", "margin/deaths")
        counts = "".join(f"{row[f'{name}/layer_0']:>10.0f}" for name in names)
        will_die = row.get("margin/will_die_counts/layer_0", float("nan"))
        ranks = f"{row['srank/layer_0']:>8.0f}{row['effective_rank/layer_0']:>11.1f}"
        print(f"{step:>6}{counts}{will_die:>10.0f}{row['margin/mean_margins/layer_0']:>10.2f}{ranks}")


def revived(net: nn.Sequential, window: Tensor) -> nn.Sequential:
    """A copy whose dead units of the first layer have their hyperplane moved to the mean of the data: b = −w·x̄."""
    net = copy.deepcopy(net)
    first = net[0]
    with torch.no_grad():
        dead = first(window).amax(0) <= 0
        first.bias[dead] = -(first.weight[dead] @ window.mean(0))
    return net


def main() -> dict[str, float]:
    """Errors on the drifted task by what was done about it."""
    torch.set_num_threads(1)
    net = network()
    monitor = MarginMonitor(net, buffer_size=1000, predictive=True)
    titles = ("dead", "at risk", "always on", "deaths", "will die", "margin")
    print("first layer\n  step" + "".join(f"{title:>10}" for title in titles) + f"{'srank':>8}{'eff. rank':>11}")
    monitor.task("first")
    before = learn(net, 0.0, seed=1, monitor=monitor)
    at_change = copy.deepcopy(net)

    first = monitor.task("drifted")
    print(f"the sensors drift by {DRIFT:.0f}")
    errors = {"old network": learn(net, DRIFT, seed=2, monitor=monitor, start=STEPS)}
    drifted = monitor.task("end")

    killed = drifted.killed_by_change
    print(f"\nerror on the first task {before:.4f}; killed while learning it: {first.deaths}")
    print(
        f"killed by the change alone, with the same weights: {len(killed[0])} of {NUM_UNITS} units in the first layer,"
    )
    print(f"  {len(killed[1])} in the second; the first of them: {killed[0][:8].tolist()}")
    learning = drifted.deaths - sum(map(len, killed))
    print(f"killed while learning the drifted task: {learning}; revived: {drifted.revivals}")
    farthest = int(np.argmin(monitor.report().units[0]["scale_free_margin"]))
    distance = monitor.report().units[0]["scale_free_margin"][farthest]
    print(f"farthest of the dead at the end: unit {farthest}, {-distance:.2f} beyond the nearest input")

    window, _ = sensors(1000, DRIFT, torch.Generator().manual_seed(3))
    errors["fresh network"] = learn(network(), DRIFT, seed=2)
    errors["old, dead units moved to the data"] = learn(revived(at_change, window), DRIFT, seed=2)
    centred = nn.Sequential(Centre(window.mean(0)), at_change)
    errors["old, inputs centred"] = learn(centred, DRIFT, seed=2)
    print("\nerror on the drifted task after as many steps")
    for name, error in errors.items():
        print(f"  {name:<36}{error:.4f}")
    return errors


class Centre(nn.Module):
    """x − mean."""

    def __init__(self, mean: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean


if __name__ == "__main__":
    main()
