"""Stage 3: two layers with ReLU, which fold the plane."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lop.lab.xor_formula import figures, linear, reading, train
from lop.lab.xor_formula.lesson import Lesson
from lop.lab.xor_formula.network import CORNERS, XOR, Network
from lop.lab.xor_formula.networks_shown import corner_columns, evaluate, near_lines, try_starts

PURPOSE = 3
#: a unit that gives less than this at a corner is off there: the descent ends with lines that touch corners
OFF = 1e-5


def teach(lesson: Lesson, seed: int, digits: int, max_starts: int) -> None:
    """Trains, shows why starts fail, and explains the fold of the one that did not."""
    lesson.stage("3. Two layers with ReLU: the plane is folded")
    lesson.text(
        "The same nine numbers, but the hidden units give max(0, z): nothing on one side of their line, z on the "
        "other. On its off side a ReLU passes no gradient, so a unit whose line has left all four "
        "corners behind is dead: it never learns again. An always-on unit is only a line. With two units there is no spare."
    )
    network = try_starts(lesson, train.attempts("relu", seed, PURPOSE, max_starts))
    if network is not None:
        explain(lesson, network, digits, trained=True)


def explain(lesson: Lesson, network: Network, digits: int, trained: bool = False) -> None:
    """Formula, truth table and the fold of a ReLU network. trained: here, on XOR, so that the fold must have worked."""
    evaluate(lesson, network, digits)
    fold(lesson, network, trained)
    touch(lesson, network)
    lesson.draw(
        figures.network_figure(
            "stage_3_relu",
            "A ReLU network on XOR",
            network,
            "arrows point to the side where the unit is on.",
            "where the hidden layer puts the four corners, and the line that the last layer draws there.",
        )
    )


def fold(lesson: Lesson, network: Network, trained: bool) -> None:
    """Where the hidden layer puts the corners, and how well a line fits XOR there."""
    h = network.hidden(CORNERS)
    lesson.text("What does the hidden layer do? It carries each corner to a new place (h1, h2):")
    columns = {f"h{j + 1}": [f"{value:.3f}" for value in h[:, j]] for j in range(h.shape[1])}
    lesson.table(pd.DataFrame({**corner_columns(), **columns}))
    lesson.lines(
        [
            f"unit {j + 1} is on at {reading.corner_names(h[:, j] > OFF)}: {reading.name(h[:, j] > OFF)}"
            for j in range(h.shape[1])
        ]
    )
    lesson.text(
        "Everything on a unit's off side lands on the same value 0: the paper is creased along the unit's line, and "
        "the far part is pressed flat. In the square the 1s and the 0s were crossed. The last layer sees only the new "
        "places, and it is a line. So fit a line to them, with stage 2's closed form:"
    )
    # two units may carry the corners onto one line: then several weights fit, and the smallest are taken
    weights = np.linalg.lstsq(linear.with_ones(h), XOR, rcond=None)[0]
    error = linear.mse(h, XOR, weights)
    lesson.lines([f"error {error:.3g}; over (A1, A2) the best was 0.25"])
    if trained:
        lesson.checks_follow()
        lesson.check("over the new places a line fits XOR with an error below 1e-11", error < 1e-11)


def touch(lesson: Lesson, network: Network) -> None:
    """What margin the lines keep."""
    near = reading.nearest(network)
    lesson.text("And the margins? The monitor's distance from each line to its nearest corner:")
    lesson.lines([f"{told} ({s})" for told, s in zip(near_lines(near), reading.states(network), strict=True)])
    if near.min() < OFF:
        lesson.text(
            "After gradient descent a line that touches a corner is no accident. The gradient of a corner pushes a unit "
            "only while the unit is on there; the moment it is off, the push ends, and the line comes to rest at the "
            "corner."
        )
