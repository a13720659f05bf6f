"""Summaries of tasks: what a change of task does to units, and what learning the task does to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lop.monitor.events import Event
from lop.monitor.module_probe import ModuleProbe
from lop.monitor.stacked import StackedProbe

Probe = ModuleProbe | StackedProbe


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


class TaskLog:
    """The running task of each member, and the weights of its beginning until its first window is full.

    members: M, or None for a single network. margins_of: margins of a probe on the present window, per layer [H] or
    [M, H].
    """

    def __init__(self, members: int | None, margins_of: Callable[[Probe], list[np.ndarray]]):
        self.members, self.margins_of = members, margins_of
        self.begun = 0
        self.running: list[Task] = []
        self._at_change: Probe | None = None

    def begin(self, name: str, now: list[np.ndarray] | None, kept: Probe) -> list[Task]:
        """Start a task in every member; returns those it ends. now: margins of the present weights on the window."""
        ended, count = self.running, self.members or 1
        for member, task in enumerate(ended):
            task.end_margins = self._of(now, member)
        self.running = [Task(name, before_margins=self._of(now, member)) for member in range(count)]
        self.begun, self._at_change = self.begun + 1, kept
        return ended

    @property
    def waiting(self) -> bool:
        """Whether the margins at the task's start are still to be taken."""
        return self._at_change is not None

    def take_start(self) -> None:
        """The margins at the task's start: the weights of its beginning on the present window."""
        if self._at_change is not None:
            margins, self._at_change = self.margins_of(self._at_change), None
            for member, task in enumerate(self.running):
                task.start_margins = self._of(margins, member)

    def count(self, happened: Sequence[Sequence[Event]]) -> None:
        for task, events in zip(self.running, happened, strict=False):
            task.count(events)

    def _of(self, margins: list[np.ndarray] | None, member: int) -> list[np.ndarray] | None:
        if margins is None or self.members is None:
            return margins
        return [layer[member] for layer in margins]
