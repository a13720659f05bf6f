"""One picture a stage: where a model says 1, in the plane of its inputs and in the plane that its last sum sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from lop.analysis.colours import COLOURS
from lop.analysis.style import FAINT, INK, PAPER, SETTINGS, Drawing, Sheet, headline
from lop.lab.xor_formula.network import CORNERS, THRESHOLD, XOR, Network
from lop.lab.xor_formula.reading import corner_names

NO, YES = COLOURS["std"], COLOURS["cbp"]
LEGEND = {"XOR = 0": NO, "XOR = 1": YES}
GRID = 301
HEIGHT_INCHES = 3.1
DASHES = ("--", ":")
MIDDLE = np.array([0.5, 0.5])
MAX_NAMED = 4
Values = Callable[[np.ndarray], np.ndarray]


def sheet(name: str, title: str) -> Sheet:
    """A figure of two square panels."""
    return Sheet(name, title, panels=2, panel_height=HEIGHT_INCHES)


def regions(axes: Axes, values: Values, threshold: float, low: tuple[float, float], high: tuple[float, float]) -> None:
    """Colours where values(points [N, 2]) is above and below the threshold, with the border between them."""
    x, y = (np.linspace(low[k], high[k], GRID) for k in range(2))
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    height = values(points).reshape(GRID, GRID) - threshold
    axes.contourf(x, y, np.sign(height), levels=[-2, -0.5, 0.5, 2], colors=[NO, FAINT, YES], alpha=0.22)
    if height.min() < 0 < height.max():
        axes.contour(x, y, height, levels=[0], colors=[FAINT], linewidths=1.2)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.grid(False)


def points(axes: Axes, places: np.ndarray) -> None:
    """The four corners at places [4, 2], in the colours of their XOR, named; corners on one spot share a label."""
    span = np.ptp(np.array([axes.get_xlim(), axes.get_ylim()]), axis=1)
    seen: set[int] = set()
    for k in range(len(places)):
        together = (np.abs(places - places[k]) < 0.05 * span).all(1)
        axes.plot(*places[k], "o", markersize=9, color=YES if XOR[k] else NO, markeredgecolor=PAPER)
        if k not in seen:
            offset = (9, 7) if places[k][0] < axes.get_xlim()[0] + 0.75 * span[0] else (-9, 7)
            axes.annotate(
                corner_names(together),
                places[k],
                xytext=offset,
                textcoords="offset points",
                ha="left" if offset[0] > 0 else "right",
                fontsize=SETTINGS["font.size"],
                color=INK,
            )
        seen |= set(np.flatnonzero(together))


def input_plane(axes: Axes, values: Values, threshold: float = 0.5) -> None:
    """The plane of A1 and A2 with what the model says there, and the corners."""
    regions(axes, values, threshold, (-0.5, -0.5), (1.5, 1.5))
    points(axes, CORNERS)
    axes.set_aspect("equal")
    axes.set_xlabel("A1")
    axes.set_ylabel("A2")
    axes.set_xticks([0, 1])
    axes.set_yticks([0, 1])


def unit_lines(axes: Axes, network: Network) -> None:
    """Each unit's line z = 0, with an arrow to the side where z > 0, as far as it crosses the panel."""
    taken = [*CORNERS, *(CORNERS + np.array([0.15, 0.1]))]  # the corners and their names
    for unit, (w, b) in enumerate(zip(network.hidden_weights, network.hidden_biases, strict=True)):
        norm = float(np.linalg.norm(w))
        if norm == 0:
            continue
        normal, along = w / norm, np.array([-w[1], w[0]]) / norm
        # the point of the line nearest to the middle of the square
        foot = MIDDLE - (w @ MIDDLE + b) / norm * normal
        ends = np.stack([foot - 4 * along, foot + 4 * along])
        axes.plot(*ends.T, color=FAINT, linestyle=DASHES[unit % len(DASHES)], scalex=False, scaley=False)
        starts = foot + np.linspace(-1.2, 1.2, 49)[:, None] * along
        starts = starts[(np.abs(starts + 0.24 * normal - MIDDLE) < 0.85).all(1)]
        if len(starts) and len(network.hidden_biases) <= MAX_NAMED:
            room = np.linalg.norm(starts[:, None] + 0.2 * normal - np.array(taken), axis=2).min(1)
            start = starts[room.argmax()]
            taken += [start, start + 0.25 * normal]
            axes.annotate("", start + 0.17 * normal, start, arrowprops={"arrowstyle": "->", "color": FAINT})
            label = start + 0.25 * normal
            axes.annotate(f"unit {unit + 1}", label, ha="center", va="center", fontsize=7, color=INK)


def hidden_plane(axes: Axes, network: Network) -> None:
    """The plane of the two hidden units' outputs, where the output is a sum and its border a line."""
    places = network.hidden(CORNERS)
    room = 0.25 * np.ptp(places, axis=0) + 0.1
    low, high = places.min(0) - room, places.max(0) + room
    threshold = THRESHOLD["linear"] if network.output == "linear" else 0.0
    regions(axes, lambda h: h @ network.output_weights + network.output_bias, threshold, tuple(low), tuple(high))
    points(axes, places)
    axes.set_xlabel("output of unit 1")
    axes.set_ylabel("output of unit 2")


def network_figure(name: str, title: str, network: Network, arrows: str, right: str) -> Drawing:
    """A network seen from its inputs and, if it has two hidden units, from its output.

    arrows, right: what the caption says of the arrows, and of the panel on the right.
    """
    two = len(network.hidden_biases) == 2
    page = sheet(name, title) if two else Sheet(name, title, panels=1, panel_height=HEIGHT_INCHES + 0.5)
    input_plane(page.panels[0], network, THRESHOLD[network.output])
    unit_lines(page.panels[0], network)
    headline(page.panels[0], "what goes in")
    if two:
        hidden_plane(page.panels[1], network)
        headline(page.panels[1], "what the hidden units make of it")
    left = f"background colour is the network's answer, grey lines with dashes are the units' z = 0, {arrows}"
    return page.finish(LEGEND, f"Left: {left} Right: {right}" if two else left.capitalize(), counted="")
