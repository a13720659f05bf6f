"""A view as PNG, PDF (matplotlib) or CSV. Nothing here knows Bokeh."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lop.dashboard.look import DEAD, SPAN, THEMES, highest_margin, margin_colours
from lop.dashboard.view import STEPS_LABEL, Chart, Heat, Key, View

DPI = 160
COLUMN_INCHES, ROW_INCHES = 5.4, 3.2
LINES = {"solid": "-", "dashed": "--", "dotted": ":", "dotdash": "-."}
CSV_HEAD = ("chart", "series", "x", "y", "low", "high")


def picture(view: View, columns: int, kind: str, dpi: int = DPI) -> bytes:
    """The charts of a view with legend and caption; kind: "png" or "pdf" (text stays text)."""
    rows = max(1, math.ceil(len(view.charts) / columns))
    height = ROW_INCHES * rows if columns > 1 else 2 * ROW_INCHES * rows
    figure = Figure((COLUMN_INCHES * max(columns, 2), height + 1.0), layout="constrained")
    charts, below = figure.subfigures(2, 1, height_ratios=[height, 1.0])
    for i, chart in enumerate(view.charts):
        axes = charts.add_subplot(rows, columns, i + 1)
        _draw_heat(charts, axes, chart) if isinstance(chart, Heat) else _draw_chart(axes, chart)
    _write_below(below, view)
    target = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(target, format=kind, dpi=dpi)
    return target.getvalue()


def comma_separated(view: View) -> str:
    """Every number of a view, a row each: chart, series, x, y, low, high; of heat maps the series is the unit."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_HEAD)
    for chart in view.charts:
        writer.writerows(_heat_rows(chart) if isinstance(chart, Heat) else _chart_rows(chart))
    return text.getvalue()


def _chart_rows(chart: Chart) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for curve in chart.curves:
        nothing = np.full(len(curve.x), np.nan)
        low = nothing if curve.low is None else curve.low
        high = nothing if curve.high is None else curve.high
        for numbers in zip(curve.x, curve.y, low, high, strict=True):
            rows.append((chart.title, curve.label, *map(_number, numbers)))
    for bars in chart.bars:
        rows += [(chart.title, bars.label, round(x), _number(y), "", "") for x, y in zip(bars.x, bars.y, strict=True)]
    return rows


def _heat_rows(heat: Heat) -> list[tuple[Any, ...]]:
    return [
        (heat.title, f"unit {unit}", int(step), _number(value), "", "")
        for unit, row in zip(heat.units, heat.values, strict=True)
        for step, value in zip(heat.steps, row, strict=True)
    ]


def _number(value: float) -> float | str:
    return f"{value:.9g}" if math.isfinite(value) else ""


def _draw_chart(axes: Any, chart: Chart) -> None:
    for span in chart.spans:
        axes.axvspan(span.begin, span.end, color=SPAN, alpha=0.45 * span.strength, lw=0)
    for bars in chart.bars:
        axes.bar(bars.x, bars.y, bars.width, color=bars.colour)
    for curve in chart.curves:
        axes.plot(curve.x, curve.y, LINES[curve.dash], color=curve.colour, lw=1.4)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=curve.colour, alpha=0.2, lw=0)
    _dress(axes, chart)


def _draw_heat(figure: Any, axes: Any, heat: Heat) -> None:
    high = highest_margin(heat.values)
    colours = ListedColormap(margin_colours(high), bad="#808080", under=DEAD)
    spacing = float(heat.steps[1] - heat.steps[0]) if len(heat.steps) > 1 else float(heat.steps[0])
    extent = (heat.steps[0] - spacing / 2, heat.steps[-1] + spacing / 2, len(heat.values), 0)
    norm = Normalize(1e-12, high)
    image = axes.imshow(heat.values, cmap=colours, norm=norm, extent=extent, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes, label=heat.value_label, extend="min")
    for marker, wanted in (("v", True), ("^", False)):
        places = [(step, row + 0.5) for step, row, _, death in heat.events if death == wanted]
        if places:
            axes.plot(*zip(*places, strict=True), marker, color="#111111", mec="#FFFFFF", mew=0.4, ms=3.5)
    _dress(axes, heat)


def _dress(axes: Any, chart: Chart | Heat) -> None:
    axes.set_title(chart.title, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel(chart.x_label, fontsize=9)
    axes.set_ylabel(chart.y_label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.x_label == STEPS_LABEL:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _steps(value)))
        axes.xaxis.set_major_locator(MaxNLocator(6))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _steps(value: float) -> str:
    size, letter = next(((s, c) for s, c in ((1e6, " M"), (1e3, " k")) if abs(value) >= s), (1, ""))
    return f"{value / size:.6g}{letter}"


def _write_below(figure: Any, view: View) -> None:
    handles = [_handle(key) for key in view.keys if key.dash or key.patch]
    if handles:
        figure.legend(handles=handles, loc="upper center", ncols=min(4, len(handles)), fontsize=8, frameon=False)
    text = "\n".join(textwrap.wrap(view.caption, 150))
    figure.text(0.5, 0.02, text, ha="center", va="bottom", fontsize=7, color=THEMES["light"]["faint"])


def _handle(key: Key) -> Any:
    colour = key.colour or THEMES["light"]["text"]
    return (
        Patch(color=colour, label=key.label)
        if key.patch
        else Line2D([], [], color=colour, ls=LINES[key.dash], label=key.label)
    )
