"""PPO for continuous actions in one file, in the manner of CleanRL, watched by a margin monitor in three marked lines.

    python examples/cleanrl_ppo.py --total-steps 200000
    python examples/cleanrl_ppo.py --env-id Pendulum-v1 --num-envs 4 --rollout-steps 512 --gamma 0.95 --learning-rate 1e-3
    python examples/cleanrl_ppo.py --help

Any Gymnasium environment with a Box of actions will do. Defaults are the published settings of Ant (Dohare et al. 2024):
no normalisation, no entropy bonus, no gradient clipping. A time limit is not a death: the value of an episode's last
observation is bootstrapped unless the episode terminated. Needs gymnasium; the default environment needs mujoco too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections import deque
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_type_hints

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from lop.monitor import MarginMonitor


@dataclass
class Args:
    """Every field is an option: total_steps is --total-steps."""

    env_id: str = "lop.envs:lop/Ant-v3"
    seed: int = 0
    total_steps: int = 1_000_000
    num_envs: int = 1
    rollout_steps: int = 2048  # of each environment, between two updates
    num_epochs: int = 10
    num_minibatches: int = 16
    learning_rate: float = 1e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    hidden_size: int = 256
    device: str = "cpu"
    log: str = ""  # a JSON Lines file, one row an update
    wandb_project: str = ""  # needs wandb and an account

    @classmethod
    def parsed(cls, words: list[str] | None = None) -> Args:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        types = get_type_hints(cls)
        for field in fields(cls):
            option = "--" + field.name.replace("_", "-")
            parser.add_argument(
                option, type=types[field.name], default=field.default, help=f"default {field.default!r}"
            )
        return cls(**vars(parser.parse_args(words)))


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them; weights LeCun-uniform, biases 0."""
    layers: list[nn.Module] = []
    for size_in, size_out in itertools.pairwise(sizes):
        linear = nn.Linear(size_in, size_out)
        bound = (3 / size_in) ** 0.5
        nn.init.uniform_(linear.weight, -bound, bound)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Agent(nn.Module):
    """Separate actor and critic; the policy is Gaussian with one free log-std an action."""

    def __init__(self, obs_dim: int, action_dim: int, hidden_size: int):
        super().__init__()
        self.actor = mlp(obs_dim, hidden_size, hidden_size, action_dim)
        self.critic = mlp(obs_dim, hidden_size, hidden_size, 1)
        self.log_std = nn.Parameter(torch.zeros(action_dim))

    def policy(self, obs: Tensor) -> Normal:
        return Normal(self.actor(obs), self.log_std.exp())

    def value(self, obs: Tensor) -> Tensor:
        return self.critic(obs).squeeze(-1)


def make_env(env_id: str) -> gym.Env:
    env = gym.wrappers.FlattenObservation(gym.make(env_id))
    return gym.wrappers.RecordEpisodeStatistics(env)


def advantages_and_returns(
    rewards: Tensor, values: Tensor, next_values: Tensor, terminated: Tensor, done: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and their returns, all [T, E].

    next_values: V of what followed each step, at an episode's end of its last observation. terminated: no future is
    left. done: terminated or truncated; the trace is cut.
    """
    deltas = rewards + gamma * (1 - terminated) * next_values - values
    advantages, running = torch.zeros_like(deltas), torch.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        running = deltas[t] + gamma * lam * (1 - done[t]) * running
        advantages[t] = running
    return advantages, advantages + values


def train(args: Args) -> tuple[Agent, list[dict[str, float]]]:
    """The trained agent and one row of metrics for each update."""
    random.seed(args.seed)
    np.random.seed(args.seed)  # noqa: NPY002  (environments that still use the global generator)
    torch.manual_seed(args.seed)
    device = torch.device(args.device)

    envs = gym.vector.SyncVectorEnv(
        [lambda: make_env(args.env_id)] * args.num_envs, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP
    )
    actions_box = envs.single_action_space
    if not isinstance(actions_box, gym.spaces.Box) or len(actions_box.shape) != 1:
        raise ValueError(f"{args.env_id} has the actions {actions_box}; this PPO needs a Box with one axis")
    obs_dim, action_dim = envs.single_observation_space.shape[0], actions_box.shape[0]
    batch_size = args.rollout_steps * args.num_envs
    if args.total_steps < batch_size:
        raise ValueError(f"total_steps={args.total_steps} is less than one update of {batch_size} steps")

    agent = Agent(obs_dim, action_dim, args.hidden_size).to(device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate)
    monitor = MarginMonitor(agent.actor, buffer_size=1000)  # MONITOR 1 of 3: once the weights are initialised

    # one rollout: T steps of E environments
    steps, num_envs = args.rollout_steps, args.num_envs
    obs_t = torch.zeros(steps, num_envs, obs_dim, device=device)
    next_obs_t = torch.zeros_like(obs_t)
    actions_t = torch.zeros(steps, num_envs, action_dim, device=device)
    log_probs_t, rewards_t, terminated_t, done_t = (torch.zeros(steps, num_envs, device=device) for _ in range(4))

    global_step, start = 0, time.perf_counter()
    recent_returns: deque[float] = deque(maxlen=20)
    rows: list[dict[str, float]] = []
    obs, _ = envs.reset(seed=args.seed)
    for _ in range(args.total_steps // batch_size):
        # collect
        for t in range(steps):
            obs_t[t] = torch.as_tensor(obs, dtype=torch.float32)
            with torch.no_grad():
                policy = agent.policy(obs_t[t])
                actions_t[t] = policy.sample()
                log_probs_t[t] = policy.log_prob(actions_t[t]).sum(-1)
            clipped = np.clip(actions_t[t].cpu().numpy(), actions_box.low, actions_box.high)
            obs, rewards, terminated, truncated, infos = envs.step(clipped)
            done = terminated | truncated
            followed = np.array(obs, dtype=np.float32)
            for env in np.flatnonzero(done):  # obs is the next episode's first: what followed is in infos
                followed[env] = infos["final_obs"][env]
                recent_returns.append(float(infos["final_info"]["episode"]["r"][env]))
            next_obs_t[t] = torch.as_tensor(followed)
            rewards_t[t] = torch.as_tensor(rewards, dtype=torch.float32)
            terminated_t[t], done_t[t] = torch.as_tensor(terminated), torch.as_tensor(done)
        global_step += batch_size
        monitor.observe(obs_t.flatten(0, 1))  # MONITOR 2 of 3: what the actor saw, in time order

        # advantages
        with torch.no_grad():
            values_t, next_values_t = agent.value(obs_t), agent.value(next_obs_t)
            advantages_t, returns_t = advantages_and_returns(
                rewards_t, values_t, next_values_t, terminated_t, done_t, args.gamma, args.gae_lambda
            )
            advantages_t = (advantages_t - advantages_t.mean()) / (advantages_t.std() + 1e-8)

        # learn
        batch = [x.flatten(0, 1) for x in (obs_t, actions_t, log_probs_t, advantages_t, returns_t)]
        for _ in range(args.num_epochs):
            for chosen in torch.randperm(batch_size, device=device).chunk(args.num_minibatches):
                obs_b, actions_b, old_log_probs, advantages, returns = (x[chosen] for x in batch)
                ratio = (agent.policy(obs_b).log_prob(actions_b).sum(-1) - old_log_probs).exp()
                limited = ratio.clamp(1 - args.clip_range, 1 + args.clip_range)
                policy_loss = -torch.minimum(ratio * advantages, limited * advantages).mean()
                value_loss = (returns - agent.value(obs_b)).square().mean()
                optimizer.zero_grad()
                (policy_loss + value_loss).backward()
                optimizer.step()

        # report
        row = {"global_step": global_step, "policy_loss": policy_loss.item(), "value_loss": value_loss.item()}
        if recent_returns:
            row["return"] = float(np.mean(recent_returns))
        row |= monitor.compute(global_step)  # MONITOR 3 of 3: a dict of floats
        rows.append(row)
        report(row, args, global_step / (time.perf_counter() - start))
    envs.close()
    return agent, rows


def report(row: dict[str, float], args: Args, steps_per_second: float) -> None:
    """A line on the terminal; the whole row to the file and to wandb, if they are wanted."""
    dead = "/".join(f"{row.get(f'margin/dead_counts/layer_{i}', float('nan')):.0f}" for i in range(2))
    returns = f"{row['return']:9.1f}" if "return" in row else "        -"
    print(
        f"step {row['global_step']:>9,} | return {returns} | dead {dead} | {steps_per_second:,.0f} steps/s", flush=True
    )
    if args.log:
        with Path(args.log).open("a") as file:
            file.write(json.dumps(row) + "\n")
    if args.wandb_project:
        import wandb

        if wandb.run is None:
            wandb.init(project=args.wandb_project, config=vars(args))
        wandb.log(row, step=int(row["global_step"]))


if __name__ == "__main__":
    train(Args.parsed())
