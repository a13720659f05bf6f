"""Per-unit values over time for a heat map: evenly spread updates of a `units` file of any length, kept while it grows.

strip = Strip(folder / "units")
strip.poll()
strip.steps, strip.values("margin")     # [T], float16 [T, H], T <= MAX_COLUMNS
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lop.run.files import RunError
from lop.run.records import read_layout

MAX_COLUMNS = 512


class Strip:
    """Every stride-th record of the file, stride the least power of two that leaves at most MAX_COLUMNS."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    @property
    def steps(self) -> np.ndarray:
        """Environment steps of the columns [T]."""
        return self._stacked()["global_step"]

    def values(self, field: str) -> np.ndarray:
        """One field of all units in every column [T, H]. Errors: KeyError for a field that the file does not have."""
        if field not in self.fields:
            raise KeyError(field)
        return self._stacked()["values"][:, self.fields.index(field)]

    def poll(self) -> bool:
        """Reads the columns that are missing; whether there is something to show."""
        try:
            if self._dtype is None:
                self._dtype, self._start, meta = read_layout(self.path)
                self.fields, self.layers = [*map(str, meta["fields"])], [*map(int, meta["layers"])]
            with open(self.path, "rb", buffering=0) as file:
                self._read(file.fileno())
        except (RunError, OSError, KeyError, TypeError, ValueError):
            self._begin()
        return bool(self._columns)

    def _begin(self) -> None:
        self._dtype: np.dtype[Any] | None = None
        self._start = 0
        self.fields: list[str] = []
        self.layers: list[int] = []
        self._columns: dict[int, np.ndarray] = {}
        self._inode: int | None = None

    def _read(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        assert self._dtype is not None
        count = (status.st_size - self._start) // self._dtype.itemsize
        # a record that was read may have been cut off since; the newest one tells
        if self._inode not in (None, status.st_ino) or (self._columns and not self._still_holds(descriptor, count)):
            self._columns = {}
        self._inode = status.st_ino
        self.stride = 1
        while count > self.stride * MAX_COLUMNS:
            self.stride *= 2
        wanted = range(0, count, self.stride)
        self._columns = {i: self._columns[i] if i in self._columns else self._record(descriptor, i) for i in wanted}

    def _still_holds(self, descriptor: int, count: int) -> bool:
        last = max(self._columns)
        return last < count and self._record(descriptor, last).tobytes() == self._columns[last].tobytes()

    def _record(self, descriptor: int, index: int) -> np.ndarray:
        assert self._dtype is not None
        size = self._dtype.itemsize
        return np.frombuffer(os.pread(descriptor, size, self._start + index * size), self._dtype)

    def _stacked(self) -> np.ndarray:
        return np.concatenate([*self._columns.values()])
