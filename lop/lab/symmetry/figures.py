"""Figures of one training, of a comparison, and of a benchmark."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from torch import nn

from lop.analysis.colours import COLOURS
from lop.analysis.style import FAINT, SETTINGS, Drawing, Sheet, draw_band, headline
from lop.lab.symmetry import tables
from lop.lab.symmetry.data import field
from lop.lab.symmetry.rotations import uniform_rotations
from lop.lab.symmetry.training import Row
from lop.run.streams import stream

WITHOUT, WITH = COLOURS["std"], COLOURS["cbp"]
TRUTH = COLOURS["l2"]
DASHED = (0, (5, 1.5))
FAR = 4.0
DIRECTIONS = 200


def layer_colours(names: list[str]) -> dict[str, str]:
    """A colour per layer: hidden ones along a ramp from the first to the last, the output its own."""
    ramp = mpl.colormaps["viridis"]
    hidden = [name for name in names if name not in ("out", "-1")]
    found = {name: to_hex(ramp(0.25 + 0.5 * i / max(len(hidden) - 1, 1))) for i, name in enumerate(hidden)}
    return found | {name: WITHOUT for name in names if name in ("out", "-1")}


def training(history: list[Row]) -> Drawing:
    """Losses, orbit share and units of one training, over its epochs."""
    frame = pd.DataFrame(history)
    sheet = Sheet("training", "One training, epoch by epoch", panels=4)
    task, symmetry, share, units = sheet.panels
    epochs = frame["epoch"] + 1
    task.semilogy(epochs, frame["train_task_loss"], color=WITH, alpha=0.5)
    task.semilogy(epochs, frame["validation_task_loss"], color=WITH)
    headline(task, "task loss: training (pale), validation")
    if frame["train_sym_loss"].notna().any():
        symmetry.semilogy(epochs, frame["train_sym_loss"], color=WITH)
        with mpl.rc_context(SETTINGS):
            other = symmetry.twinx()
        other.plot(epochs, frame["lambda_sym"], color=FAINT, linestyle=DASHED)
        other.grid(visible=False)
        headline(symmetry, "symmetry loss in training; λ dashed, right")
    else:
        symmetry.semilogy(epochs, frame["orbit_variance_out"], color=WITH)
        headline(symmetry, "orbit variance of the output, validation")
    names = [name.removeprefix("orbit_share_") for name in frame.columns if name.startswith("orbit_share_")]
    colours = layer_colours(names)
    for name in names:
        share.semilogy(epochs, frame[f"orbit_share_{name}"], color=colours[name])
        if name != "out":
            units.plot(epochs, frame[f"dead_{name}"], color=colours[name])
    headline(share, "orbit share: variance that is orientation")
    headline(units, "dead units")
    for axes in sheet.panels:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    labels = {"output" if name == "out" else f"layer {name}": colour for name, colour in colours.items()}
    caption = (
        "Colours of the lower panels are layers. Orbit share and dead units are measured on the validation points."
    )
    return sheet.finish(labels, caption, counted="")


def field_profiles(networks: dict[str, tuple[nn.Module, str]], caption: str) -> Drawing:
    """f over the distance from the origin, and what networks (with their colours) say there in DIRECTIONS directions."""
    sheet = Sheet("profiles", "The field and what was learned", panels=len(networks), panel_height=2.4)
    radii = np.linspace(0, FAR, 241)
    directions = uniform_rotations(stream(0, "symmetry.directions"), DIRECTIONS)[:, :, 0]
    points = torch.from_numpy(radii[:, None, None] * directions).float()
    truth = field(radii[:, None] * np.array([1.0, 0.0, 0.0]))
    for axes, (name, (network, colour)) in zip(sheet.panels, networks.items(), strict=True):
        with torch.no_grad():
            said = network(points)[..., 0].numpy()
        draw_band(axes, radii, said.min(1), said.max(1), colour)
        axes.fill_between(radii, *np.quantile(said, [0.25, 0.75], axis=1), color=colour, alpha=0.35, linewidth=0)
        axes.plot(radii, truth, color=TRUTH)
        axes.plot(radii, np.median(said, axis=1), color=colour)
        axes.set_ylim(-1.0, 1.25)
        axes.set_xlabel("distance from the origin R")
        headline(axes, name if len(networks) > 1 else "")
    labels = {"f(R)": TRUTH} | {name: colour for name, (_, colour) in networks.items()}
    text = f"Median over {DIRECTIONS} directions, middle half, and from least to largest. "
    return sheet.finish(labels, text + caption, counted="")


def field_slices(network: nn.Module) -> Drawing:
    """The field, the network, and their difference in the plane z = 0."""
    sheet = Sheet("slices", "The plane z = 0", panels=3, columns=3, panel_height=2.2)
    line = np.linspace(-FAR, FAR, 161)
    x, y = np.meshgrid(line, line)
    plane = np.stack((x, y, np.zeros_like(x)), -1)
    with torch.no_grad():
        said = network(torch.from_numpy(plane).float())[..., 0].numpy()
    truth = field(plane)
    images = {"the field": truth, "the network": said, "network − field": said - truth}
    for axes, (name, values) in zip(sheet.panels, images.items(), strict=True):
        limit = float(np.abs(values).max()) if name == "network − field" else 1.0
        axes.imshow(values, extent=(-FAR, FAR, -FAR, FAR), origin="lower", vmin=-limit, vmax=limit, cmap="RdBu_r")
        axes.grid(visible=False)
        axes.set_xlabel("x")
        headline(axes, f"{name}, −{limit:.2g} … {limit:.2g}")
    sheet.panels[0].set_ylabel("y")
    caption = (
        "Colours from the least, blue, to the most, red, over each panel's range. Rings in the difference are errors of the "
        "profile; anything else is orientation."
    )
    return sheet.finish({}, caption, counted="")


def pairs(frame: pd.DataFrame) -> Drawing:
    """Test losses of the same seeds without and with the symmetry loss."""
    sheet = Sheet("pairs", "The same seeds without and with the symmetry loss", panels=2)
    base, rest = tables.baseline(frame), frame[frame["symmetry_layer"] != "none"].set_index("seed")
    layer = str(rest["symmetry_layer"].iloc[0])
    column = f"orbit_variance_{'out' if layer == '-1' else layer}"
    for axes, name, title in zip(
        sheet.panels,
        ("test_task_loss", column),
        ("test task loss", f"symmetry loss at {tables.shown_layer(layer)}"),
        strict=True,
    ):
        for seed in rest.index:
            values = [base.loc[seed, name], rest.loc[seed, name]]
            axes.plot([0, 1], values, color=FAINT, linewidth=0.8)
            axes.scatter([0, 1], values, color=[WITHOUT, WITH], s=14, zorder=3)
        for place, (part, colour) in enumerate(((base, WITHOUT), (rest, WITH))):
            _bar(axes, place + (0.12 if place else -0.12), tables.geometric_mean(part[name]), colour)
        axes.set_yscale("log")
        axes.set_xlim(-0.5, 1.5)
        axes.set_xticks([0, 1], ["without", "with"])
        axes.grid(visible=False, axis="x")
        headline(axes, title)
    caption = "A line is a seed. Beside the points: geometric mean and 95 % t interval of the logarithms."
    return sheet.finish({}, caption, counted="")


def layers(frame: pd.DataFrame) -> Drawing:
    """Orbit share, dead and at-risk units, margins and ranks of every hidden layer, without and with."""
    titles = {
        "orbit_share": "orbit share",
        "dead": "dead units",
        "at_risk": "at-risk units",
        "always_on": "always-on units",
        "mean_margin": "mean margin",
        "effective_rank": "effective rank",
    }
    sheet = Sheet("layers", "Every hidden layer, without and with the symmetry loss", panels=len(titles), columns=3)
    places = np.arange(1, tables.num_hidden(frame) + 1)
    without = frame["symmetry_layer"] == "none"
    for axes, (name, title) in zip(sheet.panels, titles.items(), strict=True):
        for part, colour in ((frame[without], WITHOUT), (frame[~without], WITH)):
            found = np.array([tables.mean(part[f"{name}_{k}"]) for k in places])
            axes.plot(places, found[:, 0], color=colour, marker="o", markersize=3)
            draw_band(axes, places, found[:, 1], found[:, 2], colour)
        if name == "orbit_share":
            axes.set_yscale("log")
        axes.set_xticks(places)
        axes.set_xlabel("hidden layer")
        headline(axes, title)
    caption = (
        "Means over seeds and 95 % t intervals, on the test points; the margin monitor's ε is 0.1. Orbit share: how much of a "
        "layer's variance is orientation."
    )
    return sheet.finish({"without": WITHOUT, "with": WITH}, caption, counted="")


def over_lambda(frame: pd.DataFrame, column: str, name: str, title: str) -> Drawing:
    """A panel per symmetry layer: a positive number over λ, by seed and in the mean; the band is without symmetry loss.

    column: of the frame; "<name>_*" is the symmetry layer's own.
    """
    found = [layer for layer in sorted(frame["symmetry_layer"].unique(), key=tables.layer_order) if layer != "none"]
    sheet = Sheet(name, title, panels=len(found), columns=min(4, max(2, len(found))), panel_height=1.9)
    for axes in sheet.panels[1:]:
        axes.sharey(sheet.panels[0])
    for axes, layer in zip(sheet.panels, found, strict=True):
        _panel(axes, frame, layer, column.replace("*", "out" if layer == "-1" else layer))
        headline(axes, f"at {tables.shown_layer(layer)}")
    sheet.panels[0].set_ylabel(column.removesuffix("_*").replace("_", " "))
    caption = "Points are seeds; lines geometric means, bands 95 % t intervals of the logarithms; 0 is not drawn."
    return sheet.finish({"without symmetry loss": WITHOUT, "with": WITH}, caption, counted="")


def _panel(axes: Axes, frame: pd.DataFrame, layer: str, column: str) -> None:
    base = tables.geometric_mean(tables.baseline(frame)[column])
    axes.axhline(base.centre, color=WITHOUT, linewidth=1)
    if np.isfinite(base.low):
        axes.axhspan(base.low, base.high, color=WITHOUT, alpha=0.2, linewidth=0)
    parts = [(weight, part[column]) for key, weight, part in tables.groups(frame) if key == layer]
    for weight, values in parts:
        axes.scatter([weight] * len(values), values, color=WITH, s=5, alpha=0.4, linewidth=0)
    line = np.array([(weight, *tables.geometric_mean(values)) for weight, values in parts])
    # a layer that has died is invariant: 0 has no place on this axis
    line[line[:, 1] == 0, 1] = np.nan
    axes.plot(line[:, 0], line[:, 1], color=WITH, marker="o", markersize=3)
    draw_band(axes, line[:, 0], line[:, 2], line[:, 3], WITH)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("λ")


def units_over_lambda(frame: pd.DataFrame) -> Drawing:
    """Dead, at-risk and always-on units of all hidden layers and the last one's rank over λ, a line per symmetry layer."""
    hidden = range(1, tables.num_hidden(frame) + 1)
    panels: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        f"{name.replace('_', '-')} units, all hidden layers": lambda part, name=name: part[
            [f"{name}_{k}" for k in hidden]
        ].sum(axis=1)
        for name in ("dead", "at_risk", "always_on")
    }
    panels["effective rank of the last hidden layer"] = lambda part: part[f"effective_rank_{hidden[-1]}"]
    found = [layer for layer in sorted(frame["symmetry_layer"].unique(), key=tables.layer_order) if layer != "none"]
    colours = layer_colours(found)
    sheet = Sheet("units_over_lambda", "What the symmetry loss does to the units", panels=len(panels))
    for axes, (title, number) in zip(sheet.panels, panels.items(), strict=True):
        if len(tables.baseline(frame)):
            axes.axhline(number(tables.baseline(frame)).mean(), color=FAINT, linestyle=DASHED)
        for layer in found:
            parts = [(weight, tables.mean(number(part))) for key, weight, part in tables.groups(frame) if key == layer]
            axes.plot(
                [weight for weight, _ in parts], [m.centre for _, m in parts], color=colours[layer], marker="o", ms=3
            )
        axes.set_xscale("log")
        axes.set_xlabel("λ")
        axes.set_ylim(bottom=0)
        headline(axes, title)
    labels = {f"symmetry loss at {tables.shown_layer(layer)}": colour for layer, colour in colours.items()}
    caption = "Means over seeds, on the test points. Dashed: without a symmetry loss."
    return sheet.finish(labels, caption, counted="")


def _bar(axes: Axes, place: float, estimate: tables.Estimate, colour: str) -> None:
    axes.plot([place], [estimate.centre], color=colour, marker="D", markersize=4, linestyle="")
    if np.isfinite(estimate.low):
        axes.plot([place, place], [estimate.low, estimate.high], color=colour, linewidth=2)
