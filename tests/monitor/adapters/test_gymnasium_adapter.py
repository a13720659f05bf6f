from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from lop.monitor import MarginMonitor
from lop.monitor.adapters.gymnasium import ObserveEnv, ObserveVectorEnv


class Count(gymnasium.Env):
    """Observation t, an "image" of 2 x 3; ends after four steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 3), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._image(), {}

    def step(self, action):
        self.t += 1
        return self._image(), 1.0, self.t == 4, False, {}

    def _image(self):
        return np.full((2, 3), float(self.t), np.float32)


@pytest.fixture
def monitor():
    return MarginMonitor(nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU()), buffer_size=100)


def test_every_observation_that_is_acted_on_is_one_sample(monitor):
    env = ObserveEnv(Count(), monitor)
    for _ in range(2):
        env.reset(seed=0)
        while not env.step(0)[2]:
            pass
    assert monitor.window()[:, 0, 0].tolist() == [0, 1, 2, 3] * 2
    assert monitor.window().shape == (8, 2, 3)
    assert monitor.compute(0)["margin/num_samples"] == 8


def test_the_wrapper_passes_everything_through(monitor):
    plain, watched = gymnasium.make("CartPole-v1"), None
    watched = ObserveEnv(gymnasium.make("CartPole-v1"), MarginMonitor(nn.Sequential(nn.Linear(4, 4), nn.ReLU())))
    first, second = plain.reset(seed=3), watched.reset(seed=3)
    assert np.array_equal(first[0], second[0])
    for action in (0, 1, 1, 0):
        a, b = plain.step(action), watched.step(action)
        assert np.array_equal(a[0], b[0])
        assert a[1:4] == b[1:4]


def test_rows_of_a_vector_environment_are_samples():
    monitor = MarginMonitor(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    env = ObserveVectorEnv(gymnasium.make_vec("CartPole-v1", num_envs=3), monitor)
    first, _ = env.reset(seed=0)
    second = env.step(np.array([0, 1, 0]))[0]
    assert torch.equal(monitor.window(), torch.from_numpy(np.concatenate((first, second))))
