"""Figures in the plane of the inputs and of the weights: hyperplanes at start and end, and mirror's trap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from lop.analysis.style import FAINT, Drawing, Sheet, headline
from lop.lab.xor_pair.failures import TRAP_FROM, TRAP_SLOPE, along_and_across
from lop.lab.xor_pair.figures import AMBER, BLUE, RED, dot
from lop.lab.xor_pair.measures import parameters_of
from lop.lab.xor_pair.starts import Starts
from lop.lab.xor_pair.strategies import strategy

LINES = 40
REACH = 1.8  # half the side of the plane that is drawn
PATHS = 8
PATH_EPOCHS = 60
NEAR_DEG = 80.0


def hyperplane_figure(rows: pd.DataFrame) -> Drawing:
    """The hyperplanes of the first solved or failed runs of normal, monitor and mirror, at the start or at the end."""
    panels = (
        ("normal", "start", True),
        ("normal", "end", True),
        ("normal", "end", False),
        ("monitor", "end", True),
        ("mirror", "start", False),
        ("mirror", "end", False),
    )
    sheet = Sheet("hyperplanes", "Hyperplanes at start and end", panels=6, columns=3, panel_height=2.5)
    for axes, (name, when, solved) in zip(sheet.panels, panels, strict=True):
        part = rows[(rows["strategy"] == name) & (rows["solved"] == solved)][:LINES]
        parameters = parameters_of(part, when)
        for unit, colour in enumerate((BLUE, AMBER)):
            segments = [segment for one in parameters[:, unit].tolist() if (segment := line_within(*one)) is not None]
            axes.add_collection(LineCollection(segments, colors=colour, linewidths=0.7, alpha=0.5))
        dot(axes)
        axes.set_xlim(-REACH, REACH)
        axes.set_ylim(-REACH, REACH)
        axes.set_aspect("equal")
        axes.set_xticks([-1, 0, 1])
        axes.set_yticks([-1, 0, 1])
        if axes in sheet.panels[3:]:
            axes.set_xlabel("$x_1$")
        if axes in sheet.panels[::3]:
            axes.set_ylabel("$x_2$")
        outcome = "solved" if solved else "failed"
        headline(axes, f"{name}, {outcome}: {when} ({len(part)})")
    caption = (
        f"Lines w·x + b = 0 of the first {LINES} runs of each kind (in brackets: how many there are); filled points:"
        " class 1, hollow: class 0. Solved runs end with both lines along the class-0 diagonal. A failed normal run has"
        " one such line and has lost the other. A mirror pair starts as one line; failed pairs start across that diagonal"
        " and end beyond all points."
    )
    return sheet.finish({"unit 1": BLUE, "unit 2": AMBER}, caption, counted="")


def line_within(x: float, y: float, b: float, reach: float = REACH) -> list[tuple[float, float]] | None:
    """The part of the line x·p₁ + y·p₂ + b = 0 inside the square of half side `reach`; None: it passes it by."""
    ends = []
    for edge in (-reach, reach):
        if y and abs(-(b + x * edge) / y) <= reach:
            ends.append((edge, -(b + x * edge) / y))
        if x and abs(-(b + y * edge) / x) <= reach:
            ends.append((-(b + y * edge) / x, edge))
    ends = sorted(set(ends))
    return [ends[0], ends[-1]] if len(ends) > 1 else None


def trap_figure(rows: pd.DataFrame) -> Drawing:
    """Mirror starts in the plane of w₁, the rule for failure, and what happens to a positive point's pre-activation."""
    part = rows[rows["strategy"] == "mirror"]
    sheet = Sheet("mirror_trap", "The perpendicular trap of mirror starts", panels=2, panel_height=2.9)
    plane, path = sheet.panels
    along, across = along_and_across(part)
    failed = ~part["solved"].to_numpy()
    plane.scatter(along[~failed], across[~failed], s=3, color=BLUE, alpha=0.35, linewidths=0)
    plane.scatter(along[failed], across[failed], s=7, color=RED, linewidths=0, zorder=3)
    height = np.array([TRAP_FROM, 2.2])
    plane.plot((height - TRAP_FROM) * TRAP_SLOPE, height, color=FAINT, linewidth=1.5)
    plane.set_xlim(0, 0.5)
    plane.set_ylim(0, 2.2)
    plane.set_xlabel("∣u∣: $w_1$ along the solution (1, −1)/√2")
    plane.set_ylabel("∣v∣: $w_1$ across it")
    headline(plane, f"starts, {failed.sum():,} of {len(part):,} runs fail")
    _draw_paths(path, part)
    caption = (
        f"Left: {len(part):,} mirror starts (the part with ∣u∣ < 0.5); line: ∣u∣ = (∣v∣ − 1/√2)/3. Left of it the bias falls"
        " faster than the class-0 output that drives it, and the positive points die before the weights can turn."
        f" Right: pre-activation of the positive point on unit 1's side, for the first {PATHS} failed runs and the first"
        f" {PATHS} solved ones that started above 1/√2 and more than {NEAR_DEG:.0f}° from the solution; below 0 the point"
        " is dead."
    )
    return sheet.finish({"solved": BLUE, "failed": RED}, caption, counted="")


def _draw_paths(axes: Axes, part: pd.DataFrame) -> None:
    near = (part["solution_angle_start_deg_1"] > NEAR_DEG) & (along_and_across(part)[1] > TRAP_FROM)
    for solved, colour in ((True, BLUE), (False, RED)):
        chosen = part[near & (part["solved"] == solved)][:PATHS]
        if len(chosen):
            for z in positive_paths(parameters_of(chosen, "start")).T:
                axes.plot(np.arange(len(z)), z, color=colour, linewidth=1)
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.set_xlim(0, PATH_EPOCHS)
    axes.set_ylim(-0.5, 1.1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("pre-activation of a positive point")
    headline(axes, "nearly perpendicular starts")


def positive_paths(start: Tensor) -> np.ndarray:
    """z₁ of the positive point that fires unit 1 at the start, epochs 0 to 60: starts [m, H, 3] to [T + 1, m].

    The runs are trained again: they take the same path alone as in the whole population.
    """
    side = torch.sign(start[:, 0, 0] - start[:, 0, 1])
    paths = torch.full((PATH_EPOCHS + 1, len(start)), torch.nan, dtype=start.dtype)

    def note(epoch: int, index: Tensor, parameters: Tensor) -> None:
        if epoch <= PATH_EPOCHS:
            unit = parameters[0]
            paths[epoch, index] = side[index] * (unit[0] - unit[1]) + unit[2]

    begun = start.movedim(0, -1)
    note(0, torch.arange(len(start)), begun)
    strategy("mirror").train(Starts(begun, torch.ones(len(start), dtype=torch.int64)), watch=note)
    return paths.numpy()
