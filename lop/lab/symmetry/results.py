"""Rows of a benchmark in a CSV file: each is on the disk as soon as its member is measured, and a kill costs no row.

Every row carries its whole configuration, so that the file says by itself what may be added to it. A line without its
end, left by a kill, is cut when the file is opened again.
"""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path
from typing import Self

from lop.lab.symmetry.measure import OF_LAYER
from lop.lab.symmetry.settings import Member, Settings
from lop.run.files import RunError, disk, lock, sync_folder, write_all

VERSION = 1
FILE = "results.csv"
IDENTITY = ("seed", "symmetry_layer", "lambda_sym_max")
CONFIGURATION = ("format", *(field.name for field in dataclasses.fields(Settings)))
LOSSES = ("best_epoch", "train_task_loss", "validation_task_loss", "test_task_loss", "test_sym_loss")
BEGIN = ",".join(("format", *IDENTITY))

Row = dict[str, float]


def columns(settings: Settings) -> list[str]:
    """The columns of a file, in order."""
    hidden = [str(layer) for layer in range(1, settings.num_hidden_layers + 1)]
    orbits = [f"{name}_{layer}" for name in ("orbit_variance", "orbit_share") for layer in (*hidden, "out")]
    units = [f"{name}_{layer}" for name in OF_LAYER for layer in hidden]
    return ["format", *IDENTITY, *LOSSES, *orbits, *units, *CONFIGURATION[1:]]


def configuration(settings: Settings) -> dict[str, str]:
    """CONFIGURATION as it stands in a row."""
    return {name: cell(value) for name, value in {"format": VERSION, **dataclasses.asdict(settings)}.items()}


def identity(seed: int, member: Member) -> tuple[str, ...]:
    """IDENTITY as it stands in a row."""
    return str(seed), "none" if member.layer is None else str(member.layer), cell(member.lambda_max)


def cell(value: object) -> str:
    """A number or word as text that reads back as the same number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return repr(value) if isinstance(value, float) else str(value)


class ResultsFile:
    """A CSV file that is open for adding rows of one configuration. A context; one process at a time.

    done: the identities of the rows that are there. Errors: RunError, when the file is not a benchmark's, is of another
    configuration (which differ is said), cannot be written, or is being written by another process.
    """

    def __init__(self, path: Path, settings: Settings):
        self.path, self.settings = path, settings
        with disk("open", path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if lock(self._descriptor) is False:
                raise RunError(f"{path}: another benchmark is writing it; wait for it, or give another --out")
            self.done = self._take_over(path.read_bytes())
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take_over(self, content: bytes) -> set[tuple[str, ...]]:
        begin = BEGIN.encode()
        if not (content.startswith(begin) or begin.startswith(content)):
            raise RunError(f"{self.path}: holds no benchmark's results; give another --out")
        whole = content[: content.rfind(b"\n") + 1]
        rows = rows_of(whole.decode(), self.path)
        if rows:
            self._require_same(rows[0])
        elif whole and whole.decode() != self._header():
            whole = b""
        if len(whole) < len(content):
            with disk("write", self.path):
                os.ftruncate(self._descriptor, len(whole))
        if not whole:
            self._append(self._header())
            sync_folder(self.path.parent)
        return {tuple(row[name] for name in IDENTITY) for row in rows}

    def _header(self) -> str:
        return ",".join(columns(self.settings)) + "\n"

    def _require_same(self, row: dict[str, str]) -> None:
        asked = configuration(self.settings)
        different = [f"{name} ({row[name]} there, {asked[name]} asked)" for name in asked if row[name] != asked[name]]
        if different:
            raise RunError(f"{self.path}: its rows differ in {', '.join(different)}; give another --out")

    def append(self, seed: int, member: Member, row: Row) -> None:
        """Adds the row of a member; it is on the disk when this returns."""
        known = dict(zip(IDENTITY, identity(seed, member), strict=True)) | configuration(self.settings)
        texts = known | {name: cell(value) for name, value in row.items()}
        self._append(",".join(texts[name] for name in columns(self.settings)) + "\n")
        self.done.add(identity(seed, member))

    def _append(self, line: str) -> None:
        with disk("write", self.path):
            write_all(self._descriptor, line.encode())
            os.fsync(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def rows_of(text: str, path: Path) -> list[dict[str, str]]:
    """The rows of a results file, all as text. Errors: RunError for a line with too few or too many cells."""
    lines = list(csv.reader(text.splitlines()))
    names = lines[0] if lines else []
    if lines and not {*IDENTITY, *CONFIGURATION} <= set(names):
        raise RunError(f"{path}: holds no benchmark's results (it lacks columns)")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(names):
            raise RunError(f"{path}: line {number} has {len(line)} cells, the first has {len(names)}")
    rows = [dict(zip(names, line, strict=True)) for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        layer, hidden = row["symmetry_layer"], row["num_hidden_layers"]
        if layer not in ("none", "-1") and not (
            layer.isdecimal() and hidden.isdecimal() and 1 <= int(layer) <= int(hidden)
        ):
            raise RunError(f"{path}: line {number}: symmetry layer {layer} of a network with {hidden} hidden layers")
    return rows
