"""Run folders with made-up curves, written through the real store: for tests, for screenshots, for measuring.

    python tests/dashboard/synthetic_runs.py OUT --runs 150 --updates 50000 --distinct 5

`distinct` runs are computed, the others are copies of their files under another seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lop.run.owner import claim
from lop.run.store import RunStore, folder_for
from lop.run.tables import EVENTS

ALGOS = ("std", "ns", "cbp", "l2", "redo")
STEPS = 2048
#: peak return, share of it lost at the end, share of units dead at the end, final mean |w|
CHARACTER = {
    "std": (2600, 1.1, 0.55, 0.115),
    "ns": (3900, 0.9, 0.5, 0.104),
    "cbp": (4900, 0.0, 0.03, 0.03),
    "l2": (4000, 0.05, 0.06, 0.008),
    "redo": (3600, 0.2, 0.1, 0.02),
}


class Synthetic:
    """A run that grows by `advance`. A task lasts task_updates on sant; layers: units of each hidden layer."""

    def __init__(
        self,
        runs_dir: Path,
        env: str = "ant",
        algo: str = "std",
        seed: int = 0,
        *,
        name: str = "",
        planned: int = 500,
        layers: Sequence[int] = (64, 64),
        task_updates: int = 50,
        units: bool = True,
    ) -> None:
        self.folder = folder_for(runs_dir, env, algo, name, seed)
        self.algo, self.planned, self.layers, self.units = algo, planned, list(layers), units
        self.task_updates = task_updates if env == "sant" else 0
        self.random = np.random.default_rng([seed, *algo.encode()])
        self.owner = claim(self.folder)
        tasks = planned // task_updates + 1
        self.frictions = np.exp(self.random.uniform(np.log(0.02), np.log(2), tasks)).tolist()
        environment = {"name": env} | ({"task_steps": task_updates * STEPS} if self.task_updates else {})
        configuration = {
            "env": environment,
            "algo": {"name": algo},
            "seed": seed,
            "name": name,
            "total_steps": planned * STEPS,
            "ppo": {"steps_per_update": STEPS},
        }
        info = {"configuration": configuration} | ({"frictions": self.frictions} if self.task_updates else {})
        self.store = RunStore(self.folder, self.layers, info)
        self.update = 0
        count = sum(layers)
        self.margins = self.random.gamma(4.0, 0.4, count)
        self.slope = self.random.exponential(1.0, count) * (self.random.random(count) < CHARACTER[algo][2] * 1.6)

    def advance(self, updates: int) -> None:
        """Adds this many updates, and shows them to readers."""
        for _ in range(updates):
            self._one()
        self.store.flush()

    def end(self, status: str = "finished", message: str = "") -> None:
        """Closes the folder."""
        self.store.close()
        self.owner.release(status, message)

    def _one(self) -> None:
        task = self.update // self.task_updates if self.task_updates else 0
        if self.task_updates and self.update % self.task_updates == 0:
            if task:
                self._task_row("end", task - 1)
            self._task_row("start", task)
        before = self.margins
        self.update += 1
        noise = self.random.normal(0, 0.04, len(before))
        self.margins = before - self.slope * 4 / self.planned + noise * (before > -0.3)
        row = self._row(task)
        if self.update % 5 == 1:
            row |= self._ranks()
        self.store.append_metrics(row)
        self._events(before, task)
        if self.units:
            values = np.zeros((7, len(before)), np.float32)
            values[0] = self.margins
            self.store.append_units(self.update * STEPS, self.update, values)

    def _row(self, task: int) -> dict:
        peak, lost, _, weight = CHARACTER[self.algo]
        t = self.update / self.planned
        level = peak * (1 - np.exp(-8 * t)) * (1 - lost * t**1.5) + self.random.normal(0, 150)
        row = {"global_step": self.update * STEPS, "update": self.update, "episodes": 3, "task": task}
        if self.update % 7:
            row |= {"return": float(level), "episode_length": 600.0}
        row |= {"value": 1.0, "explained_variance": 0.5, "log_std": -1.0, "weight_change": 80.0}
        row |= self._layer_metrics()
        for i in range(len(self.layers) + 1):
            row[f"pol_weights/layer_{i}"] = 0.054 + (weight - 0.054) * t
            row[f"val_weights/layer_{i}"] = 0.06
        return row

    def _layer_metrics(self) -> dict:
        row: dict = {}
        for i, margins in enumerate(np.split(self.margins, np.cumsum(self.layers)[:-1])):
            dead, risk = int((margins <= 0).sum()), int(((margins > 0) & (margins < 0.1)).sum())
            values = {
                "margin/dead_counts": dead,
                "margin/at_risk_counts": risk,
                "margin/alive_counts": len(margins) - dead - risk,
                "margin/always_on_counts": 1.0,
                "margin/mean_margins": float(margins.mean()),
                "margin/mean_scale_free_margins": float(margins.mean()) * 1.1,
                "pol_features_activity": 100.0 * dead / len(margins),
                **{f"padding_{k}": 0.1234567890123 for k in range(24)},
            }
            row |= {f"{key}/layer_{i}": value for key, value in values.items()}
        return row

    def _ranks(self) -> dict:
        values = {}
        for i, margins in enumerate(np.split(self.margins, np.cumsum(self.layers)[:-1])):
            alive = float((margins > 0).sum())
            values |= {f"srank/layer_{i}": alive * 0.8, f"stable_rank/layer_{i}": 2.0 + alive / 100}
            values |= {f"effective_rank/layer_{i}": alive * 0.4}
        return values

    def _task_row(self, event: str, task: int) -> None:
        row = {"event": event, "task": task, "global_step": self.update * STEPS, "friction": self.frictions[task]}
        self.store.append_task(row | self._layer_metrics() | self._ranks())

    def _events(self, before: np.ndarray, task: int) -> None:
        crossed = np.flatnonzero((before > 0) != (self.margins > 0))
        events = np.zeros(len(crossed), EVENTS)
        starts = np.cumsum([0, *self.layers])
        layer = np.searchsorted(starts, crossed, side="right") - 1
        events["global_step"], events["update"], events["task"] = self.update * STEPS, self.update, task
        events["layer"], events["unit"] = layer, crossed - starts[layer]
        events["kind"] = self.margins[crossed] > 0  # EVENT_KINDS: death, revival
        events["margin_before"], events["margin_after"] = before[crossed], self.margins[crossed]
        self.store.append_events(events)


def copy_run(source: Path, target: Path, algo: str, seed: int) -> None:
    """The same run under another algorithm and seed."""
    shutil.copytree(source, target)
    info = json.loads((target / "run.json").read_text())
    info["configuration"] |= {"algo": {"name": algo}, "seed": seed}
    (target / "run.json").write_text(json.dumps(info))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--updates", type=int, default=50_000)
    parser.add_argument("--distinct", type=int, default=5)
    parser.add_argument(
        "--units", action="store_true", help="of 7 KB an update with 2 x 256 units, for the distinct runs"
    )
    asked = parser.parse_args()
    made: list[Path] = []
    for i in range(asked.runs):
        algo, seed = ALGOS[i % len(ALGOS)], i // len(ALGOS)
        if i < asked.distinct:
            run = Synthetic(asked.out, "ant", algo, seed, planned=asked.updates, layers=(256, 256), units=asked.units)
            run.advance(asked.updates)
            run.end()
            made.append(run.folder)
        else:
            source = next((m for m in made if m.parent.name == algo), made[0])
            copy_run(source, folder_for(asked.out, "ant", algo, None, seed), algo, seed)


if __name__ == "__main__":
    main()
