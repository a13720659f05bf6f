"""Summaries of tasks: what a change of task does to units, and what learning the task does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lop.monitor.events import Event


@dataclass
class Task:
    """One task. Margins are a list over layers, each [H].

    start_margins: the weights at its beginning on its first window of observations. end_margins: the weights at its end
    on its last window. before_margins: the weights at its beginning on the last window of the task before.
    deaths, revivals: events between computations within it.
    """

    name: str
    start_margins: list[np.ndarray] | None = None
    end_margins: list[np.ndarray] | None = None
    before_margins: list[np.ndarray] | None = None
    deaths: int = 0
    revivals: int = 0

    def count(self, events: Sequence[Event]) -> None:
        self.deaths += sum(event.kind == "death" for event in events)
        self.revivals += sum(event.kind == "revival" for event in events)

    @property
    def killed_by_change(self) -> list[np.ndarray]:
        """Units of each layer that were alive on the task before and are dead on this one, with the same weights."""
        if self.before_margins is None or self.start_margins is None:
            return []
        pairs = zip(self.before_margins, self.start_margins, strict=True)
        return [np.flatnonzero((before > 0) & (start <= 0)) for before, start in pairs]

    def summary(self) -> dict[str, float]:
        """The task in numbers, per layer: dead units and mean margins at start and end, units killed by the change."""
        row: dict[str, float] = {"task/deaths": float(self.deaths), "task/revivals": float(self.revivals)}
        for when, margins in (("start", self.start_margins), ("end", self.end_margins)):
            for i, layer in enumerate(margins or []):
                row[f"task/{when}_dead_counts/layer_{i}"] = float((layer <= 0).sum())
                row[f"task/{when}_mean_margins/layer_{i}"] = float(layer[np.isfinite(layer)].mean())
        for i, units in enumerate(self.killed_by_change):
            row[f"task/killed_by_change_counts/layer_{i}"] = float(len(units))
        return row


@dataclass
class TaskLog:
    """The tasks of one monitor, in order; the last one is running."""

    tasks: list[Task] = field(default_factory=list)

    @property
    def running(self) -> Task | None:
        return self.tasks[-1] if self.tasks else None

    def begin(self, name: str, margins_now: list[np.ndarray] | None) -> Task | None:
        """Start a task and return the one it ends; margins_now: of the present weights on the observations so far."""
        ended = self.running
        if ended is not None:
            ended.end_margins = margins_now
        self.tasks.append(Task(name, before_margins=margins_now))
        return ended
