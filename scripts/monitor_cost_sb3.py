"""The monitor's share of Stable-Baselines3's PPO on Ant: python scripts/monitor_cost_sb3.py [--updates 10]

The settings are those of lop's own runs (cfg/train.yaml, cfg/ant/std.yaml), one thread. Time inside MarginCallback is
divided by the time of all updates; the first update is left out. Every default, then with critic=True besides.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO

from lop.bench import sb3_settings
from lop.monitor.adapters.stable_baselines3 import MarginCallback
from lop.run.config import compose


class TimedCallback(MarginCallback):
    """Seconds at the start of each update, and seconds spent in the callback until then."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.inside_s = 0.0
        self.marks: list[tuple[float, float]] = []

    def _on_rollout_start(self) -> None:
        self.marks.append((time.perf_counter(), self.inside_s))

    def _on_step(self) -> bool:
        start = time.perf_counter()
        result = super()._on_step()
        self.inside_s += time.perf_counter() - start
        return result

    def share(self) -> float:
        (start, before), (end, after) = self.marks[1], self.marks[-1]
        return (after - before) / (end - start)


def measured(updates: int, critic: bool) -> float:
    settings = sb3_settings(compose(["env=ant", "algo=std"]))
    model = PPO("MlpPolicy", gymnasium.make("lop.envs:lop/Ant-v3"), seed=0, device="cpu", **settings)
    callback = TimedCallback(every_steps=model.n_steps, critic=critic)
    model.learn((updates + 2) * model.n_steps, callback=callback)
    return callback.share()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=10, help="updates that count (10)")
    updates = parser.parse_args().updates
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print("| watched | share of the time |\n|---|---|")
    for name, critic in (("actor", False), ("actor and critic", True)):
        print(f"| {name} | {100 * measured(updates, critic):.2f} % |", flush=True)


if __name__ == "__main__":
    main()
