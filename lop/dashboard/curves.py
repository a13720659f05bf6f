"""The curves of one run, at once and then exactly.

A short file is read whole. Of a long one a few hundred rows are looked at first, so that a page of many runs stands in
seconds; the rest is read bit by bit in the background (`fill`), and takes the preview's place when it has caught up. Rows
that the run adds meanwhile are shown at once either way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lop.dashboard.ladder import STEP, Ladder
from lop.dashboard.tail import Row, RowTail, sample_rows

WHOLE_BYTES = 1 << 22  # a file up to this size is read at once: some 1,600 rows
PREVIEW_ROWS = 150
FILL_BYTES = 1 << 20


class Curves:
    """metrics.jsonl of one run; `version` changes whenever there is something new to draw."""

    def __init__(self, path: Path, base_steps: int) -> None:
        self.path, self.base_steps = path, base_steps
        self.version = 0
        self._begin()

    @property
    def ladder(self) -> Ladder:
        """The bins to draw."""
        return self._ladder if self._preview is None else self._preview

    @property
    def is_preview(self) -> bool:
        """Whether the bins hold a sample of the rows so far."""
        return self._preview is not None

    @property
    def damaged(self) -> int:
        """Rows that could not be read."""
        return self._tail.damaged + (self._live.damaged if self._live else 0)

    def poll(self) -> None:
        """Takes what the file gained since the last poll."""
        if self._fresh:
            self._fresh = False
            if _size(self.path) > WHOLE_BYTES:
                rows, end = sample_rows(self.path, PREVIEW_ROWS)
                self._preview, self._live = Ladder(self.base_steps), RowTail(self.path, end)
                self._take(self._preview, rows)
        tail = self._live or self._tail
        while True:
            rows, anew = tail.poll()
            if anew:
                self._begin()
                self.version += 1
                return self.poll()
            if not rows:
                return None
            self._take(self.ladder, rows)

    def fill(self) -> None:
        """Reads one more piece of what the preview stands for."""
        if self._live is None:
            return
        rows, anew = self._tail.poll(min(FILL_BYTES, self._live.offset - self._tail.offset))
        if anew:
            self._begin()
            return
        self._ladder.add(rows)
        if self._tail.offset >= self._live.offset:
            self._preview = self._live = None
            self.version += 1

    def _begin(self) -> None:
        self._tail, self._ladder = RowTail(self.path), Ladder(self.base_steps)
        self._live: RowTail | None = None
        self._preview: Ladder | None = None
        self._fresh = True
        self.latest: dict[str, Any] = {}  # the newest value of every key

    def _take(self, ladder: Ladder, rows: list[Row]) -> None:
        if not rows:
            return
        ladder.add(rows)
        # every key is in one of the last rows, ranks at the least often
        for row in rows[-64:]:
            self.latest |= row
        self.version += 1

    @property
    def step(self) -> int:
        """Environment steps of the newest row."""
        step = self.latest.get(STEP, 0)
        return step if isinstance(step, int) else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
