"""Rows of JSON, read past whatever is damaged: a run that is written to, or died, or lost a disk block still counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from lop.run.records import NON_FINITE, VERSION

MAX_ALIKE = 3
TAIL_BYTES = 1 << 17


def read_rows(path: Path, left_out: list[str]) -> Iterator[dict[str, Any]]:
    """The sound rows of a JsonLines file; one text for all that are not is added to `left_out`.

    What follows the last newline is a row being written, and is passed over in silence.
    """
    bad: list[int] = []
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                row = parse_row(line)
                if row is not None:
                    yield row
                elif line.endswith(b"\n"):
                    bad.append(number)
    except OSError as error:
        note(left_out, f"{path}: {error.strerror or error}")
    if bad:
        first = ", ".join(map(str, bad[:3])) + ("..." if len(bad) > 3 else "")
        note(left_out, f"{path}: {len(bad)} damaged row{'s' * (len(bad) > 1)} (line {first})")


def note(left_out: list[str], text: str) -> None:
    """Adds a text once, as one line."""
    line = " ".join(text.split())
    if line not in left_out:
        left_out.append(line)


def brief(left_out: list[str]) -> list[str]:
    """The texts for reading: of those that say the same about many files (`<path>: <reason>`), the first and how many."""
    alike: dict[str, list[str]] = {}
    for line in left_out:
        alike.setdefault(line.partition(": ")[2], []).append(line)
    found = []
    for reason, lines in alike.items():
        if reason and len(lines) > MAX_ALIKE:
            lines = [f"{lines[0].partition(': ')[0]} and {len(lines) - 1} more: {reason}"]
        found += lines
    return found


def last_row(path: Path) -> dict[str, Any]:
    """The last sound row among the last 128 KiB; {} if there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return {}
    # the first of several may be the end of a row that began before
    for line in reversed(lines[size > TAIL_BYTES :]):
        row = parse_row(line + b"\n")
        if row is not None:
            return row
    return {}


def parse_row(line: bytes) -> dict[str, Any] | None:
    """A row without its format key, NaN and infinities as floats; None if it is not a whole row of this format."""
    try:
        row = orjson.loads(line) if line.endswith(b"\n") else None
    except orjson.JSONDecodeError:
        return None
    if not isinstance(row, dict) or row.pop("format", None) != VERSION:
        return None
    if b'"NaN"' in line or b'Infinity"' in line:
        return {key: NON_FINITE.get(value, value) if isinstance(value, str) else value for key, value in row.items()}
    return row
