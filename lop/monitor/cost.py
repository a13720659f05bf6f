"""What the monitor costs here, in milliseconds: `python -m lop.monitor.cost [--samples 1000] [--rounds 15]`.

On one thread, for four networks in turns, medians over the rounds:

    forward     the network alone on the window, without gradients
    default     compute() as it is called most of the time: margins, dormancy, activity, weights, events; forward included
    ranks, gradients, curvature, predictive     what each adds to such a call
    observe     one call with one observation, and one with as many as the window holds
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lop.monitor.curvature import Curvature
from lop.monitor.monitor import MarginMonitor

Timed = dict[str, Callable[[], object]]
ADDED = ("ranks", "gradients", "curvature", "predictive")


def perceptron(width: int) -> tuple[nn.Module, tuple[int, ...]]:
    """The actor of Ant with two hidden layers, and the shape of an observation."""
    layers = (nn.Linear(111, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8))
    return nn.Sequential(*layers), (111,)


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


def resnet() -> tuple[nn.Module, tuple[int, ...]]:
    """A stem and three blocks of 16, 32 and 64 channels on images of 16 x 16."""
    stem = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    blocks = (Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), (3, 16, 16)


def transformer() -> tuple[nn.Module, tuple[int, ...]]:
    """One encoder layer of width 64 with a hidden layer of 256, on 16 tokens a sample."""
    return nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True), (16, 64)


NETWORKS = {
    "[256, 256]": partial(perceptron, 256),
    "[1024, 1024]": partial(perceptron, 1024),
    "small ResNet": resnet,
    "transformer block": transformer,
}


def calls_of(net: nn.Module, shape: tuple[int, ...], samples: int, curvature: bool) -> Timed:
    """What is measured of one network, by name."""
    x = torch.randn(samples, *shape)
    settings = Curvature(metrics=("ggn",))
    plain = MarginMonitor(net, samples, ranks=10**15, curvature=settings)
    predictive = MarginMonitor(net, samples, ranks=10**15, predictive=True)
    observed = MarginMonitor(net, samples)
    for monitor in (plain, predictive, observed):
        monitor.observe(x)

    def loss() -> Tensor:
        return net(x).square().mean()

    def forward() -> object:
        with torch.no_grad():
            return net(x)

    calls: Timed = {
        "forward": forward,
        "default": lambda: plain.compute(ranks=False),
        "ranks": lambda: plain.compute(ranks=True),
        "gradients": lambda: plain.compute(ranks=False, loss=loss, gradients=True, curvature=False),
        "predictive": lambda: predictive.compute(ranks=False),
        "observe 1": lambda: observed.observe(x[:1]),
        f"observe {samples}": lambda: observed.observe(x),
    }
    if curvature:
        calls["curvature"] = lambda: plain.compute(ranks=False, loss=loss, gradients=False, curvature=True)
    return calls


def medians(calls: Timed, rounds: int) -> dict[str, float]:
    """Milliseconds of each call; they take turns, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    found = {name: 1000 * statistics.median(times[1:]) for name, times in seconds.items()}
    return {name: value - found["default"] if name in ADDED else value for name, value in found.items()}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000, help="observations in the window (1000)")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each call (15)")
    parser.add_argument("--curvature", action="store_true", help="also the GGN's rank: seconds to minutes a call")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = {}
    for name, make in NETWORKS.items():
        net, shape = make()
        rows[name] = medians(calls_of(net, shape, options.samples, options.curvature), options.rounds)
    columns = list(next(iter(rows.values())))
    print(f"milliseconds, N = {options.samples}, one thread, medians of {options.rounds} rounds\n")
    print("| network | " + " | ".join(f"+ {name}" if name in ADDED else name for name in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[column]:.3g}" for column in columns) + " |")


if __name__ == "__main__":
    main()
