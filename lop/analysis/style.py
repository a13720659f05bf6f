"""One look for all figures: sizes, lines, bands, legends beside the data, captions, and how a figure is saved."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from lop.analysis.colours import colour_of, in_order
from lop.run.files import disk
from lop.run.progress import short

INK, PAPER = "#1d2127", "#ffffff"
DARK_INK, DARK_PAPER = "#dfe3e8", "#16181d"
MAX_OUTLIER_SPANS = 5.0
FAINT = "#8c9198"  # as far from the light paper as from the dark
WIDTH_INCHES = 7.2  # two columns of a journal
DPI = 200
LEGEND_LETTERS_PER_INCH = 13
CAPTION_SIZE, CAPTION_LETTERS_PER_INCH = 6.5, 21
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
SETTINGS = {
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "lop",
}


@dataclass
class Drawing:
    """A finished figure: file name without ending, headline, and the caption that is also drawn below it."""

    name: str
    title: str
    caption: str
    figure: Figure


class Sheet:
    """A figure of panels that share one legend above them, and a caption below.

    sheet = Sheet("ant_return", "Return", columns=2, panels=4)
    """

    def __init__(self, name: str, title: str, panels: int, columns: int = 2, panel_height: float = 2.1) -> None:
        self.name, self.title = name, title
        columns = min(columns, panels)
        rows = -(-panels // columns)
        width = WIDTH_INCHES if columns > 1 else 0.62 * WIDTH_INCHES
        with mpl.rc_context(SETTINGS):
            self.figure = Figure(figsize=(width, rows * panel_height + 0.9), facecolor=PAPER, layout="constrained")
            FigureCanvasAgg(self.figure)
            axes = self.figure.subplots(rows, columns, squeeze=False)
        for unused in axes.flat[panels:]:
            unused.set_visible(False)
        self.panels: list[Axes] = list(axes.flat[:panels])

    def finish(self, labels: dict[str, str], caption: str, counted: str = "Seeds") -> Drawing:
        """The drawing. labels: colour of each legend entry, by its text (see `legend_of`).

        counted: what the legend's numbers count; the caption repeats the legend after it. "": it does not.
        """
        with mpl.rc_context(SETTINGS):
            handles = [Patch(color=colour, label=text) for text, colour in labels.items()]
            if handles:
                room = self.figure.get_size_inches()[0] * LEGEND_LETTERS_PER_INCH
                columns = max(1, min(len(handles), int(room / (max(map(len, labels)) + 4))))
                self.figure.legend(
                    handles=handles, loc="outside upper left", ncols=columns, frameon=False, handlelength=1
                )
            if labels and counted:
                caption = f"{caption} {counted}: {', '.join(labels)}."
            width = self.figure.get_size_inches()[0]
            text = textwrap.fill(caption, int(width * CAPTION_LETTERS_PER_INCH))
            self.figure.supxlabel(text, fontsize=CAPTION_SIZE, color=FAINT, x=0.01, ha="left")
        return Drawing(self.name, self.title, caption, self.figure)


def headline(axes: Axes, text: str) -> None:
    """What a panel shows, above its left end, where long names have room."""
    axes.set_title(text, loc="left", fontsize=SETTINGS["font.size"])


def steps_axis(axes: Axes, label: str = "environment steps") -> None:
    """Steps written as 500k, 2M."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_xlabel(label)
    axes.margins(x=0.01)


def cut_outliers(axes: Axes, values: np.ndarray) -> bool:
    """Fits the axis to all but the outermost fifth of the values if those make up most of its length; whether it did."""
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [0.1, 0.9])
    span = high - low
    if span == 0 or np.ptp(known) < MAX_OUTLIER_SPANS * span:
        return False
    axes.set_ylim(low - 0.5 * span, high + 0.5 * span)
    return True


def draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, whole: np.ndarray, colour: str, dash: object = "-") -> None:
    """A line; faint where it holds fewer seeds than its group has."""
    axes.plot(x, np.where(whole, y, np.nan), color=colour, linestyle=dash)
    # one point of overlap, so that the faint part begins where the other ends
    rest = ~whole | np.append(~whole[1:], False)
    if (~whole).any():
        axes.plot(x, np.where(rest, y, np.nan), color=colour, linestyle=dash, alpha=0.4, linewidth=0.9)
    known = np.isfinite(y)
    alone = known & ~np.append(known[1:], False) & ~np.append(False, known[:-1])
    if alone.any():  # no line reaches them
        axes.plot(x[alone], y[alone], ".", color=colour, markersize=3)


def draw_band(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> None:
    """A band, cut where its bounds are not known; a point known alone gets a bar."""
    axes.fill_between(x, low, high, where=np.isfinite(low), color=colour, alpha=0.2, linewidth=0)


def dashes_of(labels: list[str], algos: list[str]) -> dict[str, object]:
    """A line style per label: the first label of an algorithm is solid, its variations are dashed."""
    seen: dict[str, int] = {}
    styles = {}
    for label, algo in zip(labels, algos, strict=True):
        styles[label] = DASHES[seen.get(algo, 0) % len(DASHES)]
        seen[algo] = seen.get(algo, 0) + 1
    return styles


def by_label(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each label, in the order of the publications: as legends and points are ordered everywhere."""
    parts = [(str(label), part) for label, part in frame.groupby("label", observed=True)]
    order = in_order([str(part["algo"].iloc[0]) for _, part in parts])
    return sorted(parts, key=lambda pair: (order.index(str(pair[1]["algo"].iloc[0])), pair[0]))


def legend_of(frame: pd.DataFrame) -> dict[str, str]:
    """Colours by legend entry, "cbp (n = 3)" for a label of three runs."""
    algos = list(frame["algo"].astype(str).unique())
    found = {}
    for label, part in by_label(frame):
        # no line break within the brackets
        text = f"{label} (n = {part['run'].nunique()})".replace(" = ", "\u00a0=\u00a0")
        found[text] = colour_of(str(part["algo"].iloc[0]), algos)
    return found


def darken(figure: Figure) -> None:
    """Turns a light figure into one for dark paper; data colours suit both."""
    figure.set_facecolor(DARK_PAPER)
    for axes in figure.axes:
        axes.set_facecolor(DARK_PAPER)
        axes.tick_params(colors=DARK_INK)
    for text in figure.findobj(Text):
        if text.get_color() == INK:
            text.set_color(DARK_INK)


def save(drawing: Drawing, folder: Path) -> tuple[bytes, bytes]:
    """Writes <name>.png and <name>.pdf; returns PNGs for light and for dark pages."""
    with mpl.rc_context(SETTINGS), disk("write figures into", folder):
        # laid out once: the engine would do it again for each of the three files
        drawing.figure.draw_without_rendering()
        drawing.figure.set_layout_engine("none")
        drawing.figure.savefig(folder / f"{drawing.name}.pdf", metadata={"CreationDate": None})
        drawing.figure.savefig(folder / f"{drawing.name}.png", dpi=DPI)
        light = (folder / f"{drawing.name}.png").read_bytes()
        darken(drawing.figure)
        dark = io.BytesIO()
        drawing.figure.savefig(dark, dpi=DPI, format="png")
    return light, dark.getvalue()
