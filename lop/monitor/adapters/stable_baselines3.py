"""A Stable-Baselines3 callback: margins of the actor, and of the critic if asked, of PPO, A2C, SAC, TD3, DDPG and DQN.

    model.learn(100_000, callback=MarginCallback(every_steps=2048, critic=True))

It watches the observations that the networks act on, as they see them (normalised, stacked, from all environments),
and changes nothing in training. Metrics go to SB3's logger (not to its terminal table, whose keys are too short) and,
if given, to `log`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from lop.monitor.monitor import MarginMonitor
from lop.monitor.schedule import Schedule, over_steps


@dataclass(frozen=True)
class Watched:
    """A network to watch: its module, how to run it on observations, and whether it takes actions besides."""

    module: nn.Module
    forward: Callable[..., Any]
    takes_actions: bool = False


def networks(policy: nn.Module) -> dict[str, Watched]:
    """Actor (prefix "") and critic (prefix "critic/") of a policy; of DQN the Q-network alone."""
    if isinstance(policy, ActorCriticPolicy):
        return {"": Watched(policy, _on_policy_actor), "critic/": Watched(policy, lambda p, obs: p.predict_values(obs))}
    if isinstance(policy, DQNPolicy):
        return {"": Watched(policy.q_net, lambda net, obs: net(obs))}
    if isinstance(policy, SACPolicy):
        # the means: the actor's own forward would draw an action
        actor = Watched(policy.actor, lambda net, obs: net.get_action_dist_params(obs)[0])
    elif isinstance(policy, TD3Policy):
        actor = Watched(policy.actor, lambda net, obs: net(obs))
    else:
        raise TypeError(f"MarginCallback does not know the policy {type(policy).__name__}; use MarginMonitor itself")
    return {
        "": actor,
        "critic/": Watched(policy.critic, lambda net, obs, actions: net(obs, actions), takes_actions=True),
    }


def _on_policy_actor(policy: ActorCriticPolicy, obs: Any) -> torch.Tensor:
    features = cast(torch.Tensor, policy.extract_features(obs, policy.pi_features_extractor))
    return policy.action_net(policy.mlp_extractor.forward_actor(features))


class MarginCallback(BaseCallback):
    """Feeds a MarginMonitor for each network and logs what it computes.

    every_steps: environment steps between computations, or a schedule. critic: also watch the critic. log: called with
    (metrics, step) each time. options: for MarginMonitor (buffer_size, epsilon, layers, ranks, ...).
    """

    def __init__(
        self,
        every_steps: int | Schedule = 2048,
        critic: bool = False,
        log: Callable[[dict[str, float], int], None] | None = None,
        verbose: int = 0,
        **options: Any,
    ):
        super().__init__(verbose)
        self.due = over_steps(every_steps, "every_steps")
        self.critic, self.log, self.options = critic, log, options
        self.monitors: dict[str, MarginMonitor] = {}
        self.metrics: dict[str, float] = {}
        self._last_step: int | None = 0

    def _on_training_start(self) -> None:
        chosen = networks(self.model.policy)
        self._watched = {prefix: net for prefix, net in chosen.items() if self.critic or prefix == ""}
        self._is_discrete = isinstance(self.model.observation_space, spaces.Discrete)
        kept = -(-self.options.get("buffer_size", 1000) // self.training_env.num_envs)
        self._pending: deque[tuple[Any, np.ndarray | None]] = deque(maxlen=kept)
        for prefix, net in self._watched.items():
            if prefix not in self.monitors:
                forward = _without_axis(net.forward) if self._is_discrete else net.forward
                self.monitors[prefix] = MarginMonitor(net.module, prefix=prefix, forward=forward, **self.options)

    def _on_step(self) -> bool:
        actions = self.locals.get("buffer_actions")
        self._pending.append((_copied(self.model._last_obs), None if actions is None else np.array(actions)))
        if self.due(self._last_step, self.num_timesteps):
            self._compute()
        self._last_step = self.num_timesteps
        return True

    def _on_training_end(self) -> None:
        self._show()

    def _show(self) -> None:
        """Give the monitors what has been collected: one large observe costs less than one at every step."""
        if not self._pending:
            return
        observations = _joined([obs for obs, _ in self._pending])
        if self._is_discrete:
            observations = observations[:, None]
        for prefix, net in self._watched.items():
            actions = (np.concatenate([a for _, a in self._pending if a is not None]),) if net.takes_actions else ()
            self.monitors[prefix].observe(observations, *actions)
        self._pending.clear()

    def _compute(self) -> None:
        self._show()
        self.metrics = {}
        for monitor in self.monitors.values():
            self.metrics.update(cast(dict[str, float], monitor.compute(self.num_timesteps)))
        for key, value in self.metrics.items():
            # the text formats cut keys to 36 letters and fail when two become one
            self.logger.record(key, value, exclude=("stdout", "log"))
        if self.log is not None:
            self.log(self.metrics, self.num_timesteps)


def _copied(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {key: np.array(value) for key, value in observations.items()}
    return np.array(observations)


def _joined(steps: list[Any]) -> Any:
    if isinstance(steps[0], dict):
        return {key: np.concatenate([step[key] for step in steps]) for key in steps[0]}
    return np.concatenate(steps)


def _without_axis(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Discrete observations are kept as [N, 1], for a 1-D tensor would be one observation."""
    return lambda net, obs, *rest: forward(net, obs.squeeze(-1), *rest)
