from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from lop.monitor.adapters.stable_baselines3 import MarginCallback

# a copy for each model: they take keys out of it
SMALL = {"net_arch": [16, 12]}
MODELS = {
    "PPO": lambda: PPO(
        "MlpPolicy", VecNormalize(make_vec_env("Pendulum-v1", 2)), n_steps=64, batch_size=32, n_epochs=2, seed=0
    ),
    "A2C": lambda: A2C("MlpPolicy", make_vec_env("CartPole-v1", 2), seed=0),
    "SAC": lambda: SAC(
        "MlpPolicy", make_vec_env("Pendulum-v1", 1), learning_starts=20, batch_size=16, seed=0, policy_kwargs={**SMALL}
    ),
    "TD3": lambda: TD3(
        "MlpPolicy", make_vec_env("Pendulum-v1", 1), learning_starts=20, batch_size=16, seed=0, policy_kwargs={**SMALL}
    ),
    "DQN": lambda: DQN(
        "MlpPolicy", make_vec_env("CartPole-v1", 1), learning_starts=20, batch_size=16, seed=0, policy_kwargs={**SMALL}
    ),
}


class Record(BaseCallback):
    """What the networks acted on, collected independently."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        self.seen.append(np.array(self.model._last_obs))
        return True


def trained(name, *callbacks, steps=200):
    torch.manual_seed(0)
    model = MODELS[name]()
    model.learn(steps, callback=list(callbacks))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_margins_are_logged_and_training_is_bit_identical(name):
    rows = []
    margins, record = (
        MarginCallback(50, buffer_size=40, ranks=1, log=lambda row, step: rows.append((step, row))),
        Record(),
    )
    watched, plain = trained(name, margins, record), trained(name)
    for key, value in plain.policy.state_dict().items():
        assert torch.equal(value, watched.policy.state_dict()[key]), key
    steps = [step for step, _ in rows]
    assert steps == sorted(steps)
    assert len(steps) == watched.num_timesteps // 50
    first = rows[0][1]
    assert "margin/dead_counts/layer_0" in first
    assert "stable_rank/layer_1" in first
    assert "pol_weights/layer_2" in first
    assert ("critic/margin/dead_counts/layer_1" in first) == (name != "DQN")
    window = np.concatenate(record.seen)[-40:]
    assert np.array_equal(margins.monitors[""].window().numpy(), window.astype(np.float32))


def test_the_actor_is_probed_as_it_acts():
    margins = MarginCallback(1, critic=False, buffer_size=30)
    model = trained("PPO", margins, steps=20)
    margins.monitors[""].compute(1000)
    obs, policy = margins.monitors[""].window(), model.policy
    with torch.no_grad():
        z = policy.mlp_extractor.policy_net[0](obs)
    assert [info.operation for info in margins.monitors[""].layers] == ["tanh", "tanh"]
    assert margins.monitors[""].report().units[0]["lowest"] == pytest.approx(z.amin(0).numpy())


class Discrete(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Discrete(5), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return 0, {}

    def step(self, action):
        self.t += 1
        return self.t % 5, 0.0, False, self.t == 7, {}


def test_discrete_observations_are_samples_too():
    margins = MarginCallback(8, buffer_size=16)
    A2C("MlpPolicy", make_vec_env(Discrete, 4), seed=0).learn(40, callback=margins)
    assert margins.metrics["margin/num_samples"] == 16
