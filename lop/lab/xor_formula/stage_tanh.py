"""Stage 1: a network of nine numbers learns XOR, and its formula is read off it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lop.lab.xor_formula import figures, reading, train
from lop.lab.xor_formula.formula import total
from lop.lab.xor_formula.lesson import Lesson
from lop.lab.xor_formula.network import CORNERS, XOR, Network, right
from lop.lab.xor_formula.networks_shown import evaluate, near_lines, try_starts

PURPOSE = 1
GAINS = (1, 10, 100)


def teach(lesson: Lesson, seed: int, digits: int, max_starts: int) -> Network | None:
    """Trains, and explains what came out. None: no start learned XOR in a way that signs can be read from."""
    lesson.stage("1. A network learns XOR, and its formula is read off it")
    lesson.text(
        "XOR is 1 where exactly one of A1 and A2 is 1. The network has two hidden units with tanh and one output that "
        "adds them up: nine numbers. Gradient descent on the mean squared error at the four corners finds them "
        f"(rate {train.RATE}, all four at every step, weights drawn with deviation {train.START_STD}). Not every start "
        "arrives, so starts are tried in turn, and each is shown."
    )
    network = try_starts(lesson, train.attempts("tanh", seed, PURPOSE, max_starts, reading.readable), reading.readable)
    if network is not None:
        explain(lesson, network, digits)
    return network


def explain(lesson: Lesson, network: Network, digits: int) -> None:
    """Formula, truth table, the two half-planes and the margins of a tanh network."""
    evaluate(lesson, network, digits)
    read_signs(lesson, network, digits)
    keep_distance(lesson, network)
    lesson.draw(
        figures.network_figure(
            "stage_1_tanh",
            "A tanh network on XOR",
            network,
            "arrows point to the side +.",
            "the same corners and the same answer over the two units' outputs, where one straight line is enough.",
        )
    )


def read_signs(lesson: Lesson, network: Network, digits: int) -> None:
    """tanh as a question: which side of the line?"""
    lesson.text(
        "Where do these numbers come from? Read the signs. z is what stands inside a tanh; z = 0 is a straight line. "
        "Far on its one side tanh(z) is near +1, far on the other near -1. So a hidden unit asks each corner one "
        "question: on which side of my line are you?"
    )
    columns = {"A1": CORNERS[:, 0].astype(int), "A2": CORNERS[:, 1].astype(int)}
    z, sides = network.drives(CORNERS), reading.signs(network)
    for j in range(z.shape[1]):
        columns[f"z{j + 1}"] = [f"{value:.3f}" for value in z[:, j]]
        columns[f"tanh z{j + 1}"] = [f"{value:.3f}" for value in np.tanh(z[:, j])]
        columns[f"side {j + 1}"] = ["+" if s > 0 else "-" for s in sides[:, j]]
    lesson.table(pd.DataFrame(columns))
    lesson.lines(
        [
            f"unit {j + 1} says + at {reading.corner_names(sides[:, j] > 0)}: {reading.name(sides[:, j] > 0)}"
            for j in range(z.shape[1])
        ]
    )
    lesson.text("The output only has to combine the answers:")
    lesson.lines([f"({', '.join(p)})  at {corners}: XOR = {int(t)}" for p, corners, t in reading.patterns(network)])
    if reading.readable(network):
        combine(lesson, network, digits)
    else:
        lesson.text(unreadable(network))


def unreadable(network: Network) -> str:
    """Why the sides of the lines are not all there is to say about a network."""
    if right(network.says(CORNERS)) == len(XOR):
        return (
            "Here the signs do not settle the matter: this network also uses how steep its tanh is, so it cannot be "
            "read as half-planes alone."
        )
    if reading.fit_signs(network) is None:
        return "Whatever the output's numbers were, no sum of these sides is XOR: the lines would have to move."
    return "These sides would be enough for XOR; it is the output's numbers that combine them otherwise."


def combine(lesson: Lesson, network: Network, digits: int) -> None:
    """The exact formula with sign in the place of tanh, and how tanh gets there."""
    logic = reading.as_logic(network)
    if logic:
        lesson.text(f"In words: XOR = {logic}.")
    fitted = reading.fit_signs(network)
    terms = [(factor, f"sign(z{j + 1})") for j, factor in enumerate(fitted[:-1])]
    lesson.text(
        "With sign instead of tanh there is one equation for each pattern, and the output's numbers that solve them "
        "exactly are"
    )
    lesson.lines(["y = " + " ".join(total([*terms, (fitted[-1], "")], digits))])
    lesson.checks_follow()
    exact = reading.signs(network) @ fitted[:-1] + fitted[-1]
    lesson.check("that is XOR exactly at all four corners", bool(np.abs(exact - XOR).max() < 1e-12))
    lesson.check(
        "with sign for tanh and its own output numbers the network also answers XOR",
        right(reading.sign_answers(network)) == len(XOR),
    )
    steepen(lesson, network, fitted)


def steepen(lesson: Lesson, network: Network, fitted: np.ndarray) -> None:
    """The same lines with a steeper and steeper tanh."""
    lesson.text(
        "How good is 'tanh is nearly sign'? Multiply the numbers inside a tanh by a gain: its line stays where it is, "
        "its step becomes steep. With the output's numbers for sign:"
    )
    rows = []
    for gain in GAINS:
        steep = replace(
            network,
            hidden_weights=gain * network.hidden_weights,
            hidden_biases=gain * network.hidden_biases,
            output_weights=fitted[:-1],
            output_bias=float(fitted[-1]),
            output="linear",
        )
        smallest = float(np.abs(steep.hidden(CORNERS)).min())
        rows.append((gain, f"{smallest:.6f}", f"{np.abs(steep(CORNERS) - XOR).max():.1e}"))
    lesson.table(pd.DataFrame(rows, columns=["gain", "smallest |tanh z|", "largest |y - XOR|"]))


def keep_distance(lesson: Lesson, network: Network) -> None:
    """The distance that each line keeps from the nearest corner, as the monitor measures it."""
    near = reading.nearest(network)
    lesson.text("What margin do the lines keep? The monitor's distance from each line to the corner nearest to it:")
    lesson.lines(near_lines(near))
    lesson.text(
        f"A line that cuts one corner off the square can keep {reading.LARGEST_MARGIN:.3f} at most: it then stands half-way "
        "between that corner and the diagonal through its two neighbours. The mean squared error asks only for "
        "the right values at the corners, so nothing pulls the lines there."
    )
    if reading.readable(network) and len(near) == 2:
        lesson.checks_follow()
        lesson.check(
            f"each line keeps more than 0 and at most {reading.LARGEST_MARGIN:.3f}",
            bool(((near > 0) & (near <= reading.LARGEST_MARGIN + 1e-12)).all()),
        )
