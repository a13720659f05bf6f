from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
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
    "SAC, two normalised environments": lambda: SAC(
        "MlpPolicy",
        VecNormalize(make_vec_env("Pendulum-v1", 2)),
        learning_starts=20,
        batch_size=16,
        seed=0,
        policy_kwargs={**SMALL},
    ),
    "DDPG": lambda: DDPG(
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
        MarginCallback(50, critic=True, buffer_size=40, ranks=1, log=lambda row, step: rows.append((step, row))),
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


@pytest.mark.parametrize("name", ["SAC", "TD3"])
def test_every_critic_is_probed_on_observations_with_the_actions_taken_there(name):
    margins = MarginCallback(1000, critic=True, buffer_size=60)
    critic, monitor = trained(name, margins, steps=100).critic, margins.monitors["critic/"]
    monitor.compute(1000)
    (observations, actions), _ = monitor.inputs.arguments()
    assert torch.equal(observations, margins.monitors[""].window())
    assert actions.abs().max() <= 1  # Pendulum's go to 2: critics learn from scaled ones
    assert len(actions.unique()) > 50
    assert [info.source for info in monitor.layers] == ["qf0.0", "qf0.2", "qf1.0", "qf1.2"]
    with torch.no_grad():
        z = critic.qf1[0](torch.cat((observations, actions), 1))
    assert monitor.report().units[2]["margin"] == pytest.approx(z.amax(0).numpy())


def test_observations_are_those_after_normalisation():
    margins = MarginCallback(1000, critic=True, buffer_size=60)
    model = trained("PPO", margins, steps=128)
    window, raw = margins.monitors[""].window(), model.env.unnormalize_obs(margins.monitors[""].window().numpy())
    assert window[:, 2].abs().max() < 5 < np.abs(raw[:, 2]).max()  # Pendulum's angular velocity goes to 8


class Images(gymnasium.Env):
    """Random pictures, and in a dictionary a vector besides."""

    action_space = gymnasium.spaces.Discrete(2)
    image = gymnasium.spaces.Box(0, 255, (36, 36, 1), np.uint8)
    vector = gymnasium.spaces.Box(-1, 1, (3,), np.float32)

    def __init__(self, as_dict):
        both = gymnasium.spaces.Dict(image=self.image, vector=self.vector)
        self.observation_space = both if as_dict else self.image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.mark.parametrize("as_dict", [False, True])
def test_images_and_dictionaries_are_seen_as_the_network_sees_them(as_dict):
    margins = MarginCallback(16, buffer_size=8, critic=False)
    policy = "MultiInputPolicy" if as_dict else "CnnPolicy"
    model = PPO(policy, make_vec_env(Images, 2, env_kwargs={"as_dict": as_dict}), n_steps=8, batch_size=16, seed=0)
    model.learn(16, callback=margins)
    monitor = margins.monitors[""]
    monitor.compute(16)
    units = [info.num_units for info in monitor.layers]
    # three convolutions and a linear layer; with a dictionary also the two hidden layers of a policy that has any
    assert units == [32, 64, 64, 256, 64, 64] if as_dict else units == [32, 64, 64, 512]
    (seen,), _ = monitor.inputs.arguments()
    images = seen["image"] if as_dict else seen
    assert images.dtype == torch.uint8
    assert images.shape == (8, 1, 36, 36)  # channels first, as the policy gets them
    extractor = model.policy.pi_features_extractor
    cnn = (extractor.extractors["image"] if as_dict else extractor).cnn
    with torch.no_grad():
        z = cnn[0](images.float() / 255)
    assert monitor.report().units[0]["margin"] == pytest.approx(z.amax((0, 2, 3)).numpy(), rel=1e-5)


def ant_models(steps, **settings):
    """PPO on Ant with and without the callback, and the metrics that it logged."""
    pytest.importorskip("mujoco")
    rows, models = [], []
    for watch in (True, False):
        torch.manual_seed(0)
        environment = gymnasium.make("lop.envs:lop/Ant-v3")
        model = PPO("MlpPolicy", environment, seed=0, device="cpu", **settings)
        margins = MarginCallback(settings["n_steps"], critic=True, log=lambda row, step: rows.append((step, row)))
        model.learn(steps, callback=margins if watch else None)
        models.append(model)
    return *models, rows


@pytest.mark.parametrize(
    ("steps", "settings"),
    [
        (1024, {"n_steps": 256, "n_epochs": 2, "batch_size": 64, "policy_kwargs": {"net_arch": [32, 32]}}),
        pytest.param(20_000, {"n_steps": 2048}, marks=pytest.mark.long),
    ],
)
def test_ppo_on_ant_is_bit_identical_with_and_without_the_callback(steps, settings):
    watched, plain, rows = ant_models(steps, **settings)
    for key, value in plain.policy.state_dict().items():
        assert torch.equal(value, watched.policy.state_dict()[key]), key
    assert np.array_equal(plain._last_obs, watched._last_obs)
    assert list(plain.ep_info_buffer)[-1]["r"] == list(watched.ep_info_buffer)[-1]["r"]
    num_steps = settings["n_steps"]
    assert [step for step, _ in rows] == list(range(num_steps, watched.num_timesteps + 1, num_steps))
    for _, row in rows:
        for prefix in ("", "critic/"):
            kinds = [row[f"{prefix}margin/{kind}_counts/layer_1"] for kind in ("dead", "at_risk", "alive")]
            assert sum(kinds) == settings.get("policy_kwargs", {"net_arch": [64]})["net_arch"][-1]
            assert row[f"{prefix}margin/num_samples"] == min(1000, num_steps * (1 + rows.index((_, row))))


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
    margins = MarginCallback(8, critic=True, buffer_size=16)
    A2C("MlpPolicy", make_vec_env(Discrete, 4), seed=0).learn(40, callback=margins)
    assert margins.metrics["margin/num_samples"] == 16
