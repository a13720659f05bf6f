"""Learning beside Stable-Baselines3's PPO: the same settings on the same environment, several seeds, one figure.

    python scripts/compare_sb3.py --steps 1e6 --seeds 0-2 --out compare/      # hours on one core; resumes where it stopped
    python scripts/compare_sb3.py --out compare/ --report                     # table and figure of what is there

What differs: SB3 normalises advantages per minibatch of 128 (with epsilon), lop per 2048 steps, as the published code does.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np

from lop.bench import sb3_settings
from lop.run.config import compose, parse_seeds

LAST_STEPS = 100_000


def run_lop(out: Path, seed: int, steps: int, algo: str) -> np.ndarray:
    """Episodes [n, 2] of one run of lop.train: env step at the end, return."""
    from lop.run.reader import read_run

    words = [f"env=ant algo={algo} seed={seed} total_steps={steps} wandb.mode=disabled progress.interval_s=60"]
    command = [sys.executable, "-m", "lop.train", *words[0].split(), f"runs_dir={out / 'runs'}"]
    subprocess.run(command, check=True)
    episodes = read_run(out / "runs" / "ant" / algo / f"seed_{seed}").episodes
    return np.stack((episodes["global_step"], episodes["return"]), axis=1)


def run_sb3(seed: int, steps: int) -> np.ndarray:
    """Episodes [n, 2] of Stable-Baselines3's PPO with the settings of cfg/train.yaml and cfg/ant/std.yaml."""
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback

    import lop.envs  # noqa: F401  (registers lop/Ant-v3)

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    settings = sb3_settings(compose(["env=ant", "algo=std"]))
    model = PPO("MlpPolicy", gymnasium.make("lop/Ant-v3"), seed=seed, device="cpu", **settings)
    with torch.no_grad():
        for module in model.policy.modules():
            if isinstance(module, torch.nn.Linear):
                bound = math.sqrt(3 / module.in_features)
                module.weight.uniform_(-bound, bound)
                module.bias.zero_()
    episodes: list[tuple[int, float]] = []

    class Record(BaseCallback):
        def _on_step(self) -> bool:
            episodes.extend((self.num_timesteps, i["episode"]["r"]) for i in self.locals["infos"] if "episode" in i)
            return True

    model.learn(steps, callback=Record())
    return np.array(episodes)


def last_return(episodes: np.ndarray, steps: int) -> float:
    """Mean return of the episodes that ended in the last 100,000 steps."""
    return float(episodes[episodes[:, 0] > steps - LAST_STEPS, 1].mean())


def report(out: Path) -> None:
    results = {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("*.json"))}
    groups: dict[str, list[float]] = {}
    for name, result in results.items():
        value = last_return(np.array(result["episodes"]), result["steps"])
        groups.setdefault(name.rpartition("_")[0], []).append(value)
        print(f"{name:12s} {value:9.1f}")
    for group, values in groups.items():
        print(f"{group:12s} mean {np.mean(values):9.1f}  lowest {min(values):9.1f}  highest {max(values):9.1f}")
    draw(out / "compare_sb3.png", results)


def draw(path: Path, results: dict[str, dict]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"lop-std": "#0072B2", "lop-cbp": "#009E73", "sb3": "#D55E00"}
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, result in results.items():
        episodes, group = np.array(result["episodes"]), name.rpartition("_")[0]
        edges = np.arange(0, result["steps"] + 1, 25_000)
        place = np.digitize(episodes[:, 0], edges)
        means = [episodes[place == i, 1].mean() if (place == i).any() else np.nan for i in range(1, len(edges))]
        label = group if name.endswith("_0") else None
        axes.plot(edges[1:] / 1e6, means, color=colours[group], lw=1.2, label=label)
    axes.set(xlabel="environment steps (millions)", ylabel="return (mean of 25,000 steps)")
    axes.set_title("Ant, same PPO settings: lop and Stable-Baselines3, one line a seed", fontsize=10)
    axes.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=float, default=1e6)
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--which", nargs="+", default=["lop-std", "sb3"], choices=["lop-std", "lop-cbp", "sb3"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", action="store_true", help="only table and figure")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in parse_seeds(arguments.seeds) if not arguments.report else []:
        for which in arguments.which:
            path, steps = arguments.out / f"{which}_{seed}.json", int(arguments.steps)
            if path.exists():
                continue
            if which == "sb3":
                episodes = run_sb3(seed, steps)
            else:
                episodes = run_lop(arguments.out, seed, steps, which.removeprefix("lop-"))
            path.write_text(json.dumps({"steps": steps, "episodes": episodes.tolist()}))
    report(arguments.out)


if __name__ == "__main__":
    main()
