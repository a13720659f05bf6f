"""Stage 2: one line tries, and why it must fail."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lop.analysis.style import Drawing, headline
from lop.lab.xor_formula import figures, linear
from lop.lab.xor_formula.formula import rounded
from lop.lab.xor_formula.lesson import Lesson
from lop.lab.xor_formula.network import CORNERS, XOR, Network, right

PURPOSE = 2
TEST_POINTS = 200
LINES = 100_000
#: the fit is 0.5 everywhere but for rounding: without this, the last bit would decide
TIE = 1e-9
THREE_OF_FOUR = np.array([1.0, 1.0, -0.5])  # A1 + A2 > 0.5


def teach(lesson: Lesson, seed: int, digits: int, network: Network | None) -> None:
    """Fits a line twice, proves that none can do it, and compares accuracies. network: stage 1's, if there is one."""
    lesson.stage("2. One line tries, and must fail")
    rng = np.random.default_rng([seed, PURPOSE])
    fit(lesson, rng)
    prove(lesson, rng)
    compare(lesson, rng, digits, network)
    lesson.draw(picture())


def fit(lesson: Lesson, rng: np.random.Generator) -> None:
    """Gradient descent and the normal equations."""
    lesson.text(
        f"Leave the hidden units out: y~=~w1*A1~+~w2*A2~+~b, the same error, rate {linear.RATE}, {linear.STEPS} steps "
        "from a random start. Beside it the closed form: where the slope of the error is zero, (X'X)~w~=~X'y."
    )
    descended, solved = linear.descend(CORNERS, XOR, rng), linear.closed_form(CORNERS, XOR)
    lesson.table(
        pd.DataFrame(
            [
                [by, *(f"{value:.6f}" for value in weights + 0.0), f"{linear.mse(CORNERS, XOR, weights):.6f}"]
                for by, weights in (("gradient descent", descended), ("closed form", solved))
            ],
            columns=["", "w1", "w2", "b", "error"],
        ).replace("-0.000000", "0.000000")
    )
    lesson.checks_follow()
    lesson.check(
        "both agree to 12 decimals on weights 0, bias 0.5",
        bool(np.abs([descended - [0, 0, 0.5], solved - [0, 0, 0.5]]).max() < 1e-12),
    )
    lesson.check(
        "the error is 0.25: as much as saying 0.5 to everything", abs(linear.mse(CORNERS, XOR, solved) - 0.25) < 1e-12
    )


def prove(lesson: Lesson, rng: np.random.Generator) -> None:
    """Why the best weights are zero, and why no threshold helps."""
    lesson.text(
        "Why zero? Subtract from A1, A2 and XOR their mean, 0.5. Whatever A1 is, XOR is 1 half of the time: the "
        "products of XOR with A1 and with A2 add up to 0 over the corners. A line has nothing to hold on to."
    )
    products = (CORNERS - 0.5).T @ (XOR - 0.5)
    lesson.checks_follow()
    lesson.check("centred XOR is orthogonal to centred A1 and to centred A2", bool((products == 0).all()))
    lesson.text(
        "But an answer only needs the right side of a threshold, not the right value. Could some other line have its 1s "
        "above 0? It would need"
    )
    lesson.lines(
        [
            "at 01:       w2 + b > 0        at 00:            b <= 0",
            "at 10:  w1      + b > 0        at 11:  w1 + w2 + b <= 0",
        ]
    )
    lesson.text(
        "Add the two on the left: w1~+~w2~+~2b~>~0. Add the two on the right: w1~+~w2~+~2b~<=~0. Both cannot be. "
        "(In a picture: the two diagonals of the square cross in the middle, and the middle would be on both sides.) "
        "Three of the four can be had: A1~+~A2~-~0.5~>~0 misses only~11."
    )
    best = linear.best_of_random_lines(CORNERS, XOR, rng, LINES)
    lesson.checks_follow()
    lesson.check("A1 + A2 - 0.5 > 0 is right at 3 of the 4 corners", right(line_says(CORNERS)) == 3)
    lesson.check(f"none of {LINES:,} random lines is right at more than 3 (a trial, not the proof)", best == 3)


def line_says(inputs: np.ndarray) -> np.ndarray:
    """The answers [N] of the line A1 + A2 - 0.5, which is as good as a line can be."""
    return linear.with_ones(inputs) @ THREE_OF_FOUR > 0


def fit_says(inputs: np.ndarray) -> np.ndarray:
    """The answers [N] of the best fit: 1 where it is above 0.5, which is nowhere."""
    return linear.with_ones(inputs) @ linear.closed_form(CORNERS, XOR) > 0.5 + TIE


def compare(lesson: Lesson, rng: np.random.Generator, digits: int, network: Network | None) -> None:
    """Accuracy on random points and on the truth table, for each model."""
    lesson.text(
        f"Two accuracies, not to be mixed up. 'Test points': {TEST_POINTS} drawn at random from the four corners, with "
        "repetition. 'Truth table': each corner once. The best fit is 0.5 everywhere, exactly on the threshold; that "
        "is read as 'not above', so it always says 0."
    )
    inputs = rng.integers(0, 2, (TEST_POINTS, 2)).astype(np.float64)
    truth = (inputs.sum(1) == 1).astype(np.float64)
    models = {"best fit of a line": fit_says, "best threshold, A1 + A2 > 0.5": line_says}
    if network is not None:
        models["stage 1's printed formula"] = rounded(network, digits).says
    shares = {name: (float((says(inputs) == truth).mean()), right(says(CORNERS))) for name, says in models.items()}
    lesson.table(
        pd.DataFrame(
            [(name, f"{100 * test:.1f} %", f"{table} of 4") for name, (test, table) in shares.items()],
            columns=["model", f"{TEST_POINTS} test points", "truth table"],
        )
    )
    lesson.checks_follow()
    lesson.check("the best fit is right at 2 corners of 4", shares["best fit of a line"][1] == 2)
    if network is not None:
        lesson.check(
            "the network's formula is right on all test points and all of the table",
            shares["stage 1's printed formula"] == (1.0, 4),
        )


def picture() -> Drawing:
    """The best fit, which decides nothing, and the best threshold, which misses a corner."""
    page = figures.sheet("stage_2_line", "One line on XOR")
    fit_panel, threshold_panel = page.panels
    figures.input_plane(fit_panel, lambda inputs: np.full(len(inputs), 0.5))
    headline(fit_panel, "best fit: 0.5 everywhere")
    figures.input_plane(threshold_panel, lambda inputs: linear.with_ones(inputs) @ THREE_OF_FOUR, 0.0)
    threshold_panel.plot(1, 1, "o", markersize=17, fillstyle="none", color=figures.NO)
    headline(threshold_panel, "best threshold: 3 of 4")
    caption = (
        "Left: the least-squares line; grey means neither answer. Right: A1 + A2 > 0.5; the ringed corner is on the "
        "wrong side, and whichever way the line is turned, one is."
    )
    return page.finish(figures.LEGEND, caption, counted="")
