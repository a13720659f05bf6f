"""Rows and snapshots at the start and the end of each task of SlipperyAnt.

End of a task: the weights in force at its last step, on its last N observations. Start of the next: the same weights on the
first N observations of the new task. These arrive over one or two rollouts, so the weights are kept until they are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lop.envs import AntVector, TaskChange
from lop.monitor import MarginMonitor
from lop.nets import StackedActorCritic
from lop.run.config import SlipperyEnvSettings, TrainConfig

Row = dict[str, Any]
Snapshot = tuple[int, str, dict[str, np.ndarray]]  # step, label, tensors


@dataclass
class Start:
    """A task that began, still waiting for its first N observations."""

    task: int
    step: int
    friction: float
    weights: dict[str, np.ndarray]
    observations: Tensor  # [n, D], n < N


class TaskRecorder:
    """The tasks of M members; does nothing where there are none."""

    def __init__(self, config: TrainConfig, net: StackedActorCritic, environments: AntVector):
        self.config, self.net = config, net
        self.active = isinstance(config.env, SlipperyEnvSettings)
        self._current = [(int(t), float(f)) for t, f in zip(environments.task, environments.friction, strict=True)]
        empty = torch.zeros(0, environments.num_live, dtype=net.dtype, device=net.device)
        self._empty = empty
        self._starts: list[Start | None] = [None] * net.num_members
        if self.active:
            for m, (task, friction) in enumerate(self._current):
                self._starts[m] = Start(task, 0, friction, net.member_state(m), empty)

    def rollout(
        self,
        member: int,
        changes: list[tuple[int, TaskChange]],
        observations: Tensor,
        before: Tensor | None,
        update: int,
    ) -> tuple[list[Row], list[Snapshot]]:
        """What the rollout after `update` updates began and ended.

        changes: with their step in the rollout; observations: [S, D] of the rollout; before: [N, D], the last ones before it.
        """
        rows: list[Row] = []
        snapshots: list[Snapshot] = []
        if not self.active:
            return rows, snapshots
        position = 0
        for t, change in changes:
            stop = (t + 1) * self.config.num_envs
            self._feed(member, observations[position:stop], True, rows, snapshots)
            self._end(member, change.step, self._window(observations[:stop], before), rows, snapshots)
            self._current[member] = (change.task, change.friction)
            weights = self.net.member_state(member)
            self._starts[member] = Start(change.task, change.step, change.friction, weights, self._empty)
            position = stop
        self._feed(member, observations[position:], False, rows, snapshots)
        if update + 1 == self.config.num_updates:
            self._close(member, observations, before, rows)
        return rows, snapshots

    def _close(self, member: int, observations: Tensor, before: Tensor | None, rows: list[Row]) -> None:
        """The run's end closes the last task, unless it began with the very last step."""
        start = self._starts[member]
        if start is not None and not len(start.observations):
            return
        closing: list[Row] = []
        if start is not None:
            self._measure(
                "start", start.task, start.step, start.friction, start.weights, start.observations, closing, []
            )
        step = self.config.num_updates * self.config.ppo.steps_per_update
        self._end(member, step, self._window(observations, before), closing, [])
        rows += [{**row, "closing": True} for row in closing]

    def _feed(self, member: int, observations: Tensor, over: bool, rows: list[Row], snapshots: list[Snapshot]) -> None:
        """Add observations to a start that waits for them; write its row once N are there or the task is over."""
        start = self._starts[member]
        if start is None:
            return
        size = self.config.monitor.buffer_size
        start.observations = torch.cat((start.observations, observations))[:size]
        if len(start.observations) == size or over:
            self._measure(
                "start", start.task, start.step, start.friction, start.weights, start.observations, rows, snapshots
            )
            self._starts[member] = None

    def _window(self, observations: Tensor, before: Tensor | None) -> Tensor:
        """The last N observations up to the end of `observations`, [N, D]."""
        if before is not None:
            observations = torch.cat((before, observations))
        return observations[-self.config.monitor.buffer_size :]

    def _end(self, member: int, step: int, window: Tensor, rows: list[Row], snapshots: list[Snapshot]) -> None:
        task, friction = self._current[member]
        self._measure("end", task, step, friction, self.net.member_state(member), window, rows, snapshots)

    def _measure(
        self,
        event: str,
        task: int,
        step: int,
        friction: float,
        weights: dict[str, np.ndarray],
        window: Tensor,
        rows: list[Row],
        snapshots: list[Snapshot],
    ) -> None:
        row: Row = {"event": event, "task": task, "global_step": step, "friction": friction}
        settings = self.config.monitor
        if settings.enabled:
            single = StackedActorCritic(
                1,
                self.net.num_inputs,
                self.net.hidden_sizes,
                self.net.num_actions,
                num_live=self.net.num_live,
                device=self.net.device,
                dtype=self.net.dtype,
            )
            single.load_member_state(0, weights)
            monitor = MarginMonitor(single.actor, settings.buffer_size, settings.epsilon, members=1)
            row |= monitor.measure(window.unsqueeze(0))[0]
            if self.config.snapshots:
                tensors = {**weights, "observations": window.cpu().numpy().copy()}
                snapshots.append((step, f"task_{task}_{event}", tensors))
        rows.append(row)

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        task, friction = self._current[member]
        state = {"task": np.array(task), "friction": np.array(friction)}
        start = self._starts[member]
        if start is not None:
            state |= {f"start.weights.{name}": array for name, array in start.weights.items()}
            state["start.observations"] = start.observations.cpu().numpy().copy()
            state["start.task"], state["start.step"] = np.array(start.task), np.array(start.step)
            state["start.friction"] = np.array(start.friction)
        return state

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        self._current[member] = (int(state["task"]), float(state["friction"]))
        self._starts[member] = None
        if "start.task" in state:
            prefix = "start.weights."
            self._starts[member] = Start(
                int(state["start.task"]),
                int(state["start.step"]),
                float(state["start.friction"]),
                {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)},
                torch.from_numpy(state["start.observations"].copy()).to(self._empty),
            )
