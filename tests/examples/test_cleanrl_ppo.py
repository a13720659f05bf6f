from __future__ import annotations

import json
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

SMALL = {"num_envs": 2, "rollout_steps": 64, "num_epochs": 2, "num_minibatches": 4, "hidden_size": 16}


class Blind:
    """Stands where the monitor was."""

    def __init__(self, *args, **kwargs): ...

    def observe(self, obs): ...

    def compute(self, step):
        return {}


class Count(gymnasium.Env):
    """Observation (t, 0), t = 0, 1, ...; ends at t = 3, by death in every other episode and by time in the rest."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        return np.array([self.t, 0], np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        over, dies = self.t == 3, self.episode % 2 == 0
        return np.array([self.t, 0], np.float32), 1.0, over and dies, over and not dies, {}


@pytest.fixture
def ppo(example):
    return example("cleanrl_ppo")


def trained(ppo, monkeypatch, monitor, **options):
    if monitor is not None:
        monkeypatch.setattr(ppo, "MarginMonitor", monitor)
    agent, rows = ppo.train(ppo.Args(**options))
    return agent.state_dict(), rows


def require_the_same(watched, plain):
    for key, value in plain[0].items():
        assert torch.equal(value, watched[0][key]), key
    assert plain[1] == [{key: row[key] for key in ("global_step", "policy_loss", "value_loss", "return") if key in row}
                        for row in watched[1]]  # fmt: skip


def test_training_is_bit_identical_with_and_without_the_monitor(ppo, monkeypatch, tmp_path):
    options = {"env_id": "Pendulum-v1", "total_steps": 640, "learning_rate": 1e-3, **SMALL}
    log = tmp_path / "log.jsonl"
    watched = trained(ppo, monkeypatch, None, log=str(log), **options)
    require_the_same(watched, trained(ppo, monkeypatch, Blind, **options))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows == watched[1]
    assert [row["global_step"] for row in rows] == [128, 256, 384, 512, 640]
    assert "return" in rows[-1]
    assert rows[-1]["margin/num_samples"] == 640
    for row in rows:
        kinds = [row[f"margin/{kind}_counts/layer_1"] for kind in ("dead", "at_risk", "alive")]
        assert sum(kinds) == 16


@pytest.mark.long
def test_twenty_thousand_steps_of_ant_are_bit_identical_with_and_without_the_monitor(ppo, monkeypatch):
    pytest.importorskip("mujoco")
    watched = trained(ppo, monkeypatch, None, total_steps=20_480)
    require_the_same(watched, trained(ppo, monkeypatch, Blind, total_steps=20_480))
    assert all(row["margin/num_samples"] == 1000 for row in watched[1])


def test_one_update_on_ant(ppo, monkeypatch):
    pytest.importorskip("mujoco")
    _, rows = trained(ppo, monkeypatch, None, total_steps=256, rollout_steps=256, num_epochs=1)
    assert rows[0]["margin/num_samples"] == 256
    assert "margin/dead_counts/layer_1" in rows[0]


def test_what_followed_a_step_is_the_last_observation_of_its_own_episode(ppo, monkeypatch):
    gymnasium.register("Count-v0", Count)
    calls = []
    estimate = ppo.advantages_and_returns
    monkeypatch.setattr(ppo, "advantages_and_returns", lambda *args: calls.append(args) or estimate(*args))
    # V(observation) = t, so that values tell the observations
    monkeypatch.setattr(ppo.Agent, "value", lambda self, obs: obs[..., 0] + 0 * self.critic(obs).squeeze(-1))
    options = SMALL | {"num_envs": 1, "rollout_steps": 9}
    _, rows = trained(ppo, monkeypatch, None, env_id="Count-v0", total_steps=9, **options)
    del gymnasium.registry["Count-v0"]
    rewards, values, next_values, terminated, done, _, _ = (
        x[:, 0].tolist() if isinstance(x, torch.Tensor) else x for x in calls[0]
    )
    assert values == [0, 1, 2] * 3
    assert next_values == [1, 2, 3] * 3
    assert rewards == [1] * 9
    assert terminated == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert done == [0, 0, 1] * 3
    assert rows[0]["return"] == 3


def test_advantages_by_hand(ppo):
    # γ = λ = 1/2. δ₂ = 1 + ½·4 − 2 = 1 (truncated: bootstrapped), δ₁ = 1 − 2 = −1 (terminated), δ₀ = 1 + ½·2 − 1 = 1
    column = lambda *values: torch.tensor(values).unsqueeze(1)  # noqa: E731
    advantages, returns = ppo.advantages_and_returns(
        rewards=column(1.0, 1.0, 1.0),
        values=column(1.0, 2.0, 2.0),
        next_values=column(2.0, 9.0, 4.0),
        terminated=column(0.0, 1.0, 0.0),
        done=column(0.0, 1.0, 1.0),
        gamma=0.5,
        lam=0.5,
    )
    # A₂ = 1; A₁ = −1, cut from A₂; A₀ = 1 + ¼·(−1)
    assert advantages.flatten().tolist() == [0.75, -1.0, 1.0]
    assert returns.flatten().tolist() == [1.75, 1.0, 3.0]


def test_the_monitor_is_three_marked_lines(ppo):
    source = Path(ppo.__file__).read_text()
    assert re.findall(r"MONITOR (\d) of 3", source) == ["1", "2", "3"]
    assert sum("monitor" in line.partition("#")[0].lower() for line in source.split('"""', 2)[2].splitlines()) == 4


def test_options_are_read_and_wrong_ones_are_refused(ppo):
    args = ppo.Args.parsed(["--total-steps", "100", "--learning-rate", "1e-3"])
    assert (args.total_steps, args.learning_rate, args.env_id) == (100, 1e-3, "lop.envs:lop/Ant-v3")
    with pytest.raises(ValueError, match="less than one update of 2048 steps"):
        ppo.train(ppo.Args(env_id="Pendulum-v1", total_steps=100))
    with pytest.raises(ValueError, match="needs a Box with one axis"):
        ppo.train(ppo.Args(env_id="CartPole-v1"))
