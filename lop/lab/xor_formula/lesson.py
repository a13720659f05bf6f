"""The lesson as it is printed: short paragraphs, formulas, tables, checks; the same goes into one report."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from lop.analysis.report import Report, Writer, cell
from lop.analysis.style import Drawing

COLUMNS = 92
INDENT = "    "


class Lesson:
    """Says things on stdout and remembers them; `failed` holds the claims that did not stand.

    lesson = Lesson("XOR as a formula", Path("lab/xor_formula"))
    """

    def __init__(self, title: str, out: Path, say: Callable[[str], None] = print) -> None:
        self._say, self._out = say, out
        self._report = Report(title)
        self._writer = Writer(self._report, out, say=lambda path: say(f"\n{INDENT}picture: {path}"))
        self.checks = 0
        self.failed: list[str] = []

    def stage(self, heading: str) -> None:
        """Begins a stage."""
        self._say(f"\n\n{heading}\n{'=' * len(heading)}")
        self._report.section(heading)

    def text(self, paragraph: str) -> None:
        """A paragraph; a "~" in it is a space at which no line ends."""
        self._say("\n" + textwrap.fill(paragraph, COLUMNS, break_on_hyphens=False).replace("~", " "))
        self._report.text(paragraph.replace("~", " "))

    def lines(self, lines: list[str]) -> None:
        """Lines shown as they are: formulas, lists."""
        self._say("\n" + "\n".join(INDENT + line for line in lines))
        self._report.verbatim(lines)

    def table(self, frame: pd.DataFrame) -> None:
        """A table; the first column starts at the left, the others end at the right."""
        rows = [list(frame.columns), *([cell(value) for value in row] for row in frame.astype(object).to_numpy())]
        widths = [max(len(str(row[k])) for row in rows) for k in range(len(frame.columns))]
        self._say("")
        for first, *rest in rows:
            cells = [f"{first:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(rest, widths[1:], strict=True))]
            self._say(INDENT + "  ".join(cells).rstrip())
        self._report.table(frame)

    def check(self, claim: str, holds: bool) -> None:
        """Says whether a claim stands."""
        self.checks += 1
        verdict = "ok    " if holds else "FAILED"
        self._say(
            textwrap.fill(claim, COLUMNS, initial_indent=f"{INDENT}{verdict}  ", subsequent_indent=INDENT + " " * 8)
        )
        self._report.items([f"{verdict.strip()}: {claim}"])
        if not holds:
            self.failed.append(claim)

    def checks_follow(self) -> None:
        """An empty line before checks."""
        self._say("")

    def draw(self, drawing: Drawing) -> None:
        """A figure, into the folder and the report."""
        self._writer.draw(drawing)

    def close(self) -> bool:
        """Writes the report, says what failed; whether everything stood."""
        self._writer.close()
        self._say(f"\n\n{self.checks - len(self.failed)} of {self.checks} checks stand.")
        self._say(f"All of it with its pictures: {self._out / 'report.html'}")
        for claim in self.failed:
            print(f"check failed: {claim}", file=sys.stderr)
        return not self.failed
