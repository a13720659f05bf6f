"""One open page as a Bokeh document: what was chosen, what is drawn, and its refresh.

A refresh that finds nothing new costs a comparison. Charts are drawn anew only if their number or titles change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from bokeh.document import Document
from bokeh.layouts import gridplot
from bokeh.models import Column, Div, InlineStyleSheet

from lop.dashboard import words
from lop.dashboard.choices import Field
from lop.dashboard.draw import draw
from lop.dashboard.library import Library
from lop.dashboard.pages import Page
from lop.dashboard.view import Chart, Heat, View

MORE = "There are new runs to choose from: reload the page to see them in the form."


class Board:
    """roots: legend, charts, remarks, table, in the order of the page."""

    def __init__(self, page: Page, library: Library, query: Mapping[str, Sequence[str]]) -> None:
        self.page, self.library = page, library
        self._query = {name: list(values) for name, values in query.items()}
        sheet = InlineStyleSheet(css=words.STYLE)
        self.legend, self.remarks, self.table = (
            Div(name=name, sizing_mode="stretch_width", stylesheets=[sheet]) for name in ("legend", "remarks", "table")
        )
        self.charts = Column(name="charts", sizing_mode="stretch_width")
        self._version = -1
        self._drawn: list[tuple[type, str]] | None = None
        self.fields: list[Field] = []
        self.refresh()

    def add_to(self, document: Document) -> None:
        """Makes the board what the document shows."""
        for root in (self.legend, self.charts, self.remarks, self.table):
            document.add_root(root)

    @property
    def address(self) -> str:
        """The answers as the query of an address."""
        return urlencode([(field.name, value) for field in self.fields for value in field.chosen])

    def refresh(self) -> None:
        """Shows what is new in the library."""
        with self.library.lock:
            if self._version == self.library.version:
                return
            self._version = self.library.version
            fields, view = look(self.page, self.library, self._query)
        more = bool(self.fields) and [f.options for f in fields] != [f.options for f in self.fields]
        self.fields = self.fields or fields
        # what the page chose for its reader stays, however the runs go on
        self._query |= {f.name: list(f.chosen) for f in fields if not f.several and f.chosen[0]}
        self._show(view, [MORE] if more else [])

    def _show(self, view: View, more: list[str]) -> None:
        kinds = [(type(chart), chart.title) for chart in view.charts]
        if kinds != self._drawn:
            self._draw(view.charts, kinds)
        else:
            for plot, chart in zip(self._plots, view.charts, strict=True):
                plot.update(chart)  # type: ignore[arg-type]
        for div, text in (
            (self.legend, words.legend(view.keys)),
            (self.remarks, words.remarks(view.caption, [*more, *view.notes], view.definitions)),
            (self.table, words.table(view.table)),
        ):
            if div.text != text:
                div.text = text

    def _draw(self, charts: Sequence[Chart | Heat], kinds: list[tuple[type, str]]) -> None:
        self._drawn = kinds
        self._plots = draw(charts, self.page.height)
        figures = [plot.figure for plot in self._plots]
        options = {"ncols": self.page.columns, "sizing_mode": "stretch_width", "toolbar_location": "right"}
        self.charts.children = [gridplot(figures, **options)] if figures else []


def look(page: Page, library: Library, query: Mapping[str, Sequence[str]]) -> tuple[list[Field], View]:
    """The questions with their answers, and the view of them. Hold the library's lock."""
    fields = page.form(library, query)
    return fields, page.view(library, {field.name: field.chosen for field in fields})
