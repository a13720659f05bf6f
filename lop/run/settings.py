"""The settings of a run: their types, and what is impossible about their values. Numbers are in cfg/*.yaml.

Every dataclass has `problems()`: one text per impossible value, "key=given: what is allowed".
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

SWITCH = ("fixed", "reference")
MAX_THREADS = 1024
MAX_WIDTH = 65536


@dataclass
class EnvSettings:
    name: str = MISSING
    total_steps: float = MISSING
    time_limit_steps: int = MISSING
    fidelity: str = MISSING
    observation: str = MISSING
    contact_forces: bool = MISSING
    friction: float | None = MISSING

    def problems(self) -> list[str]:
        found = _not_among("env.fidelity", self.fidelity, ("mujoco210", "current"))
        found += _not_among("env.observation", self.observation, ("published", "compact"))
        found += _below("env.time_limit_steps", self.time_limit_steps, 1)
        if self.contact_forces and self.observation == "compact":
            found.append("env.contact_forces=true needs env.observation=published: compact has no room for them")
        return found + self._friction_problems()

    def _friction_problems(self) -> list[str]:
        if self.friction is not None and 0 < self.friction < math.inf:
            return []
        return [f"env.friction={self.friction}: must be a positive number"]


@dataclass
class SlipperyEnvSettings(EnvSettings):
    task_steps: float = MISSING
    friction_low: float = MISSING
    friction_high: float = MISSING
    frictions_file: str | None = MISSING

    def problems(self) -> list[str]:
        found = super().problems() + _below("env.task_steps", self.task_steps, 1)
        if not 0 < self.friction_low <= self.friction_high < math.inf:
            found.append(
                f"env.friction_low={self.friction_low}, env.friction_high={self.friction_high}: needs 0 < low <= high"
            )
        return found

    def _friction_problems(self) -> list[str]:
        if self.friction is None:
            return []
        return [f"env.friction={self.friction}: tasks set the friction of sant; use env=ant for a constant one"]


@dataclass
class AlgoSettings:
    """Keys that every cfg/<env>/<algo>.yaml sets under `algo`; variants with code add their own."""

    name: str = MISSING
    variant: str | None = MISSING
    adam_beta1: float = MISSING
    adam_beta2: float = MISSING
    weight_decay: float = MISSING

    def problems(self) -> list[str]:
        """What is impossible about the values, each as 'key=given: allowed'."""
        found = _below("algo.weight_decay", self.weight_decay, 0)
        for key in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, key) < 1:
                found.append(f"algo.{key}={getattr(self, key)}: must be in [0, 1)")
        return found


@dataclass
class PpoSettings:
    learning_rate: float = MISSING
    adam_eps: float = MISSING
    discount: float = MISSING
    gae_lambda: float = MISSING
    steps_per_update: int = MISSING
    num_epochs: int = MISSING
    num_minibatches: int = MISSING
    clip_range: float = MISSING
    value_coefficient: float = MISSING
    hidden_sizes: list[int] = MISSING

    def problems(self) -> list[str]:
        found = []
        for key in ("steps_per_update", "num_epochs", "num_minibatches"):
            found += _below(f"ppo.{key}", getattr(self, key), 1)
        for key in ("learning_rate", "clip_range", "value_coefficient"):
            found += _below(f"ppo.{key}", getattr(self, key), 0)
        # with 0, Adam divides 0 by 0 wherever a gradient has always been zero
        if not 0 < self.adam_eps < math.inf:
            found.append(f"ppo.adam_eps={self.adam_eps}: must be > 0")
        for key in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, key) <= 1:
                found.append(f"ppo.{key}={getattr(self, key)}: must be in [0, 1]")
        if not self.hidden_sizes or not all(1 <= width <= MAX_WIDTH for width in self.hidden_sizes):
            found.append(
                f"ppo.hidden_sizes={list(self.hidden_sizes)}: needs one width a layer, between 1 and {MAX_WIDTH}"
            )
        if not found and self.steps_per_update % self.num_minibatches:
            found.append(
                f"ppo.num_minibatches={self.num_minibatches} "
                f"does not divide ppo.steps_per_update={self.steps_per_update}"
            )
        if not found and self.steps_per_update < 2:
            found.append(f"ppo.steps_per_update={self.steps_per_update}: normalising advantages needs at least 2")
        return found


@dataclass
class Departures:
    """Each 'fixed' or 'reference'; cfg/preset/fixed.yaml says what they mean."""

    cbp_moments: str = MISSING
    cbp_bias_transfer: str = MISSING
    cbp_adjacent: str = MISSING
    redo_scores: str = MISSING
    redo_moments: str = MISSING
    redo_all_dead: str = MISSING
    time_limit: str = MISSING
    task_clock: str = MISSING
    control_cost: str = MISSING

    def problems(self) -> list[str]:
        return [
            p
            for f in dataclasses.fields(self)
            for p in _not_among(f"departures.{f.name}", getattr(self, f.name), SWITCH)
        ]


@dataclass
class MonitorSettings:
    enabled: bool = MISSING
    buffer_size: int = MISSING
    epsilon: float = MISSING
    every_updates: int = MISSING
    ranks_every_steps: float = MISSING
    critic: bool = MISSING
    units: bool = MISSING

    def problems(self) -> list[str]:
        found = _below("monitor.buffer_size", self.buffer_size, 1) + _below(
            "monitor.every_updates", self.every_updates, 1
        )
        if not 0 < self.epsilon < math.inf:
            found.append(f"monitor.epsilon={self.epsilon}: must be > 0")
        return found + _below("monitor.ranks_every_steps", self.ranks_every_steps, 0)


@dataclass
class ProgressSettings:
    interval_s: float = MISSING

    def problems(self) -> list[str]:
        return _below("progress.interval_s", self.interval_s, 0)


@dataclass
class WandbSettings:
    mode: str = MISSING
    project: str = MISSING
    entity: str | None = MISSING
    tags: list[str] = MISSING
    images_every_steps: float = MISSING

    def problems(self) -> list[str]:
        found = _not_among("wandb.mode", self.mode, ("auto", "online", "offline", "disabled"))
        return found + _below("wandb.images_every_steps", self.images_every_steps, 0)


@dataclass
class TrainConfig:
    """Everything a run depends on, resolved. `seeds` are the members of one process."""

    env: EnvSettings = field(default_factory=EnvSettings)
    algo: AlgoSettings = field(default_factory=AlgoSettings)
    preset: str = MISSING
    departures: Departures = field(default_factory=Departures)
    seed: Any = MISSING
    seeds: Any = MISSING
    num_envs: int = MISSING
    total_steps: float | None = MISSING
    runs_dir: str = MISSING
    name: str = MISSING
    device: str = MISSING
    threads: int = MISSING
    resume: str = MISSING
    checkpoint_every_steps: float = MISSING
    snapshots: int = MISSING
    grace_s: float = MISSING
    ppo: PpoSettings = field(default_factory=PpoSettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    progress: ProgressSettings = field(default_factory=ProgressSettings)
    wandb: WandbSettings = field(default_factory=WandbSettings)

    @property
    def num_updates(self) -> int:
        return int(self.total_steps) // self.ppo.steps_per_update

    @property
    def label(self) -> str:
        """algo[-name], the folder of this configuration."""
        return f"{self.algo.name}-{self.name}" if self.name else self.algo.name

    def problems(self) -> list[str]:
        found = _below("num_envs", self.num_envs, 1)
        if not 1 <= self.threads <= MAX_THREADS:
            found.append(f"threads={self.threads}: must be between 1 and {MAX_THREADS}")
        if not self.runs_dir.strip():
            found.append("runs_dir is empty: must be the path of a folder, for instance runs")
        found += _below("checkpoint_every_steps", self.checkpoint_every_steps, 1) + _below(
            "snapshots", self.snapshots, 0
        )
        found += _below("grace_s", self.grace_s, 0) + _not_among("resume", self.resume, ("auto", "never", "must"))
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            found.append(f"device={self.device}: must be cpu, cuda or cuda:<n>")
        if not re.fullmatch(r"[A-Za-z0-9_.,=+]{0,100}", self.name):
            found.append(f"name={self.name!r}: at most 100 letters, digits and _ . , = + (it becomes a folder's name)")
        for part in (self.env, self.algo, self.departures, self.ppo, self.monitor, self.progress, self.wandb):
            found += part.problems()
        return found or self._joint_problems()

    def _joint_problems(self) -> list[str]:
        found, per_update = [], self.ppo.steps_per_update
        if per_update % self.num_envs:
            found.append(f"num_envs={self.num_envs} does not divide ppo.steps_per_update={per_update}")
        if self.total_steps < per_update:
            found.append(f"total_steps={self.total_steps:g}: less than one update of {per_update} steps")
        if isinstance(self.env, SlipperyEnvSettings):
            if self.departures.task_clock == "reference" and self.num_envs != 1:
                found.append("departures.task_clock=reference: the published clock exists for num_envs=1 only")
            if self.env.task_steps % self.num_envs:
                found.append(f"num_envs={self.num_envs} does not divide env.task_steps={self.env.task_steps:g}")
        return found


def _not_among(key: str, value: Any, allowed: tuple[str, ...]) -> list[str]:
    return [] if value in allowed else [f"{key}={value}: must be one of {', '.join(allowed)}"]


def _below(key: str, value: float, minimum: float) -> list[str]:
    """Also NaN and infinity are refused."""
    return [] if minimum <= value < math.inf else [f"{key}={value}: must be >= {minimum}"]
