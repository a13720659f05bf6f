"""SlipperyAnt's tasks: which friction each task has, and when a member moves on to the next."""

from __future__ import annotations

import json
import math
from pathlib import Path

from lop.run.streams import stream

CLOCKS = ("fixed", "reference")
PUBLISHED_FRICTIONS = Path(__file__).with_name("published_frictions.json")


class TaskSchedule:
    """Frictions as a pure function of (seed, task), and the task clock (definitions.md, section 2).

    friction = low (high / low)^share, share uniform in [0, 1), the first task included; or `table[seed][task]`.
    clock "fixed": task k covers a member's steps [kC, (k+1)C), C = task_steps; episodes running at its end are
    truncated. clock "reference" (the published code): the task changes at the first episode end more than C steps
    after the last change, so that lateness accumulates; one environment per member only.
    """

    def __init__(
        self,
        *,
        task_steps: int = 2_000_000,
        low: float = 0.02,
        high: float = 2.0,
        clock: str = "fixed",
        table: list[list[float]] | None = None,
    ) -> None:
        if clock not in CLOCKS:
            raise ValueError(f"the task clock must be one of {', '.join(CLOCKS)}, got {clock!r}")
        if task_steps < 1:
            raise ValueError(f"task_steps must be at least 1, got {task_steps}")
        if not 0 < low <= high < math.inf:
            raise ValueError(f"the friction range must satisfy 0 < low <= high, got low={low}, high={high}")
        self.task_steps, self.low, self.high, self.clock, self.table = task_steps, low, high, clock, table

    def friction(self, seed: int, task: int) -> float:
        """Sliding friction of a task; ValueError where a table has no such seed or task."""
        if self.table is None:
            share = stream(seed, "friction", task).random()
            return float(self.low * math.exp(share * math.log(self.high / self.low)))
        row = _row(self.table, seed)
        if task >= len(row):
            raise ValueError(f"the friction table has {len(row)} tasks for seed {seed}, task {task} was asked for")
        return row[task]

    def check(self, seeds: list[int], total_steps: int, num_envs: int = 1) -> None:
        """ValueError, before anything runs, where a run of total_steps steps a member would leave the table.

        total_steps: the steps really taken (whole updates); the one that completes a task already asks for the next.
        """
        if self.clock == "reference" and num_envs != 1:
            raise ValueError(f"the reference task clock needs num_envs=1, got {num_envs}: use the fixed clock")
        if self.task_steps % num_envs:
            raise ValueError(f"task_steps={self.task_steps} must be a multiple of num_envs={num_envs}")
        num_tasks = total_steps // self.task_steps + 1
        if self.table is None:
            return
        for seed in seeds:
            row = _row(self.table, seed)
            if num_tasks > len(row):
                raise ValueError(
                    f"{total_steps} steps need {num_tasks} tasks, the friction table has {len(row)} for seed {seed}: "
                    "fewer total_steps, longer task_steps or a longer table"
                )

    def next_change(self, task: int) -> int | None:
        """The member step at which a task ends for certain; None if only the end of an episode decides."""
        return (task + 1) * self.task_steps if self.clock == "fixed" else None

    def is_over(self, task: int, last_change: int, steps: int, episode_ended: bool) -> bool:
        """Whether a member at `steps` steps leaves `task`, which began at its step last_change."""
        if self.clock == "fixed":
            return steps >= (task + 1) * self.task_steps
        return episode_ended and steps - last_change > self.task_steps


def load_friction_table(path: str | Path) -> list[list[float]]:
    """Frictions [seed][task] from JSON: a list of lists, or an object with that list under "frictions".

    Raises ValueError, one line, for a file that cannot be read or holds anything else.
    """
    try:
        content = json.loads(Path(path).read_text())
    except OSError as error:
        raise ValueError(f"cannot read the friction table {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"the friction table {path} is not JSON: {error}") from error
    rows = content.get("frictions") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not rows:
        raise ValueError(f'the friction table {path} must be a list of lists, or {{"frictions": [lists]}}')
    for seed, row in enumerate(rows):
        if not isinstance(row, list) or not row:
            raise ValueError(f"the friction table {path} needs a non-empty list of tasks for seed {seed}, got {row!r}")
        for task, value in enumerate(row):
            if not _is_friction(value):
                raise ValueError(
                    f"the friction table {path} must hold finite numbers > 0, got {value!r} (seed {seed}, task {task})"
                )
    return [[float(value) for value in row] for row in rows]


def _is_friction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _row(table: list[list[float]], seed: int) -> list[float]:
    if not 0 <= seed < len(table):
        raise ValueError(f"the friction table has seeds 0 to {len(table) - 1}, got seed {seed}")
    return table[seed]
