"""What the stages that train a network share: the starts, the formula with its truth table, the margins."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from lop.lab.xor_formula import reading
from lop.lab.xor_formula.formula import formula, rounded, rounding_bound
from lop.lab.xor_formula.lesson import Lesson
from lop.lab.xor_formula.network import CORNERS, THRESHOLD, XOR, Network, right
from lop.lab.xor_formula.train import Attempt


def try_starts(
    lesson: Lesson, attempts: Iterable[Attempt], accept: Callable[[Network], bool] = lambda _: True
) -> Network | None:
    """Shows each start and returns the network of the one that was taken; None, and a failed check, if none was."""
    lines, taken, tried = [], None, 0
    for attempt in attempts:
        tried += 1
        taken = attempt.network if attempt.learned and accept(attempt.network) else None
        lines.append(f"start {attempt.start}: {verdict(attempt, taken is not None)}")
    lesson.lines(lines)
    lesson.checks_follow()
    lesson.check(f"one of the starts learned it ({tried} tried)", taken is not None)
    return taken


def verdict(attempt: Attempt, taken: bool) -> str:
    """What became of a start, as one line."""
    told = f"{attempt.steps} steps, error {attempt.mse:.3g}"
    if taken:
        return f"{told}, 4 of 4 right: taken"
    if attempt.learned:
        return f"{told}, 4 of 4 right, but its signs alone do not give XOR: next"
    if attempt.network.activation == "tanh":
        return f"{told}, stuck: next"
    states = [f"unit {j + 1} {state}" for j, state in enumerate(reading.states(attempt.network))]
    return f"{told}, stuck ({', '.join(states)}): next"


def evaluate(lesson: Lesson, network: Network, digits: int) -> None:
    """The formula, what it gives at each corner, and how far it is from the network."""
    printed = rounded(network, digits)
    lesson.text(f"The formula, its numbers rounded to {digits} significant digits:")
    lesson.lines(formula(network, digits))
    lesson.text(
        "Now put the corners into what is printed above, not into the network. "
        f"A value above {THRESHOLD[network.output]:g} means 1:"
    )
    lesson.table(
        pd.DataFrame(
            {
                **corner_columns(),
                "formula": [f"{value:.6f}" for value in printed(CORNERS)],
                "says": printed.says(CORNERS).astype(int),
            }
        )
    )
    moved = float(np.abs(printed(CORNERS) - network(CORNERS)).max())
    bound = rounding_bound(network, digits, CORNERS)
    lesson.checks_follow()
    lesson.check("the printed formula gives XOR at all four corners", right(printed.says(CORNERS)) == len(XOR))
    lesson.check(
        f"rounding to {digits} digits moves it by at most {bound:.1e} at a corner (it moved {moved:.1e})",
        moved <= bound,
    )


def corner_columns() -> dict[str, np.ndarray]:
    """The first columns of a truth table."""
    return {"A1": CORNERS[:, 0].astype(int), "A2": CORNERS[:, 1].astype(int), "XOR": XOR.astype(int)}


def near_lines(near: np.ndarray) -> list[str]:
    """The distances [H] as lines of text."""
    return [
        f"unit {j + 1}: {distance:.3f}" if np.isfinite(distance) else f"unit {j + 1}: no line, its weights are 0"
        for j, distance in enumerate(near)
    ]
