"""A Gymnasium wrapper that shows the monitor every observation that the agent acts on.

Put it outermost, so that it sees what the network sees (after normalisation, frame stacking and the like):

    env = ObserveEnv(gymnasium.make("Ant-v5"), monitor)
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from lop.monitor.monitor import MarginMonitor


class ObserveEnv(gymnasium.Wrapper):
    """A single environment. The last observation of an episode is left out: no action is taken on it."""

    def __init__(self, env: gymnasium.Env, monitor: MarginMonitor):
        super().__init__(env)
        self.monitor = monitor

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**options)
        self.monitor.observe(_one_sample(observation))
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not (terminated or truncated):
            self.monitor.observe(_one_sample(observation))
        return observation, reward, terminated, truncated, info


class ObserveVectorEnv(gymnasium.vector.VectorWrapper):
    """A vector environment: every row of its observations is a sample."""

    def __init__(self, env: gymnasium.vector.VectorEnv, monitor: MarginMonitor):
        super().__init__(env)
        self.monitor = monitor

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observations, info = self.env.reset(**options)
        self.monitor.observe(observations)
        return observations, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        result = self.env.step(actions)
        self.monitor.observe(result[0])
        return result


def _one_sample(observation: Any) -> Any:
    """The observation with a first axis for samples, so that an image is not taken for many."""
    if isinstance(observation, dict):
        return {key: _one_sample(value) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_one_sample(value) for value in observation)
    return np.asarray(observation)[None]
