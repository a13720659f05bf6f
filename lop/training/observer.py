"""What is recorded of a population in each update: margins, firing, units, events, tasks, returns and losses.

The observer feeds lop.monitor's MarginMonitor like any other user of it, and turns what it says into the rows and records
of a run folder. It changes nothing of what it observes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lop.envs import AntVector, Episode, TaskChange
from lop.monitor import FiringBlocks, MarginMonitor, never
from lop.monitor.weights import weight_magnitude, weight_norm
from lop.nets import StackedActorCritic
from lop.ppo.learner import STATISTICS
from lop.ppo.rollout import Estimates, Rollout
from lop.run.config import TrainConfig
from lop.run.tables import EPISODES, EVENTS
from lop.training.tasks import TaskRecorder

Row = dict[str, Any]


@dataclass
class Records:
    """What one update adds to the files of one member."""

    row: Row
    episodes: np.ndarray
    tasks: list[Row] = field(default_factory=list)
    snapshots: list[tuple[int, str, dict[str, np.ndarray]]] = field(default_factory=list)  # (step, label, tensors)
    activity: list[tuple[int, np.ndarray]] = field(default_factory=list)  # (last step of the block, counts [H])
    events: np.ndarray | None = None
    units: np.ndarray | None = None  # [7, H]


class Stopwatch:
    """Adds up wall-clock seconds."""

    def __init__(self) -> None:
        self._seconds, self._started = 0.0, 0.0

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        self._seconds += time.perf_counter() - self._started

    def reset(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class Observer:
    """Watches M members; one call of each method an update, in the order they stand here."""

    def __init__(self, config: TrainConfig, net: StackedActorCritic, environments: AntVector):
        self.config, self.net, self.environments = config, net, environments
        self.num_members, settings = net.num_members, config.monitor
        self.monitors: dict[str, MarginMonitor] = {}
        if settings.enabled:
            for name in ("actor", "critic") if settings.critic else ("actor",):
                self.monitors[name] = MarginMonitor(
                    getattr(net, name),
                    settings.buffer_size,
                    settings.epsilon,
                    members=self.num_members,
                    prefix="" if name == "actor" else "critic/",
                    ranks=int(settings.ranks_every_steps) or never,
                    check_finite=False,
                )
        self.firing = FiringBlocks(net.hidden_sizes, self.num_members, device=net.device)
        self.tasks = TaskRecorder(config, net, environments)
        self._episodes: list[Episode] = []
        self._changes: list[tuple[int, TaskChange]] = []
        self._watch = Stopwatch()

    def monitor_seconds(self) -> float:
        """What monitoring cost since the last call: that which monitor.enabled=false would save."""
        return self._watch.reset()

    def step(self, t: int) -> None:
        """After every environment step, if anything ended in it."""
        environments = self.environments
        if environments.any_done:
            self._episodes += environments.finished
            self._changes += [(t, change) for change in environments.task_changes]

    @torch.no_grad()
    def rollout(self, rollout: Rollout, estimates: Estimates, update: int) -> list[Records]:
        """After collecting, before learning: the weights are still those that acted."""
        per_update = self.config.ppo.steps_per_update
        records = [Records(*self._returns(m, (update + 1) * per_update, update)) for m in range(self.num_members)]
        observations = estimates.samples.observations
        for m, record in enumerate(records):
            record.tasks, record.snapshots = self.tasks.rollout(
                m, [(t, c) for t, c in self._changes if c.member == m], observations[m], self.window(m), update
            )
        if self.monitors:
            self._watch.start()
            self._firing(records, estimates.hidden, update * per_update)
            for monitor in self.monitors.values():
                monitor.observe(observations)
            self._watch.stop()
        self._add_value_statistics(records, estimates)
        self._episodes, self._changes = [], []
        return records

    @torch.no_grad()
    def update(self, records: list[Records], totals: Tensor, gradients: dict[str, Tensor], update: int) -> None:
        """After learning: metrics of the new weights on the last observations."""
        for record, values in zip(records, totals.tolist(), strict=True):
            record.row |= dict(zip(STATISTICS, values, strict=True))
        self._add_weights(records)
        step = (update + 1) * self.config.ppo.steps_per_update
        if not self.monitors or (update + 1) % self.config.monitor.every_updates:
            return
        self._watch.start()
        for monitor in self.monitors.values():
            for record, metrics in zip(records, monitor.compute(step), strict=True):
                record.row |= metrics
        self._add_units_and_events(records, gradients, update)
        self._watch.stop()

    def window(self, member: int) -> Tensor | None:
        """The last observations in the actor's monitor, [N, D]; None without any."""
        monitor = self.monitors.get("actor")
        return monitor.window()[member] if monitor is not None and monitor.inputs.count else None

    def _returns(self, member: int, step: int, update: int) -> tuple[Row, np.ndarray]:
        episodes = [e for e in self._episodes if e.member == member]
        table = np.zeros(len(episodes), EPISODES)
        for place, e in zip(table, episodes, strict=True):
            place["global_step"], place["return"], place["length"] = e.step, e.episode_return, e.length
            place["task"], place["env"] = e.task, e.env
            place["terminated"], place["truncated"] = e.terminated, not e.terminated
        row: Row = {"global_step": step, "update": update, "episodes": len(episodes)}
        if episodes:
            row["return"], row["episode_length"] = float(table["return"].mean()), float(table["length"].mean())
        row["task"] = int(self.environments.task[member])
        row["friction"] = float(self.environments.friction[member])
        return row, table

    def _firing(self, records: list[Records], hidden: list[Tensor], first_step: int) -> None:
        block, done = self.firing.block, first_step // self.firing.block
        for number, counts in enumerate(self.firing.add(hidden, non_negative=True)):
            joined = torch.cat(counts, dim=1).cpu().numpy().astype(np.uint16)
            for record, member_counts in zip(records, joined, strict=True):
                record.activity.append(((done + number + 1) * block, member_counts))
        for record, percents in zip(records, self.firing.percent(), strict=True):
            record.row |= percents

    def _add_value_statistics(self, records: list[Records], estimates: Estimates) -> None:
        """Mean value, and the share of the returns' variance that the values explain (1: all, 0: none)."""
        returns, values = (x.reshape(self.num_members, -1) for x in (estimates.returns, estimates.values))
        # std_mean, not var: the bits of var differ between one row and several
        (residual, _), (spread, _) = torch.std_mean(returns - values, dim=1), torch.std_mean(returns, dim=1)
        explained = 1 - (residual / spread).square()
        log_std = self.net.views["log_std"].double().mean(dim=1)
        columns = torch.stack((values.mean(dim=1), explained, log_std), dim=1).tolist()
        for record, (value, share, mean_log_std) in zip(records, columns, strict=True):
            record.row |= {"value": value, "explained_variance": share, "log_std": mean_log_std}

    def _add_weights(self, records: list[Records]) -> None:
        """Mean |w| of every layer, for networks that no monitor reports."""
        for name, key in (("actor", "pol_weights"), ("critic", "val_weights")):
            if name in self.monitors:
                continue
            side = getattr(self.net, name)
            columns = [weight_magnitude(side.layer_parameters(i)[0]) for i in range(self.net.num_hidden + 1)]
            for record, values in zip(records, torch.stack(columns, dim=-1).tolist(), strict=True):
                record.row |= {f"{key}/layer_{i}": value for i, value in enumerate(values)}

    def _add_units_and_events(self, records: list[Records], gradients: dict[str, Tensor], update: int) -> None:
        report, m = self.monitors["actor"].report(), self.num_members
        names = ("margin", "lowest", "activity", "mean_abs_activation", "bias", "weight_norm")
        norms = [weight_norm(gradients[f"{i}.weight"][:m].mT) for i in range(self.net.num_hidden)]
        grad_norms = torch.cat(norms, dim=1).cpu().numpy()
        for member, record in enumerate(records):
            if self.config.monitor.units:
                columns = [np.concatenate([layer[name][member] for layer in report.units]) for name in names]
                record.units = np.stack([*columns, grad_norms[member]])
            record.events = np.zeros(len(report.events[member]), EVENTS)
            for place, event in zip(record.events, report.events[member], strict=True):
                place["global_step"], place["update"], place["task"] = (
                    record.row["global_step"],
                    update,
                    record.row["task"],
                )
                place["layer"], place["unit"] = event.layer, event.unit
                place["kind"] = 0 if event.kind == "death" else 1
                place["margin_before"], place["margin_after"] = event.margin_before, event.margin_after

    def _parts(self) -> dict[str, Any]:
        return {**self.monitors, "firing": self.firing, "tasks": self.tasks}

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        state: dict[str, np.ndarray] = {}
        for name, part in self._parts().items():
            state |= {f"{name}/{key}": array for key, array in part.member_state(member).items()}
        return state

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        for name, part in self._parts().items():
            own = {key.removeprefix(f"{name}/"): a for key, a in state.items() if key.startswith(f"{name}/")}
            part.load_member_state(member, own)
