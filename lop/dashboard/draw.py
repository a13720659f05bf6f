"""Charts and heat maps in Bokeh, drawn once and then fed: a refresh sends data, never new plots.

Their colours of ground, text and lines are set in the browser (page.js), for light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    CustomJSTickFormatter,
    DataRange1d,
    HoverTool,
    LinearColorMapper,
    Range1d,
)
from bokeh.plotting import figure

from lop.dashboard.look import DEAD, SPAN, highest_margin, margin_colours
from lop.dashboard.view import STEPS_LABEL, Chart, Curve, Heat

TOOLS = "pan,box_zoom,wheel_zoom,reset,save"
# lengths in pixels; the named patterns of Bokeh can hardly be told apart at this width
PATTERNS = {"solid": "solid", "dashed": "9 4", "dotted": "2 3", "dotdash": "2 3 9 3"}
# the library's own "0.0a" prints m for million
STEPS_FORMAT = """
const size = Math.abs(tick);
const text = (value) => String(Number(value.toPrecision(6)));
return size >= 1e6 ? text(tick / 1e6) + " M" : size >= 1e3 ? text(tick / 1e3) + " k" : text(tick);
"""


class Plot:
    """A Chart: spans, bars, bands and lines, each from one source, so that any number of them can come and go."""

    def __init__(self, chart: Chart, height: int, x_range: Any) -> None:
        self.figure = figure(
            title=chart.title, height=height, sizing_mode="stretch_width", tools=TOOLS, x_range=x_range
        )
        label_axes(self.figure, chart.x_label, chart.y_label)
        self._spans, self._bars = ColumnDataSource(), ColumnDataSource()
        self._bands, self._lines = ColumnDataSource(), ColumnDataSource()
        self.update(chart)
        spans = self.figure.vstrip(
            x0="begin", x1="end", source=self._spans, fill_color=SPAN, fill_alpha="alpha", line_color=None
        )
        bars = self.figure.vbar(
            x="x", top="top", width="width", source=self._bars, fill_color="colour", line_color=None
        )
        self.figure.patches("xs", "ys", source=self._bands, fill_color="colour", fill_alpha=0.2, line_color=None)
        lines = self.figure.multi_line(
            "xs", "ys", source=self._lines, line_color="colour", line_dash="dash", line_width=1.8
        )
        where = "$snap_x{0,0}" if chart.x_label == STEPS_LABEL else "$snap_x{0}"
        told = [("", "@label"), (chart.x_label, where), (chart.y_label, "$snap_y{0,0.[000]}")]
        self.figure.add_tools(
            HoverTool(renderers=[lines], tooltips=told, line_policy="nearest"),
            HoverTool(
                renderers=[bars], tooltips=[("", "@label"), (chart.x_label, "@task"), (chart.y_label, "@top{0.[00]}")]
            ),
            HoverTool(renderers=[spans], tooltips=[("", "@label")], point_policy="follow_mouse"),
        )

    def update(self, chart: Chart) -> None:
        """Shows another chart of the same title and axes."""
        self._lines.data = {
            "xs": [c.x for c in chart.curves],
            "ys": [c.y for c in chart.curves],
            "colour": [c.colour for c in chart.curves],
            "dash": [PATTERNS[c.dash] for c in chart.curves],
            "label": [c.label for c in chart.curves],
        }
        shapes = [(xs, ys, c.colour) for c in chart.curves for xs, ys in band_shapes(c)]
        self._bands.data = {name: [shape[i] for shape in shapes] for i, name in enumerate(("xs", "ys", "colour"))}
        self._bars.data = {
            "x": np.concatenate([b.x for b in chart.bars] or [np.zeros(0)]),
            "top": np.concatenate([b.y for b in chart.bars] or [np.zeros(0)]),
            "task": [f"{x:.0f}" for b in chart.bars for x in np.round(b.x)],
            "width": [b.width for b in chart.bars for _ in b.x],
            "colour": [b.colour for b in chart.bars for _ in b.x],
            "label": [b.label for b in chart.bars for _ in b.x],
        }
        self._spans.data = {
            "begin": [span.begin for span in chart.spans],
            "end": [span.end for span in chart.spans],
            "alpha": [0.45 * span.strength for span in chart.spans],
            "label": [span.label for span in chart.spans],
        }


class HeatPlot:
    """A Heat: an image of margins, deaths and revivals marked on it."""

    def __init__(self, heat: Heat, height: int) -> None:
        self._rows = Range1d(1, 0)
        self.figure = figure(
            title=heat.title, height=height, sizing_mode="stretch_width", tools=TOOLS, y_range=self._rows
        )
        label_axes(self.figure, heat.x_label, heat.y_label)
        self.figure.grid.visible = False
        self.figure.x_range.range_padding = 0
        self._mapper = LinearColorMapper(low=1e-12, low_color=DEAD, nan_color="#808080")
        self._image, self._events = ColumnDataSource(), ColumnDataSource()
        self.update(heat)
        image = self.figure.image("image", x="x", y=0, dw="dw", dh="dh", source=self._image, color_mapper=self._mapper)
        events = self.figure.scatter(
            "x", "y", source=self._events, marker="marker", size=6, fill_color="#111111", line_color="#FFFFFF"
        )
        bar = ColorBar(color_mapper=self._mapper, title=heat.value_label, width=14, title_standoff=10)
        self.figure.add_layout(bar, "right")
        told = [("unit", "@unit"), (heat.value_label, "@image{0.000}"), (heat.x_label, "$x{0,0}")]
        self.figure.add_tools(
            HoverTool(renderers=[events], tooltips=[("", "@text"), (heat.x_label, "@x{0,0}")]),
            HoverTool(renderers=[image], tooltips=told),
        )

    def update(self, heat: Heat) -> None:
        """Shows another map of the same kind."""
        rows, columns = heat.values.shape
        spacing = float(heat.steps[1] - heat.steps[0]) if columns > 1 else max(1.0, float(heat.steps[0]))
        self._mapper.high = highest_margin(heat.values)
        self._mapper.palette = margin_colours(self._mapper.high)
        self._rows.start, self._rows.end = rows, 0
        self._image.data = {
            "image": [np.ascontiguousarray(heat.values, np.float32)],
            "unit": [np.repeat(heat.units.astype(np.int32)[:, None], columns, axis=1)],
            "x": [float(heat.steps[0]) - spacing / 2],
            "dw": [spacing * columns],
            "dh": [rows],
        }
        self._events.data = {
            "x": [step for step, _, _, _ in heat.events],
            "y": [row + 0.5 for _, row, _, _ in heat.events],
            "text": [text for _, _, text, _ in heat.events],
            "marker": ["inverted_triangle" if death else "triangle" for _, _, _, death in heat.events],
        }


def draw(charts: Sequence[Chart | Heat], height: int) -> list[Plot | HeatPlot]:
    """Plots whose x axes move together."""
    shared = DataRange1d(range_padding=0.02, only_visible=False)
    return [HeatPlot(c, height) if isinstance(c, Heat) else Plot(c, height, shared) for c in charts]


def label_axes(plot: Any, x_label: str, y_label: str) -> None:
    """Names the axes; steps are written as 2 M, tasks as whole numbers."""
    plot.xaxis.axis_label, plot.yaxis.axis_label = x_label, y_label
    plot.title.text_font_size = "13px"
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "12px"
    plot.axis.axis_label_text_font_style = "normal"
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.min_border_right = 24
    if x_label == STEPS_LABEL:
        plot.xaxis.formatter = CustomJSTickFormatter(code=STEPS_FORMAT)
    else:
        plot.xaxis.ticker.min_interval = 1


def band_shapes(curve: Curve) -> list[tuple[np.ndarray, np.ndarray]]:
    """Closed outlines (xs, ys) of a curve's band, one per stretch without a gap of two points or more."""
    if curve.low is None or curve.high is None:
        return []
    present = np.isfinite(curve.low) & np.isfinite(curve.high)
    edges = np.flatnonzero(np.diff(np.r_[False, present, False].astype(int)))
    shapes = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin > 1:
            x, low, high = curve.x[begin:end], curve.low[begin:end], curve.high[begin:end]
            shapes.append((np.r_[x, x[::-1]], np.r_[low, high[::-1]]))
    return shapes
