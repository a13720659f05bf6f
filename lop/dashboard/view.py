"""What a page shows, as plain data: the pages make it, and Bokeh, matplotlib and CSV draw it.

A chart has curves over environment steps or tasks, bars, and spans behind them; a heat map has units by time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Curve:
    """y over x [n]; low and high [n] are its band, NaN where it is cut. dash: of DASHES."""

    label: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    dash: str = "solid"


@dataclass(frozen=True)
class Bars:
    """Bars of height y at x [n], `width` wide."""

    label: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    width: float


@dataclass(frozen=True)
class Span:
    """A stretch of x behind the curves; strength from 0 (invisible) to 1."""

    begin: float
    end: float
    label: str
    strength: float


@dataclass(frozen=True)
class Chart:
    """One plot."""

    title: str
    x_label: str
    y_label: str
    curves: list[Curve] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class Heat:
    """Values [R, T] by row and time; rows are units `units` [R] in the order drawn, the first at the top.

    events: (step, row, text, is a death) each.
    """

    title: str
    x_label: str
    y_label: str
    value_label: str
    steps: np.ndarray
    values: np.ndarray
    units: np.ndarray
    events: list[tuple[float, int, str, bool]] = field(default_factory=list)


@dataclass(frozen=True)
class Key:
    """A legend's line: a dash in a colour ("": that of the text), a filled patch, or without a dash the words alone."""

    label: str
    colour: str
    dash: str = "solid"
    patch: bool = False


@dataclass(frozen=True)
class Cell:
    """Text of a table, linked where there is a link; `title` appears when the mouse rests on it."""

    text: str
    link: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head."""

    head: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class View:
    """A whole page.

    caption: what line and band are; notes: what the reader must know about the data; definitions: of the quantities.
    """

    title: str
    charts: list[Chart | Heat] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    caption: str = ""
    notes: list[str] = field(default_factory=list)
    table: Table | None = None
    definitions: list[str] = field(default_factory=list)


DASHES = ("solid", "dashed", "dotted", "dotdash")
STEPS_LABEL = "environment steps"
EMPTY = np.zeros(0)
