"""Synthetic runs with known answers, written through lop.run.store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lop.run.store import RunStore, folder_for
from lop.run.tables import EPISODES, EVENTS, UNIT_FIELDS

LAYERS = [16, 16]
PER_UPDATE = 2048
EPSILON = 0.1


class SyntheticRun:
    """A run of `updates` updates whose units in `dying` lose their margin in a straight line and die for good.

    Unit j of `dying` reaches 0 at update dying[j]; the others keep a margin of 1. level: of the return, which grows to it.
    """

    def __init__(
        self,
        env: str = "ant",
        algo: str = "std",
        seed: int = 0,
        *,
        updates: int = 100,
        planned: int | None = None,
        level: float = 1000.0,
        dying: dict[int, float] | None = None,
        task_updates: int | None = None,
        friction_of: Callable[[int, int], float] = lambda seed, task: 0.1 * (1 + (seed + task) % 5),
        name: str = "",
    ) -> None:
        self.env, self.algo, self.seed, self.updates, self.level, self.name = env, algo, seed, updates, level, name
        self.planned = (planned or updates) * PER_UPDATE
        self.task_updates, self.friction_of = task_updates, friction_of
        self.noise = np.random.default_rng([seed, *algo.encode()])
        time = np.arange(updates)[:, None]
        death = np.full(sum(LAYERS), np.inf)
        for unit, at in (dying or {}).items():
            death[unit] = at
        slope = np.where(np.isfinite(death), 0.02, 0.0)
        offset = np.where(np.isfinite(death), death, 0.0)
        straight = slope * (offset - time)
        self.margin = np.where(np.isfinite(death), np.minimum(1.0, straight), 1.0).astype(np.float16)

    @property
    def configuration(self) -> dict:
        env = {"name": self.env, "total_steps": 1e8, "friction": 1.0}
        if self.task_updates:
            env["task_steps"] = self.task_updates * PER_UPDATE
        return {
            "env": env,
            "algo": {"name": self.algo, "variant": None},
            "preset": "fixed",
            "seed": self.seed,
            "num_envs": 1,
            "total_steps": self.planned,
            "name": self.name,
            "ppo": {"steps_per_update": PER_UPDATE, "hidden_sizes": LAYERS},
            "monitor": {"epsilon": EPSILON},
        }

    def task(self, update: int) -> int:
        return update // self.task_updates if self.task_updates else 0

    def row(self, u: int) -> dict:
        progress = (u + 1) / self.updates
        row = {"global_step": (u + 1) * PER_UPDATE, "update": u, "episodes": 2, "return": self.episode_return(u)}
        row |= {
            "task": self.task(u),
            "friction": self.friction_of(self.seed, self.task(u)) if self.task_updates else 1.0,
        }
        ranks = u == 0 or (u + 1) * PER_UPDATE // 10_000 > u * PER_UPDATE // 10_000
        for layer in range(2):
            margin = self.margin[u, 16 * layer : 16 * (layer + 1)].astype(float)
            before = self.margin[max(u - 1, 0), 16 * layer : 16 * (layer + 1)]
            row[f"margin/dead_counts/layer_{layer}"] = float((margin <= 0).sum())
            row[f"margin/at_risk_counts/layer_{layer}"] = float(((margin > 0) & (margin < EPSILON)).sum())
            row[f"margin/mean_margins/layer_{layer}"] = float(margin.mean())
            row[f"margin/mean_scale_free_margins/layer_{layer}"] = float(margin.mean())
            row[f"margin/deaths/layer_{layer}"] = float(((before > 0) & (margin <= 0)).sum())
            row[f"margin/revivals/layer_{layer}"] = float(((before <= 0) & (margin > 0)).sum())
            row[f"pol_features_activity/layer_{layer}"] = 100 * float((margin <= 0).mean())
            if ranks:
                row[f"srank/layer_{layer}"] = float(16 - (margin <= 0).sum())
        row |= {f"pol_weights/layer_{i}": 0.05 + 0.01 * i + 0.05 * progress for i in range(3)}
        row |= {f"val_weights/layer_{i}": 0.06 + 0.01 * i + 0.05 * progress for i in range(3)}
        return row | {"weight_change": 80.0 + u}

    def episode_return(self, u: int) -> float:
        if not self.task_updates:
            return float(self.level * (1 - np.exp(-5 * u / self.updates)))
        return float(self.level * (1 - np.exp(-5 * (u % self.task_updates) / self.task_updates)) - 50 * self.task(u))

    def episodes(self, u: int) -> np.ndarray:
        table = np.zeros(2, EPISODES)
        table["global_step"] = u * PER_UPDATE + np.array([1000, 2000])
        table["return"] = self.episode_return(u) + self.noise.normal(0, 20, 2)
        table["length"], table["task"], table["truncated"] = 1000, self.task(u), True
        return table

    def events(self, u: int) -> np.ndarray:
        before, after = self.margin[max(u - 1, 0)], self.margin[u]
        units = np.flatnonzero((before > 0) != (after > 0))
        table = np.zeros(len(units), EVENTS)
        table["global_step"], table["update"], table["task"] = (u + 1) * PER_UPDATE, u, self.task(u)
        table["layer"], table["unit"], table["kind"] = units // 16, units % 16, after[units] > 0
        table["margin_before"], table["margin_after"] = before[units], after[units]
        return table

    def units(self, u: int) -> np.ndarray:
        values = {"margin": self.margin[u].astype(float), "weight_norm": np.ones(sum(LAYERS))}
        values["firing_rate"] = np.clip(values["margin"], 0, 1) / 2
        return np.stack([values.get(name, np.zeros(sum(LAYERS))) for name in UNIT_FIELDS])

    def write(self, root: Path) -> Path:
        """The run folder under `root`."""
        folder = folder_for(root, self.env, self.algo, self.name, self.seed)
        store = RunStore(folder, LAYERS, {"configuration": self.configuration, "versions": {}})
        for u in range(self.updates):
            store.append_metrics(self.row(u))
            store.append_episodes(self.episodes(u))
            store.append_events(self.events(u))
            store.append_units((u + 1) * PER_UPDATE, u, self.units(u))
            for block in range(u * PER_UPDATE // 1000 + 1, (u + 1) * PER_UPDATE // 1000 + 1):
                store.append_activity(block * 1000, np.where(self.margin[u] > 0, 400 + block % 7, 0).astype(np.uint16))
            self._tasks(store, u)
        store.close()
        return folder

    def _tasks(self, store: RunStore, u: int) -> None:
        if not self.task_updates:
            return
        task = self.task(u)
        metrics = {key: value for key, value in self.row(u).items() if key.startswith("margin/")}
        for event, when in (("start", u % self.task_updates == 0), ("end", (u + 1) % self.task_updates == 0)):
            if when:
                step = (u + (event == "end")) * PER_UPDATE
                row = {"event": event, "task": task, "global_step": step}
                store.append_task(row | {"friction": self.friction_of(self.seed, task)} | metrics)


@pytest.fixture(scope="session")
def synthetic() -> type[SyntheticRun]:
    """SyntheticRun(...).write(root)."""
    return SyntheticRun


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ant: std (4 seeds, one dead half-way), cbp (3), l2 (2). SlipperyAnt: std and cbp, 3 seeds of 5 tasks. Read only."""
    root = tmp_path_factory.mktemp("runs")
    for seed in range(4):
        dying = {j: 20 + 6 * j + seed for j in range(10)}
        SyntheticRun(
            "ant", "std", seed, updates=60 if seed == 3 else 120, planned=120, level=800 + 40 * seed, dying=dying
        ).write(root)
    for seed in range(3):
        SyntheticRun("ant", "cbp", seed, updates=120, level=2000 + 40 * seed, dying={3: 90}).write(root)
    for seed in range(2):
        SyntheticRun("ant", "l2", seed, updates=120, level=1500 + 40 * seed).write(root)
    for algo, dying in (("std", {j: 10 + 9 * j for j in range(10)}), ("cbp", {})):
        for seed in range(3):
            SyntheticRun("sant", algo, seed, updates=100, task_updates=20, level=1000 + seed, dying=dying).write(root)
    return root
