"""How fast lop is here, as ratios measured in one run: `python -m lop.bench [--quick] [--json FILE]`.

Everything is one member on one core, the parts take turns, and each figure is the median over the rounds:

    physics     a rollout's env steps, five RK4 steps each, replayed in mujoco.batch.Batch and nothing else
    products    the matrix products of one minibatch (actor and critic, forward and backward) and nothing else
    limit       env steps/s if an update cost only these two
    lop         lop.train's own loop, with monitor, records and checkpoints, on Ant
    sb3         Stable-Baselines3's PPO with the same settings on the same environment, if installed
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mujoco.batch import Batch

from lop.nets import StackedActorCritic
from lop.ppo import collect
from lop.run.command import Parser
from lop.run.config import TrainConfig, compose
from lop.run.progress import Progress
from lop.run.reader import read_run
from lop.run.signals import StopSignals
from lop.run.versions import cpu_model
from lop.train import advance
from lop.training.members import Member, open_members
from lop.training.population import Population
from lop.training.process import prepare_process

#: continual backprop replaces units only from 10,000 minibatches on; the bench wants to see it at work
CBP_AT_WORK = ["algo.maturity_minibatches=100"]


@dataclasses.dataclass
class Contender:
    """Something that is measured in turns: run() does one turn and returns how many units of work it did."""

    name: str
    run: Callable[[], int]
    seconds_per_unit: list[float] = dataclasses.field(default_factory=list)
    monitor_share: float = math.nan  # of a lop run's time, its first turn left out

    def turn(self) -> None:
        start = time.perf_counter()
        units = self.run()
        self.seconds_per_unit.append((time.perf_counter() - start) / units)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds_per_unit)


def physics_alone(config: TrainConfig) -> Contender:
    """The env steps of one rollout of a fresh policy, replayed: what physics costs depends on where the ant lies."""
    with torch.inference_mode():
        population = Population(config, [0])
        physics, beginnings = population.environments.physics, {}

        def note_beginning(t: int) -> None:
            if population.environments.any_done:
                beginnings[t] = physics.state(0)[0]

        beginnings[-1] = physics.state(0)[0]
        rollout = collect(population.environments, population.net, population.action_noise(), True, note_beginning)
    actions = rollout.actions[0].numpy().clip(-1, 1).astype(np.float64)
    batch = Batch(physics.materialize(0)[0], 1, 1)
    ctrl = batch.bind("ctrl")

    def run() -> int:
        batch.state[0] = beginnings[-1]
        for t, action in enumerate(actions):
            ctrl[:] = action
            batch.step(None, 5)
            if t in beginnings:
                batch.state[0] = beginnings[t]
        return len(actions)

    return Contender("physics", run)


def products_alone(config: TrainConfig, minibatches: int = 160) -> Contender:
    """The matrix products of a minibatch: inputs that are always zero left out, one batched product for both nets."""
    net = StackedActorCritic(1, 111, tuple(config.ppo.hidden_sizes), 8, num_live=27)
    n = config.ppo.steps_per_update // config.ppo.num_minibatches
    layers = [net.live_weight(layer) for layer in range(net.num_hidden + 1)]
    xs = [torch.randn(2, n, weight.shape[1]) for weight in layers]
    dzs = [torch.randn(2, n, weight.shape[2]) for weight in layers]
    outs = [
        (torch.empty_like(dz), torch.empty_like(w), torch.empty_like(x))
        for x, w, dz in zip(xs, layers, dzs, strict=True)
    ]

    def run() -> int:
        for _ in range(minibatches):
            for layer, (x, weight, dz, (z, d_weight, d_x)) in enumerate(zip(xs, layers, dzs, outs, strict=True)):
                torch.bmm(x, weight, out=z)
                torch.bmm(x.mT, dz, out=d_weight)
                if layer:
                    torch.bmm(dz, weight.mT, out=d_x)
        return minibatches

    return Contender("products", run)


@contextmanager
def lop_training(name: str, words: list[str], updates: int) -> Iterator[Contender]:
    """lop.train's loop on one member, in a run folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        config = compose(["env=ant", *words, f"runs_dir={folder}", "wandb.mode=disabled"])
        members = open_members(config)
        with torch.inference_mode():
            population = Population(config, config.seeds)
        for member in members:
            member.start_tracking()
        contender = Contender(name, lambda: _advance(population, members, updates))
        yield contender
        rows = [row for row in read_run(members[0].folder).timing if "collect_s" in row][updates:]
        seconds = {part: sum(row[part] for row in rows) for part in ("collect_s", "learn_s", "observe_s")}
        contender.monitor_share = sum(row["monitor_s"] for row in rows) / sum(seconds.values())
        members[0].close("stopped")


def _advance(population: Population, members: list[Member], updates: int) -> int:
    with torch.inference_mode(), StopSignals(0) as stop, Progress(1, interval_s=1e9, stream=_Null()) as progress:
        advance(population, members, population.update + updates, stop, progress)
    return updates * population.config.ppo.steps_per_update


class _Null:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def sb3_training(config: TrainConfig, updates: int) -> Contender | None:
    """Stable-Baselines3's PPO, or None where it is not installed."""
    try:
        import gymnasium
        from stable_baselines3 import PPO
    except ImportError:
        return None
    import lop.envs  # noqa: F401  (registers lop/Ant-v3)

    model = PPO("MlpPolicy", gymnasium.make("lop/Ant-v3"), seed=0, device="cpu", **sb3_settings(config))
    steps = updates * config.ppo.steps_per_update

    def run() -> int:
        model.learn(steps, reset_num_timesteps=False)
        return steps

    return Contender("sb3", run)


def sb3_settings(config: TrainConfig) -> dict[str, Any]:
    """Our PPO settings under Stable-Baselines3's names."""
    ppo, algo, sizes = config.ppo, config.algo, list(config.ppo.hidden_sizes)
    adam = {"betas": (algo.adam_beta1, algo.adam_beta2), "eps": ppo.adam_eps, "weight_decay": algo.weight_decay}
    return {
        "learning_rate": ppo.learning_rate,
        "n_steps": ppo.steps_per_update,
        "batch_size": ppo.steps_per_update // ppo.num_minibatches,
        "n_epochs": ppo.num_epochs,
        "gamma": ppo.discount,
        "gae_lambda": ppo.gae_lambda,
        "clip_range": ppo.clip_range,
        "vf_coef": ppo.value_coefficient,
        "ent_coef": 0.0,
        "max_grad_norm": float("inf"),
        "policy_kwargs": {
            "net_arch": {"pi": sizes, "vf": sizes},
            "activation_fn": torch.nn.ReLU,
            "ortho_init": False,
            "optimizer_kwargs": adam,
        },
    }


def measure(rounds: int, updates: int) -> dict[str, Any]:
    """All figures; rounds: turns of each contender, updates: of each learner in a turn."""
    config = compose(["env=ant", "algo=std"])
    prepare_process(config.device)
    physics, products = physics_alone(config), products_alone(config)
    with (
        lop_training("std", ["algo=std"], updates) as std,
        lop_training("cbp", ["algo=cbp", *CBP_AT_WORK], updates) as cbp,
    ):
        sb3 = sb3_training(config, updates)
        contenders = [physics, products, std, cbp, *([sb3] if sb3 else [])]
        for contender in contenders:
            contender.run()  # warm up
        for _ in range(rounds):
            for contender in contenders:
                contender.turn()
    return _figures(config, physics, products, std, cbp, sb3)


def _figures(
    config: TrainConfig, physics: Contender, products: Contender, std: Contender, cbp: Contender, sb3: Contender | None
) -> dict[str, Any]:
    per_step = config.ppo.num_epochs * config.ppo.num_minibatches / config.ppo.steps_per_update
    limit = [a + b * per_step for a, b in zip(physics.seconds_per_unit, products.seconds_per_unit, strict=True)]
    figures: dict[str, Any] = {
        "cpu": cpu_model(),
        "physics_steps_per_s": 1 / physics.median,
        "products_ms_per_minibatch": products.median * 1e3,
        "limit_steps_per_s": 1 / statistics.median(limit),
    }
    for lop in (std, cbp):
        figures[f"{lop.name}_steps_per_s"] = 1 / lop.median
        figures[f"{lop.name}_share_of_limit"] = _ratio(limit, lop.seconds_per_unit)
        figures[f"{lop.name}_monitor_share"] = lop.monitor_share
    if sb3:
        figures["sb3_steps_per_s"] = 1 / sb3.median
        for lop in (std, cbp):
            figures[f"{lop.name}_times_sb3"] = _ratio(sb3.seconds_per_unit, lop.seconds_per_unit)
    return figures


def _ratio(a: list[float], b: list[float]) -> float:
    """The median of the rounds' own ratios: what slows a whole round down cancels."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def table(figures: dict[str, Any]) -> str:
    lines = [f"{figures['cpu']}, one core, one member; medians of interleaved rounds", ""]
    lines.append(f"physics alone    {figures['physics_steps_per_s']:8,.0f} env steps/s")
    lines.append(f"products alone   {figures['products_ms_per_minibatch']:8.2f} ms a minibatch")
    lines.append(f"limit of both    {figures['limit_steps_per_s']:8,.0f} env steps/s")
    for name in ("std", "cbp"):
        share, monitor = figures[f"{name}_share_of_limit"], figures[f"{name}_monitor_share"]
        line = f"lop {name}          {figures[f'{name}_steps_per_s']:8,.0f} env steps/s  {share:5.0%} of the limit"
        if "sb3_steps_per_s" in figures:
            line += f"  {figures[f'{name}_times_sb3']:.2f} x SB3"
        lines.append(f"{line}  monitor {monitor:.2%} of the time")
    if "sb3_steps_per_s" in figures:
        lines.append(f"SB3 PPO          {figures['sb3_steps_per_s']:8,.0f} env steps/s")
    else:
        lines.append("SB3 PPO          not installed: pip install stable-baselines3")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    parser = Parser(prog="python -m lop.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three short rounds: a minute, rougher figures")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args(words)
    figures = measure(rounds=4 if arguments.quick else 15, updates=2)
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
