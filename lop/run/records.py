"""Append-only files of a run: rows of JSON, and binary records of one numpy dtype.

Both gather what is appended in memory until `flush()`, know their length in bytes (`offset`, buffered bytes included),
and can be cut back to one, so that a resumed run's file equals an uninterrupted run's. A process that dies while
writing leaves at most one torn row at the end: readers pass over it, and opening the file to append removes it.

JSON rows carry the format version as their first key. JSON has no NaN: non-finite floats are written as the texts
"NaN", "Infinity", "-Infinity", and read back as floats (so no text of a row may be one of these three).
A binary file begins with one line of JSON (format, version, dtype, meta), padded to a multiple of 64 bytes.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from lop.run.files import RunError, disk, write_all

VERSION = 1
ALIGNMENT_BYTES = 64
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class AppendFile:
    """Bytes added to the end of a file, through memory. `header` is written if the file is empty, else compared."""

    def __init__(self, path: str | os.PathLike[str], header: bytes = b"") -> None:
        self.path, self.start = Path(path), len(header)
        self._buffer = bytearray()
        with disk("open", path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._check_header(header)
            self._truncate(self._whole(os.fstat(self._descriptor).st_size))
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def offset(self) -> int:
        """Length in bytes, what is still in memory included."""
        return self._size + len(self._buffer)

    def flush(self) -> None:
        """Hands the buffer to the operating system. Errors: RunError; file and buffer are then what they were."""
        with disk("write", self.path):
            try:
                write_all(self._descriptor, self._buffer)
            except OSError:
                os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(self._buffer)
        self._buffer = bytearray()

    def sync(self) -> None:
        """Flushes, and waits until the disk has it."""
        self.flush()
        with disk("write", self.path):
            os.fsync(self._descriptor)

    def cut(self, offset: int) -> None:
        """Removes everything after the first `offset` bytes. Errors: RunError if there are fewer."""
        self.flush()
        if not self.start <= offset <= self._size:
            raise RunError(
                f"{self.path} has {self._size} bytes, but the checkpoint counts on {offset}: data is missing"
            )
        self._truncate(offset)

    def forget(self) -> None:
        """Drops what is still in memory."""
        self._buffer = bytearray()

    def close(self) -> None:
        """Flushes and closes; closing twice is allowed."""
        if self._descriptor >= 0:
            try:
                self.flush()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def _whole(self, size: int) -> int:
        """The length without the torn end that a dying process may have left."""
        return size

    def _truncate(self, size: int) -> None:
        with disk("cut", self.path):
            os.ftruncate(self._descriptor, size)
        self._size = size

    def _check_header(self, header: bytes) -> None:
        with disk("read", self.path):
            found = os.pread(self._descriptor, len(header), 0)
        if found == header:
            return
        if not header.startswith(found):
            raise RunError(f"{self.path} was written for another format or shape: {found.strip()!r}")
        self._truncate(0)
        self._buffer += header
        self._size = 0
        self.flush()


class JsonLines(AppendFile):
    """Rows of JSON, one a line."""

    def append(self, row: dict[str, Any]) -> None:
        """Adds one row; numpy scalars and arrays are welcome. Errors: TypeError for what JSON cannot hold."""
        self._buffer += orjson.dumps({"format": VERSION, **_plain(row)}) + b"\n"

    def _whole(self, size: int) -> int:
        chunk_bytes = 1 << 16
        for end in range(size, 0, -chunk_bytes):
            begin = max(0, end - chunk_bytes)
            newline = os.pread(self._descriptor, end - begin, begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
        return 0


class Records(AppendFile):
    """Records of one structured dtype.

    kind: the name of what they are; meta: JSON that belongs to all of them, a function of the configuration alone.
    """

    def __init__(
        self, path: str | os.PathLike[str], kind: str, dtype: np.dtype, meta: dict[str, Any] | None = None
    ) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("<")
        super().__init__(path, _header(kind, self.dtype, meta or {}))

    def append(self, records: np.ndarray) -> None:
        """Adds records [n] (or one, [])."""
        if records.dtype != self.dtype:
            raise TypeError(f"{self.path}: records of {records.dtype}, expected {self.dtype}")
        self._buffer += records.tobytes()

    def _whole(self, size: int) -> int:
        return size - (size - self.start) % self.dtype.itemsize


def read_jsonl(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a JsonLines file, without their format key. Errors: RunError naming the line that is corrupt."""
    with disk("read", path):
        lines = Path(path).read_bytes().split(b"\n")[:-1]  # after the last newline: nothing, or a torn row
    return [_row(line, f"{os.fspath(path)}, line {number}") for number, line in enumerate(lines, start=1)]


def read_last_rows(path: str | os.PathLike[str], max_bytes: int) -> list[dict[str, Any]]:
    """The whole rows among the last `max_bytes` of a JsonLines file, as `read_jsonl` gives them. Errors: RunError."""
    with disk("read", path), open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - max_bytes))
        lines = file.read().split(b"\n")[:-1]
    # the first may be the end of a row that began before
    return [_row(line, f"{os.fspath(path)}, near its end") for line in lines[size > max_bytes :]]


def read_records(path: str | os.PathLike[str], first: int = 0) -> np.ndarray:
    """The records [n] of a Records file from number `first` on; a torn last one is passed over. Errors: RunError."""
    dtype, start, _ = read_layout(path)
    with disk("read", path), open(path, "rb") as file:
        file.seek(start + first * dtype.itemsize)
        data = file.read()
    return np.frombuffer(data, dtype, count=len(data) // dtype.itemsize)


def read_meta(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The meta of a Records file. Errors: RunError."""
    return read_layout(path)[2]


def _header(kind: str, dtype: np.dtype, meta: dict[str, Any]) -> bytes:
    fields = np.lib.format.dtype_to_descr(dtype)
    line = json.dumps({"format": f"lop.{kind}", "version": VERSION, "dtype": fields, "meta": meta}, sort_keys=True)
    padding = -(len(line.encode()) + 1) % ALIGNMENT_BYTES
    return line.encode() + b" " * padding + b"\n"


def read_layout(path: str | os.PathLike[str]) -> tuple[np.dtype, int, dict[str, Any]]:
    """A Records file's dtype, the offset of its first record, and its meta. Errors: RunError."""
    with disk("read", path), open(path, "rb") as file:
        line = file.readline(1 << 20)
    try:
        header = json.loads(line)
        version, fields, meta = header["version"], header["dtype"], header["meta"]
        # JSON has lists where numpy wants tuples
        dtype = np.dtype([tuple(tuple(part) if isinstance(part, list) else part for part in field) for field in fields])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{os.fspath(path)} does not begin with a header of ours: {line[:40]!r}") from error
    if version != VERSION:
        raise RunError(f"{os.fspath(path)}: format version {version}, this program reads {VERSION}")
    return dtype, len(line), meta


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
        version = row.pop("format")
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError) as error:
        raise RunError(f"{where}: not a row of ours: {line[:40]!r}") from error
    if version != VERSION:
        raise RunError(f"{where}: format version {version}, this program reads {VERSION}")
    return _floats_again(row) if b'"NaN"' in line or b'Infinity"' in line else row


def _plain(value: Any) -> Any:
    """The value with numpy gone and non-finite floats named."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _floats_again(value: Any) -> Any:
    if isinstance(value, str):
        return NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: _floats_again(item) for key, item in value.items()}
    return [_floats_again(item) for item in value] if isinstance(value, list) else value
