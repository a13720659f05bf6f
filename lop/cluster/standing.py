"""How far one run is, from its folder alone: the ends of its files are read, however long they are.

    standing = stand(Path("runs/ant/cbp/seed_0"))
    standing.step, standing.total_steps, standing.steps_per_s, standing.problem

A torn or missing file costs what it would have told, and `problem` says so; nothing raises.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lop.run.checkpoint import peek_meta
from lop.run.files import RunError
from lop.run.owner import read_owner
from lop.run.progress import short
from lop.run.reader import Run, computing_seconds, read_run
from lop.run.records import read_last_rows
from lop.run.store import STRETCH
from lop.run.versions import same_configuration

TAIL_BYTES = 1 << 16  # some twenty rows of metrics
RATE_ROWS = 20  # updates that the rate is taken over
T = TypeVar("T")


@dataclass
class Standing:
    """What a run folder tells. Steps are of this run's environment; NaN and None: not known.

    total_steps: whole updates only, as the run was first configured; saved_step: of the checkpoint, what a resume goes
    on from; steps_per_s: over the last updates of the present process; dead, at_risk: units per layer;
    changed: unix time of the last row; version_changes: where a process began that may compute other bits than the one
    before, and why.
    """

    folder: Path
    exists: bool = False
    step: int = 0
    saved_step: int = 0
    total_steps: int | None = None
    steps_per_update: int | None = None
    steps_per_s: float = math.nan
    last_return: float = math.nan
    dead: list[float] = field(default_factory=list)
    at_risk: list[float] = field(default_factory=list)
    owner: dict[str, Any] | None = None
    changed: float | None = None
    version_changes: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def job_token(self) -> tuple[str, int] | None:
        """Slurm's job id and restart count of the owner, present or last; None if it was started by hand."""
        return (
            (self.owner["slurm_job"], self.owner["slurm_restarts"]) if self.owner and self.owner["slurm_job"] else None
        )


def stand(folder: Path) -> Standing:
    """The standing of a run folder, which may be missing or half made."""
    standing = Standing(folder)
    standing.owner = _tried(standing, lambda: read_owner(folder), None)
    if not (folder / "run.json").is_file():
        return standing
    standing.exists = True
    _configured(standing, _tried(standing, lambda: read_run(folder), None))
    meta = _tried(standing, lambda: peek_meta(folder), None) or {}
    standing.saved_step = int(meta.get("global_step", 0))
    _measured(standing, _tried(standing, lambda: read_last_rows(folder / "metrics.jsonl", TAIL_BYTES), []))
    _timed(standing, _tried(standing, lambda: read_last_rows(folder / "timing.jsonl", TAIL_BYTES), []))
    standing.version_changes = _tried(standing, lambda: version_changes(folder / "timing.jsonl"), [])
    standing.changed = _tried(standing, lambda: (folder / "metrics.jsonl").stat().st_mtime, None)
    return standing


def _tried(standing: Standing, read: Callable[[], T], otherwise: T) -> T:
    """What `read` gives, or `otherwise` and the reason in `standing.problem`."""
    try:
        return read()
    except (RunError, OSError, ValueError, KeyError, TypeError) as error:
        standing.problem = standing.problem or " ".join(str(error).split())
        return otherwise


def _configured(standing: Standing, run: Run | None) -> None:
    configuration = run.configuration if run else {}
    per_update = configuration.get("ppo", {}).get("steps_per_update")
    total = configuration.get("total_steps")
    if per_update and total:
        standing.steps_per_update = int(per_update)
        standing.total_steps = whole_updates(total, per_update)


def whole_updates(total_steps: float, steps_per_update: int) -> int:
    """Steps that a run of `total_steps` really does: updates are never cut."""
    return int(total_steps) // int(steps_per_update) * int(steps_per_update)


def _measured(standing: Standing, rows: list[dict[str, Any]]) -> None:
    standing.step = max(standing.saved_step, int(rows[-1]["global_step"]) if rows else 0)
    # an update in which no episode ended has no return
    standing.last_return = next((row["return"] for row in reversed(rows) if "return" in row), math.nan)
    # margins need not be computed in every update
    for name, key in (("dead", "margin/dead_counts/layer_"), ("at_risk", "margin/at_risk_counts/layer_")):
        row = next((row for row in reversed(rows) if f"{key}0" in row), {})
        setattr(standing, name, [row[f"{key}{i}"] for i in range(len(row)) if f"{key}{i}" in row])


def _timed(standing: Standing, rows: list[dict[str, Any]]) -> None:
    """The rate. A population's update is timed as a whole, and each of its members does all its steps in it."""
    begins = [i for i, row in enumerate(rows) if row.get("event") == STRETCH]
    updates = [row for row in rows[begins[-1] if begins else 0 :] if computing_seconds(row)][-RATE_ROWS:]
    seconds = sum(map(computing_seconds, updates))
    if seconds > 0 and standing.steps_per_update:
        standing.steps_per_s = len(updates) * standing.steps_per_update / seconds


def version_changes(timing: Path) -> list[str]:
    """One text per stretch whose versions differ from those of the stretch before: "from 2.05k on: torch: 2.6 before, ..."."""
    rows = _stretch_rows(timing)
    found = []
    for before, now in itertools.pairwise(rows):
        differences = same_configuration(before["versions"], now["versions"])
        if differences:
            found.append(f"from {short(now['global_step'])} on: {', '.join(differences)}")
    return found


#: timing file -> bytes looked through, and the stretches found in them: for --watch, which comes again and again
_looked_through: dict[Path, tuple[int, list[dict[str, Any]]]] = {}


def _stretch_rows(timing: Path) -> list[dict[str, Any]]:
    """Where each process began. The file is only ever appended to, and is read on from where the last call ended."""
    start, rows = _looked_through.get(timing, (0, []))
    with open(timing, "rb") as file:
        if file.seek(0, os.SEEK_END) < start:
            start, rows = 0, []
        file.seek(start)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    rows = rows + [json.loads(line) for line in whole.splitlines() if b'"event"' in line]
    _looked_through[timing] = start + len(whole), rows
    return [row for row in rows if row["event"] == STRETCH]
