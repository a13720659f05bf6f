"""Play a run's policy: `python -m lop.evaluate runs/ant/cbp/seed_0 [--step N] [--episodes 10] [--friction F]`.

Actions are the policy's means, clipped to [-1, 1], or with --stochastic draws from it. All episodes run side by side, each
in an environment of its own. The friction is, unless given, the one that the run had at that step.

Exit codes: 0; 2 the command was wrong, or the run cannot be read.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lop.envs import AntVector, Episode
from lop.run.command import Parser, wrong
from lop.run.files import RunError, write_atomic
from lop.run.progress import number
from lop.run.reader import Run, policy_from, read_run, weights_at
from lop.run.seeds import MAX_SEED
from lop.run.streams import stream

MAX_EPISODES = 10_000


def evaluate(
    folder: str | Path,
    step: int | None = None,
    *,
    episodes: int = 10,
    friction: float | None = None,
    seed: int = 0,
    stochastic: bool = False,
) -> dict[str, Any]:
    """What `episodes` episodes of a run's policy gave, as JSON: see `summarise`. Errors: RunError."""
    run = read_run(folder)
    step, tensors = weights_at(run, step)
    friction = friction_at(run, step) if friction is None else friction
    environments = environments_of(run, episodes, friction, seed)
    std = np.exp(tensors["log_std"]) if stochastic else None
    played = play(environments, policy_from(tensors), std, seed)
    about = {"run": str(folder), "step": step, "friction": friction, "seed": seed, "stochastic": stochastic}
    return {**about, **summarise(played)}


def friction_at(run: Run, step: int) -> float:
    """The friction in force when the run had done `step` steps, as its rows say; before the first row, that one's."""
    rows = run.metrics_rows
    if not rows:
        raise RunError(f"{run.folder} has no rows that tell its friction yet: give --friction")
    until = [row for row in rows if row["global_step"] <= step]
    return float((until or rows[:1])[-1]["friction"])


def environments_of(run: Run, episodes: int, friction: float, seed: int) -> AntVector:
    """The environment that the run was trained in, once for each episode, at a constant friction."""
    try:
        env = run.configuration["env"]
        options = {key: env[key] for key in ("fidelity", "contact_forces", "observation")}
        return AntVector([seed], episodes, time_limit=env["time_limit_steps"], friction=friction, **options)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.folder / 'run.json'} describes no environment of ours: {error}") from error


@torch.inference_mode()
def play(
    environments: AntVector, policy: torch.nn.Sequential, std: np.ndarray | None = None, seed: int = 0
) -> list[Episode]:
    """The first episode of each environment, in their order.

    std: of the actions [A], around the policy's means; None: the means themselves.
    """
    observation = np.zeros((environments.num_envs, environments.obs_dim), np.float32)
    first: dict[int, Episode] = {}
    t = 0
    while len(first) < environments.num_envs:
        observation[:, : environments.num_live] = environments.observation[0]
        actions = policy(torch.from_numpy(observation)).numpy()
        if std is not None:
            actions = actions + std * stream(seed, "evaluation_noise", t).standard_normal(actions.shape)
        environments.step(np.clip(actions, -1, 1)[None])
        t += 1
        for episode in environments.finished if environments.any_done else ():
            first.setdefault(episode.env, episode)
    return [first[e] for e in sorted(first)]


def summarise(played: list[Episode]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1; None for one episode), least and largest of return and length; all episodes."""
    columns = {"return": [e.episode_return for e in played], "length": [float(e.length) for e in played]}
    result: dict[str, Any] = {}
    for name, values in columns.items():
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        result[name] = {"mean": float(np.mean(values)), "std": std, "min": min(values), "max": max(values)}
    result["terminated"] = sum(e.terminated for e in played) / len(played)
    result["episodes"] = [{"return": e.episode_return, "length": e.length, "terminated": e.terminated} for e in played]
    return result


def table(result: dict[str, Any]) -> str:
    """The result for reading."""
    actions = "drawn actions" if result["stochastic"] else "mean actions"
    head = f"{result['run']} at step {result['step']:,}, friction {result['friction']:.4g}, "
    lines = [
        head + f"{len(result['episodes'])} episodes, {actions}",
        f"{'':8}{'mean':>10}{'std':>10}{'min':>10}{'max':>10}",
    ]
    for name in ("return", "length"):
        values = [math.nan if value is None else value for value in result[name].values()]
        lines.append(f"{name:8}" + "".join(f"{number(value):>10}" for value in values))
    return "\n".join([*lines, f"terminated {100 * result['terminated']:.0f} %"])


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m lop.evaluate", description="Play episodes of a run's policy.")
    parser.add_argument("run", help="run folder, for instance runs/ant/cbp/seed_0")
    parser.add_argument("--step", type=int, help="of a snapshot or of the checkpoint; the latest by default")
    parser.add_argument("--episodes", type=int, default=10, help="how many, default 10")
    parser.add_argument("--friction", type=float, help="of every geom; by default what the run had at that step")
    parser.add_argument("--seed", type=int, default=0, help="of the starting poses (and of drawn actions), default 0")
    parser.add_argument("--stochastic", action="store_true", help="draw actions instead of playing their means")
    parser.add_argument("--json", metavar="FILE", help="write the numbers, those of every episode too")
    given = parser.parse_args(words)
    if not 1 <= given.episodes <= MAX_EPISODES:
        parser.error(f"--episodes {given.episodes}: must be between 1 and {MAX_EPISODES}")
    if given.friction is not None and not 0 < given.friction < math.inf:
        parser.error(f"--friction {given.friction}: must be a finite number > 0")
    if not 0 <= given.seed <= MAX_SEED:
        parser.error(f"--seed {given.seed}: must be between 0 and {MAX_SEED}")
    if given.json and (Path(given.json).is_dir() or not Path(given.json).parent.is_dir()):
        parser.error(f"--json {given.json}: must be a file in a folder that exists")
    return given


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    torch.set_num_threads(1)
    try:
        result = evaluate(
            given.run,
            given.step,
            episodes=given.episodes,
            friction=given.friction,
            seed=given.seed,
            stochastic=given.stochastic,
        )
        if given.json:
            write_atomic(Path(given.json), json.dumps(result, indent=1).encode() + b"\n")
    except RunError as error:
        return wrong(error)
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
