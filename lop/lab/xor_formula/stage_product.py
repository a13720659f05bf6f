"""Stage 4: one product, and a line is enough."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from lop.analysis.style import Drawing, headline
from lop.lab.xor_formula import figures, linear
from lop.lab.xor_formula.formula import total
from lop.lab.xor_formula.lesson import Lesson
from lop.lab.xor_formula.network import CORNERS, XOR

PURPOSE = 4
STEPS = 10_000
NAMES = ("A1", "A2", "A1*A2", "")
EXACT = np.array([1.0, 1.0, -2.0, 0.0])


def features(inputs: np.ndarray) -> np.ndarray:
    """A1, A2 and their product: [N, 2] to [N, 3]."""
    return np.column_stack([inputs, inputs.prod(1)])


def teach(lesson: Lesson, seed: int, digits: int) -> None:
    """Fits the line with the product, twice; then asks the same of three inputs."""
    lesson.stage("4. One product, and a line is enough")
    fit(lesson, seed, digits)
    third_input(lesson)
    lesson.draw(picture())


def fit(lesson: Lesson, seed: int, digits: int) -> None:
    """Gradient descent and the normal equations over A1, A2 and A1*A2."""
    table = features(CORNERS)
    slow = linear.slowest(table)
    lesson.text(
        "Keep the linear model of stage 2 and give it one more column: the product A1*A2, which is 1 at 11 only. The "
        f"columns now overlap, so the descent is slower: each step leaves {slow:.4f} of the error in the weights along "
        f"the slowest direction. Hence {STEPS:,} steps at rate {linear.RATE}."
    )
    descended = linear.descend(table, XOR, np.random.default_rng([seed, PURPOSE]), STEPS)
    solved = linear.closed_form(table, XOR)
    lesson.lines(
        [
            f"gradient descent  y = {' '.join(total(list(zip(descended.round(12), NAMES, strict=True)), digits))}",
            f"closed form       y = {' '.join(total(list(zip(solved.round(12), NAMES, strict=True)), digits))}",
        ]
    )
    lesson.checks_follow()
    lesson.check(
        "both are A1 + A2 - 2*A1*A2 to 9 decimals",
        bool(np.abs([descended - EXACT, solved - EXACT]).max() < 1e-9),
    )
    lesson.check("A1 + A2 - 2*A1*A2 is XOR exactly", bool((linear.with_ones(table) @ EXACT == XOR).all()))
    lesson.text(
        "Why this one? A1 + A2 counts the ones: 0, 1, 1, 2. The only wrong value is the 2 at 11, and the product is the "
        "switch that is on exactly there: take 2 off. Written around the middle it is "
        "y~-~0.5~=~-2*(A1~-~0.5)*(A2~-~0.5): "
        "a saddle. Where it is 0.5, one of the factors is 0: the border is a cross. The network of stage 1 had to build "
        "with two lines what the product has by itself."
    )


def third_input(lesson: Lesson) -> None:
    """XOR of three: pairs are of no use, the product of all three is."""
    lesson.text(
        "And with a third input? Ask for 1 where the number of ones is odd. Least squares over all eight corners, with "
        "more and more products as columns:"
    )
    corners, truth = linear.parity(3)
    rows, errors = [], []
    table = np.empty((len(corners), 0))
    for order, name in enumerate(("A1, A2, A3", "and the three pairs", "and A1*A2*A3"), start=1):
        products = [corners[:, list(chosen)].prod(1) for chosen in combinations(range(3), order)]
        table = np.column_stack([table, *products])
        weights = linear.closed_form(table, truth)
        errors.append(linear.mse(table, truth, weights))
        rows.append((name, f"{errors[-1]:.6f}"))
    lesson.table(pd.DataFrame(rows, columns=["columns", "error"]))
    lesson.text(
        "Pairs do not help at all. With any two inputs known, the answer is still 1 half of the time; only all three "
        "together say something. With the triple the formula is "
        "A1~+~A2~+~A3~-~2*(A1*A2~+~A1*A3~+~A2*A3)~+~4*A1*A2*A3."
    )
    lesson.checks_follow()
    lesson.check(
        "for three inputs the error is 0.25 without the triple product",
        bool(np.abs(np.array(errors[:2]) - 0.25).max() < 1e-12),
    )
    lesson.check(
        "with it the formula is exact: weights 1 1 1, -2 -2 -2, 4, bias 0",
        bool(np.abs(weights - [1, 1, 1, -2, -2, -2, 4, 0]).max() < 1e-9),
    )


def picture() -> Drawing:
    """The saddle over the inputs, and the line over count and product."""
    page = figures.sheet("stage_4_product", "The product as a feature")
    saddle, plane = page.panels
    figures.input_plane(saddle, lambda inputs: linear.with_ones(features(inputs)) @ EXACT)
    headline(saddle, "A1 + A2 - 2·A1·A2 > 0.5")
    places = np.column_stack([CORNERS.sum(1), CORNERS.prod(1)])
    figures.regions(plane, lambda p: p[:, 0] - 2 * p[:, 1], 0.5, (-0.6, -0.4), (2.6, 1.4))
    figures.points(plane, places)
    plane.set_xticks([0, 1, 2])
    plane.set_yticks([0, 1])
    plane.set_xlabel("A1 + A2")
    plane.set_ylabel("A1·A2")
    headline(plane, "the same, over its features")
    caption = (
        "Left: the border of the exact formula is a cross. Right: with the product as an axis of its own the corners "
        "01 and 10 fall together, and one straight line separates them from the others."
    )
    return page.finish(figures.LEGEND, caption, counted="")
