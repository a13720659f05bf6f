"""Files that grow, read from where the last look ended: rows of JSON, and binary records.

    tail = RowTail(folder / "metrics.jsonl")
    rows, anew = tail.poll()        # the rows since the last poll; anew: the file was begun again, forget what you had

A torn last row waits until it is whole. A file that got shorter, was replaced, or holds something else where we stopped
(a run cut back by a resume) is read again from its beginning. A damaged row is counted and passed over. No file: no rows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from lop.run.files import RunError
from lop.run.records import VERSION, read_layout

Row = dict[str, Any]
MARK_BYTES = 64  # what is compared to notice that a file holds something else than it did
SAMPLE_BYTES = 1 << 13  # three rows of metrics


def parse(line: bytes) -> Row | None:
    """A row of ours, None if it is damaged. Non-finite numbers stay texts, which float() understands."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and row.get("format") == VERSION else None


class Tail:
    """The bytes of a growing file beyond `offset`."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path, self.offset = path, start
        self._inode: int | None = None
        self._mark = b""

    def read(self, max_bytes: int) -> tuple[bytes, bool]:
        """Up to max_bytes from `offset` on, which is not moved, and whether the file was begun anew."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                anew = self._begun_anew(file.fileno(), status)
                data = os.pread(file.fileno(), min(max_bytes, status.st_size - self.offset), self.offset)
        except OSError:
            return b"", False
        return data, anew

    def take(self, data: bytes) -> None:
        """Moves `offset` beyond these bytes."""
        self.offset += len(data)
        self._mark = (self._mark + data[-MARK_BYTES:])[-MARK_BYTES:]

    def _begun_anew(self, descriptor: int, status: os.stat_result) -> bool:
        known, self._inode = self._inode, status.st_ino
        same = known in (None, status.st_ino) and status.st_size >= self.offset
        if same and os.pread(descriptor, len(self._mark), self.offset - len(self._mark)) == self._mark:
            return False
        self.offset, self._mark = 0, b""
        return True


class RowTail(Tail):
    """Rows of a JsonLines file; `damaged` counts those that could not be read."""

    damaged = 0

    def poll(self, max_bytes: int = 1 << 24) -> tuple[list[Row], bool]:
        """The whole rows in the next max_bytes, and whether the file was begun anew."""
        data, anew = self.read(max_bytes)
        if anew:
            self.damaged = 0
        end = data.rfind(b"\n") + 1
        if not end and len(data) == max_bytes:  # no row of ours is that long
            end = len(data)
        self.take(data[:end])
        rows = [parse(line) for line in data[:end].split(b"\n") if line]
        whole = [row for row in rows if row is not None]
        self.damaged += len(rows) - len(whole)
        return whole, anew


class RecordTail(Tail):
    """Records of a binary file, as one array [n] that grows; what `lop.run.records.Records` writes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._parts: list[np.ndarray] = []
        self._dtype: np.dtype | None = None

    def poll(self) -> np.ndarray:
        """All records so far [n]; of a file that is not there or not ours: none."""
        if self._dtype is None and not self._open():
            return np.zeros(0)
        assert self._dtype is not None
        data, anew = self.read(1 << 30)
        if anew:
            self._parts, self._dtype = [], None
            return self.poll()
        whole = data[: len(data) - len(data) % self._dtype.itemsize]
        if whole:
            self.take(whole)
            self._parts = [np.concatenate([*self._parts, np.frombuffer(whole, self._dtype)])]
        return self._parts[0] if self._parts else np.zeros(0, self._dtype)

    def _open(self) -> bool:
        try:
            self._dtype, self.offset, _ = read_layout(self.path)
        except RunError:
            return False
        return True


def sample_rows(path: Path, count: int) -> tuple[list[Row], int]:
    """About `count` rows evenly spread over a long file, the first and the last among them, and where the last ends."""
    rows: dict[int, Row] = {}
    end = 0
    try:
        with open(path, "rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            for offset in np.linspace(0, max(0, size - SAMPLE_BYTES), count).astype(int).tolist():
                for start, line in _whole_lines(os.pread(file.fileno(), SAMPLE_BYTES, offset), offset):
                    end = max(end, start + len(line) + 1)
                    if start not in rows and (row := parse(line)) is not None:
                        rows[start] = row
                    if offset < size - SAMPLE_BYTES:
                        break
    except OSError:
        return [], 0
    return [rows[start] for start in sorted(rows)], end


def _whole_lines(data: bytes, offset: int) -> list[tuple[int, bytes]]:
    """Each whole line in `data`, which stands at `offset` of its file, with its own offset."""
    begin = 0 if offset == 0 else data.find(b"\n") + 1
    if offset and not begin:
        return []
    found = []
    while (stop := data.find(b"\n", begin)) >= 0:
        found.append((offset + begin, data[begin:stop]))
        begin = stop + 1
    return found
