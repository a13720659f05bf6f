"""Collecting and estimating: what is stored, what the environment receives, what is bootstrapped, and whose bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lop.envs import AntVector
from lop.nets import StackedActorCritic
from lop.ppo.rollout import collect, estimate
from lop.run.streams import stream

ARRAYS = ("observations", "actions", "log_probs", "rewards", "terminated", "truncated")
SAMPLES = ("observations", "actions", "log_probs", "advantages", "returns")


class ScriptedEnvironments:
    """Every member's observations, rewards and endings are drawn from its seed, whatever it does."""

    def __init__(self, seeds, num_envs, num_steps, inputs=5, ends=0.15):
        m, self.received = len(seeds), []
        generators = [stream(seed, "test/script") for seed in seeds]
        shape = (num_steps + 1, num_envs, inputs)
        self.all_observations = np.stack([g.standard_normal(shape, dtype=np.float32) for g in generators])
        self.all_finals = np.stack([g.standard_normal((*shape[:2], inputs), dtype=np.float32) for g in generators])
        self.all_rewards = np.stack([g.standard_normal(shape[:2]) for g in generators])
        self.all_terminated = np.stack([g.random(shape[:2]) < ends for g in generators])
        self.all_truncated = np.stack([g.random(shape[:2]) < ends for g in generators])
        # the last step of a rollout is where a bootstrap goes wrong most easily
        self.all_truncated[:, num_steps - 1, 0], self.all_terminated[:, num_steps - 1, 0] = True, False
        self.observation, self.final_observation = (
            self.all_observations[:, 0].copy(),
            np.zeros_like(self.all_finals[:, 0]),
        )
        self.reward = np.zeros((m, num_envs))
        self.terminated, self.truncated = np.zeros((2, m, num_envs), dtype=bool)
        self.any_done, self.time = False, 0

    def step(self, actions: np.ndarray) -> None:
        t = self.time
        self.received.append(actions.copy())
        self.reward[:] = self.all_rewards[:, t]
        self.terminated[:], self.truncated[:] = self.all_terminated[:, t], self.all_truncated[:, t]
        done = self.terminated | self.truncated
        self.any_done = bool(done.any())
        self.final_observation.fill(np.nan)
        self.final_observation[done] = self.all_finals[:, t][done]
        self.observation[:] = self.all_observations[:, t + 1]
        self.time += 1


def make_net(seeds, inputs=5, hidden=(12, 9), actions=4, dtype=torch.float64, num_inputs=None):
    net = StackedActorCritic(len(seeds), num_inputs or inputs, hidden, actions, num_live=inputs, dtype=dtype)
    net.initialise(lambda member, name, layer: stream(seeds[member], f"init/{name}", layer))
    for member, seed in enumerate(seeds):
        tensors = net.member_tensors(member)
        for name in ("log_std", "actor.0.bias", "critic.0.bias", "critic.2.bias"):
            tensors[name].copy_(
                torch.from_numpy(0.3 * stream(seed, f"test/{name}").standard_normal(tensors[name].shape))
            )
    return net


def make_noise(seeds, num_steps, num_envs, actions=4):
    shape = (num_steps, num_envs, actions)
    return np.stack([stream(seed, "test/noise").standard_normal(shape, dtype=np.float32) for seed in seeds])


@pytest.fixture
def collected():
    """Two members, three environments, eleven steps."""
    seeds = [3, 8]
    environments, net, noise = ScriptedEnvironments(seeds, 3, 11), make_net(seeds), make_noise(seeds, 11, 3)
    return environments, net, noise, collect(environments, net, noise, clip_actions=True)


def test_what_happened_is_stored(collected):
    environments, _, _, rollout = collected
    np.testing.assert_array_equal(rollout.observations, environments.all_observations)
    np.testing.assert_array_equal(rollout.rewards, environments.all_rewards[:, :11])
    np.testing.assert_array_equal(rollout.terminated, environments.all_terminated[:, :11])
    np.testing.assert_array_equal(rollout.truncated, environments.all_truncated[:, :11])
    assert rollout.rewards.dtype == torch.float64


def test_raw_actions_are_stored_and_clipped_ones_are_sent(collected):
    environments, net, noise, rollout = collected
    for member in range(2):
        actor, std = net.member(member, "actor"), net.member_tensors(member)["log_std"].exp()
        with torch.no_grad():
            mean = actor(torch.from_numpy(environments.all_observations[member, :11]).double())
        expected = mean + std * torch.from_numpy(noise[member]).double()
        torch.testing.assert_close(rollout.actions[member], expected, rtol=1e-12, atol=1e-13)
    received = np.stack(environments.received, axis=1)
    np.testing.assert_array_equal(received, rollout.actions.clamp(-1, 1))
    assert (rollout.actions.abs() > 1).any()


def test_without_clipping_raw_actions_are_sent():
    environments = ScriptedEnvironments([3], 2, 11)
    rollout = collect(environments, make_net([3]), make_noise([3], 11, 2), clip_actions=False)
    np.testing.assert_array_equal(np.stack(environments.received, axis=1), rollout.actions)


def test_log_probabilities_equal_those_of_torch_distributions(collected):
    environments, net, _, rollout = collected
    for member in range(2):
        with torch.no_grad():
            mean = net.member(member, "actor")(torch.from_numpy(environments.all_observations[member, :11]).double())
        normal = torch.distributions.Normal(mean, net.member_tensors(member)["log_std"].exp())
        expected = normal.log_prob(rollout.actions[member]).sum(-1)
        torch.testing.assert_close(rollout.log_probs[member], expected, rtol=1e-11, atol=1e-12)


def test_after_step_is_called_after_every_step():
    environments, calls = ScriptedEnvironments([3], 1, 5), []
    collect(environments, make_net([3]), make_noise([3], 5, 1), True, lambda t: calls.append((t, environments.time)))
    assert calls == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


def plain_advantages(environments, net, member, num_steps, discount, gae_lambda, time_limit_terminates):
    """Values and advantages [T, E] of one member by a loop, each value from its own forward pass."""
    critic = net.member(member, "critic")

    def value(observation) -> float:
        with torch.no_grad():
            return float(critic(torch.from_numpy(observation).double())[0])

    num_envs = environments.reward.shape[1]
    values, advantages = np.zeros((2, num_steps, num_envs))
    for e in range(num_envs):
        carried = 0.0
        for t in reversed(range(num_steps)):
            values[t, e] = value(environments.all_observations[member, t, e])
            terminated, truncated = environments.all_terminated[member, t, e], environments.all_truncated[member, t, e]
            if terminated or (truncated and time_limit_terminates):
                bootstrap, carried = 0.0, 0.0
            elif truncated:
                bootstrap, carried = value(environments.all_finals[member, t, e]), 0.0
            else:
                bootstrap = value(environments.all_observations[member, t + 1, e])
            carried = (
                environments.all_rewards[member, t, e]
                + discount * bootstrap
                - values[t, e]
                + discount * gae_lambda * carried
            )
            advantages[t, e] = carried
    return values, advantages


@pytest.mark.parametrize("time_limit_terminates", [False, True])
def test_estimates_equal_a_loop_that_bootstraps_from_the_final_observation(collected, time_limit_terminates):
    environments, net, _, rollout = collected
    estimates = estimate(rollout, net, 0.97, 0.9, time_limit_terminates)
    ends = environments.all_truncated[:, :11], environments.all_terminated[:, :11]
    assert (ends[0] & ~ends[1]).sum() > 4
    assert (ends[0] & ends[1]).any()
    for member in range(2):
        values, advantages = plain_advantages(environments, net, member, 11, 0.97, 0.9, time_limit_terminates)
        np.testing.assert_allclose(estimates.values[member], values, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(estimates.returns[member], advantages + values, rtol=1e-11, atol=1e-12)
        normal = (advantages - advantages.mean()) / advantages.std(ddof=1)
        np.testing.assert_allclose(estimates.samples.advantages[member], normal.ravel(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(
            estimates.samples.returns[member], (advantages + values).ravel(), rtol=1e-11, atol=1e-12
        )


def test_a_time_limit_by_hand():
    # the critic says 2 x observation; one step from state 3, reward 1, discount 0.5
    # environment 0 is truncated in state 5, the next episode begins in state 7: return 1 + 0.5 * 2*5 = 6, or 1 if that
    # counts as termination; environment 1 goes on to state 7: return 1 + 0.5 * 2*7 = 8
    net = StackedActorCritic(1, 1, (1,), 1, dtype=torch.float64)
    for key, tensor in net.member_tensors(0).items():
        tensor.fill_({"critic.0.weight": 1.0, "critic.1.weight": 2.0}.get(key, 0.0))
    environments = ScriptedEnvironments([0], 2, 1, inputs=1, ends=0.0)
    environments.observation.fill(3)
    environments.all_observations.fill(7)
    environments.all_finals.fill(5)
    environments.all_rewards.fill(1)
    rollout = collect(environments, net, np.zeros((1, 1, 2, 1), dtype=np.float32), True)
    assert estimate(rollout, net, 0.5, 0.9, False).returns.flatten().tolist() == [6, 8]
    assert estimate(rollout, net, 0.5, 0.9, True).returns.flatten().tolist() == [1, 8]


def test_samples_are_in_order_of_time_then_environment(collected):
    environments, net, _, rollout = collected
    estimates = estimate(rollout, net, 0.97, 0.9, False)
    samples = estimates.samples
    for t, e in ((0, 0), (0, 2), (7, 1), (10, 2)):
        n = 3 * t + e
        np.testing.assert_array_equal(samples.observations[:, n], environments.all_observations[:, t, e])
        assert torch.equal(samples.actions[:, n], rollout.actions[:, t, e])
        assert torch.equal(samples.log_probs[:, n], rollout.log_probs[:, t, e])
        assert torch.equal(samples.returns[:, n], estimates.returns[:, t, e])
    for layer, hidden in enumerate(estimates.hidden):
        for member in range(2):
            with torch.no_grad():
                expected = net.member(member, "actor")[: 2 * layer + 2](samples.observations[member])
            torch.testing.assert_close(hidden[member], expected, rtol=1e-11, atol=1e-13)


def assert_same_member(together, alone, member: int) -> None:
    for kind, names in ((0, ARRAYS), (1, SAMPLES)):
        for name in names:
            mine, theirs = getattr(alone[kind], name)[0], getattr(together[kind], name)[member]
            assert mine.numpy().tobytes() == theirs.numpy().tobytes(), name


def run(environments, net, noise):
    rollout = collect(environments, net, noise, True)
    return rollout, estimate(rollout, net, 0.99, 0.95, False).samples


@pytest.mark.parametrize("hidden", [(12, 9), (10, 10), (100, 100), (256, 256)])
@pytest.mark.parametrize(("num_envs", "num_steps"), [(1, 64), (1, 13), (3, 21), (4, 32)])
def test_a_member_collects_the_same_bits_alone_and_among_three(hidden, num_envs, num_steps):
    def members(seeds):
        net = make_net(seeds, hidden=hidden, dtype=torch.float32)
        return run(ScriptedEnvironments(seeds, num_envs, num_steps), net, make_noise(seeds, num_steps, num_envs))

    together = members([9, 4, 6])
    for position, seed in enumerate((9, 4, 6)):
        assert_same_member(together, members([seed]), position)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_a_member_collects_the_same_bits_alone_and_among_three_on_ants(num_envs):
    def members(seeds):
        ants = AntVector(seeds, num_envs, time_limit=25)
        net = make_net(seeds, ants.num_live, (100, 10), 8, torch.float32, ants.obs_dim)
        return run(ants, net, make_noise(seeds, 70, num_envs, 8))

    together = members([2, 0, 5])
    assert together[0].truncated.sum() >= 3 * num_envs
    for position, seed in enumerate((2, 0, 5)):
        assert_same_member(together, members([seed]), position)
