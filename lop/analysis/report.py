"""The findings as Markdown, and as one HTML file that opens offline: every picture inline, no request to anywhere."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lop.analysis.style import Drawing, save
from lop.run.files import write_atomic
from lop.run.progress import number

PIXELS_PER_INCH = 130
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>
:root {{ --ink: #1d2127; --paper: #ffffff; --faint: #8c9198; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #dfe3e8; --paper: #16181d; }} }}
body {{ color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.2rem; margin-top: 2.2rem; }}
figure {{ margin: 1.5rem 0; }} img {{ max-width: 100%; }} figcaption, .note {{ color: var(--faint); font-size: .85rem; }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .7rem; text-align: right; white-space: nowrap; }}
th, td {{ border-bottom: 1px solid color-mix(in srgb, var(--faint) 40%, transparent); }}
th:first-child, td:first-child, .text {{ text-align: left; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


@dataclass
class Report:
    """Sections in order: texts, tables and drawings. `markdown()` and `html()` say the same."""

    title: str
    _parts: list[tuple[str, object]] = field(default_factory=list)

    def section(self, heading: str) -> None:
        """Begins a section."""
        self._parts.append(("heading", heading))

    def text(self, paragraph: str) -> None:
        """A paragraph."""
        self._parts.append(("text", paragraph))

    def items(self, texts: list[str]) -> None:
        """A list."""
        self._parts.append(("items", texts))

    def verbatim(self, lines: list[str]) -> None:
        """Lines shown as they are, each letter equally wide: formulas."""
        self._parts.append(("verbatim", lines))

    def table(self, frame: pd.DataFrame) -> None:
        """A table; floats with four digits, NaN as –."""
        self._parts.append(("table", _cells(frame)))

    def drawing(self, drawing: Drawing, light: bytes, dark: bytes) -> None:
        """A figure: PNGs for light and for dark pages."""
        self._parts.append(("drawing", (drawing, light, dark)))

    def markdown(self) -> str:
        """The report, pictures as links to <name>.png beside it."""
        return "\n\n".join([f"# {self.title}", *(_MARKDOWN[kind](content) for kind, content in self._parts)]) + "\n"

    def html(self) -> str:
        """The report as one page."""
        body = "\n".join(_HTML[kind](content) for kind, content in self._parts)
        return PAGE.format(title=html.escape(self.title), body=body)


class Writer:
    """Saves drawings and tables into one folder, which is there, and puts them into the report.

    say: told of every figure written.
    """

    def __init__(self, report: Report, out: Path, say: Callable[[str], None] = print) -> None:
        self.report, self.out, self.say = report, out, say

    def draw(self, drawing: Drawing | None) -> None:
        """Writes <name>.png and <name>.pdf; nothing for None."""
        if drawing is not None:
            self.report.drawing(drawing, *save(drawing, self.out))
            self.say(f"{self.out / drawing.name}.png")

    def table(self, frame: pd.DataFrame, name: str, drop: tuple[str, ...] = ()) -> None:
        """Writes <name>.csv, and shows the table without the columns `drop`."""
        self.file(frame, name)
        self.report.table(frame.drop(columns=[column for column in drop if column in frame]))

    def file(self, frame: pd.DataFrame, name: str) -> None:
        """Writes <name>.csv; the report does not show it."""
        write_atomic(self.out / f"{name}.csv", frame.to_csv(index=False).encode())

    def close(self) -> None:
        """Writes summary.md and report.html."""
        write_atomic(self.out / "summary.md", self.report.markdown().encode())
        write_atomic(self.out / "report.html", self.report.html().encode())


def cell(value: object) -> str:
    """A value as text for a table."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return "–"
        return number(value) if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _cells(frame: pd.DataFrame) -> list[list[str]]:
    rows = [[cell(value) for value in row] for row in frame.astype(object).itertuples(index=False)]
    return [[str(column) for column in frame.columns], *rows]


def _markdown_table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(text.replace("|", "∣") for text in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _html_table(rows: list[list[str]]) -> str:
    def line(row: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in row) + "</tr>"

    return (
        '<div class="wide"><table>'
        + line(rows[0], "th")
        + "".join(line(row, "td") for row in rows[1:])
        + "</table></div>"
    )


def _html_drawing(content: tuple[Drawing, bytes, bytes]) -> str:
    drawing, light, dark = content
    width = f"width: {drawing.figure.get_size_inches()[0] * PIXELS_PER_INCH:.0f}px"
    sources = [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in (light, dark)]
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{sources[1]}">'
        f'<img style="{width}" alt="{html.escape(drawing.title)}" src="{sources[0]}"></picture>'
        f"<figcaption>{html.escape(drawing.title)}.</figcaption></figure>"
    )


_MARKDOWN = {
    "heading": lambda text: f"## {text}",
    "text": str,
    "items": lambda texts: "\n".join(f"- {text}" for text in texts),
    "verbatim": lambda lines: "\n".join(["```", *lines, "```"]),
    "table": _markdown_table,
    "drawing": lambda content: (
        f"![{content[0].title}]({content[0].name}.png)\n\n{content[0].title}. {content[0].caption}"
    ),
}
_HTML = {
    "heading": lambda text: f"<h2>{html.escape(text)}</h2>",
    "text": lambda text: f"<p>{html.escape(text)}</p>",
    "items": lambda texts: '<ul class="note">' + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>",
    "verbatim": lambda lines: f'<pre class="wide">{html.escape(chr(10).join(lines))}</pre>',
    "table": _html_table,
    "drawing": _html_drawing,
}
