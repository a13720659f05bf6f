"""Collecting T steps of E environments of M members, and turning them into the learner's samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lop.nets.actor_critic import StackedActorCritic
from lop.ppo.learner import Samples
from lop.ppo.returns import generalised_advantages, normalised


class Environments(Protocol):
    """What collecting needs of M x E environments that reset themselves (lop.envs.vector.AntVector)."""

    observation: np.ndarray  # [M, E, D] float32, always the same array
    final_observation: np.ndarray  # [M, E, D] float32, valid where an episode ended in the last step
    reward: np.ndarray  # [M, E] float64
    terminated: np.ndarray  # [M, E] bool
    truncated: np.ndarray  # [M, E] bool
    any_done: bool

    def step(self, actions: np.ndarray) -> None: ...


@dataclass
class Rollout:
    """T steps of M members with E environments; tensors are on the learner's device."""

    observations: Tensor  # [M, T + 1, E, D]
    actions: Tensor  # [M, T, E, A], not clipped
    log_probs: Tensor  # [M, T, E]
    rewards: Tensor  # [M, T, E] float64
    terminated: Tensor  # [M, T, E] bool
    truncated: Tensor  # [M, T, E] bool
    final_observations: list[tuple[int, int, int, Tensor]] = field(default_factory=list)  # (m, t, e, [D]) if truncated


class ActorStep:
    """Action means for one observation of every environment, with buffers that are reused: the hottest call of all."""

    def __init__(self, net: StackedActorCritic, num_envs: int):
        m, widths = net.num_members, (*net.hidden_sizes, net.output_width)
        self._layers = []
        for layer, width in enumerate(widths):
            bias, weight = net.views[f"{layer}.bias"][:m].unsqueeze(1), net.live_weight(layer)[:m]
            self._layers.append((bias, weight, net.flat.new_empty(m, num_envs, width)))
        self._means = self._layers[-1][2][:, :, : net.num_actions]

    def __call__(self, x: Tensor) -> Tensor:
        """[M, E, A] from [M, E, D]; overwritten by the next call."""
        *hidden, (bias, weight, out) = self._layers
        for hidden_bias, hidden_weight, hidden_out in hidden:
            x = torch.baddbmm(hidden_bias, x, hidden_weight, out=hidden_out).relu_()
        torch.baddbmm(bias, x, weight, out=out)
        return self._means


def collect(
    environments: Environments, net: StackedActorCritic, noise: np.ndarray, clip_actions: bool, after_step=None
) -> Rollout:
    """Act for T steps with a ~ N(mean(s), std^2).

    noise: [M, T, E, A] float32 standard normal draws. clip_actions: the environment receives actions clipped to [-1, 1];
    buffer and log-probabilities keep the raw ones either way. after_step(t) is called after every environment step.
    """
    m, t_steps, e, _ = noise.shape
    host = np.empty((m, t_steps + 1, e, environments.observation.shape[2]), dtype=np.float32)
    rewards = np.empty((m, t_steps, e))
    terminated, truncated = np.zeros((2, m, t_steps, e), dtype=bool)
    finals: list[tuple[int, int, int, Tensor]] = []
    z = torch.from_numpy(noise).to(net.device, net.dtype)
    actions = z * net.views["log_std"].exp()[:, None, None, :]
    actor, live = ActorStep(net, e), torch.from_numpy(environments.observation)
    x = live.to(net.device, net.dtype)
    shares_memory = x.data_ptr() == live.data_ptr()
    received = torch.empty(m, e, net.num_actions, dtype=net.dtype)
    received_host, bound = received.numpy(), 1.0 if clip_actions else math.inf
    for t, action in enumerate(actions.unbind(1)):
        host[:, t] = environments.observation
        if not shares_memory:
            x.copy_(live)
        action += actor(x)
        received.copy_(action.clamp(-bound, bound))
        environments.step(received_host)
        rewards[:, t] = environments.reward
        if environments.any_done:
            terminated[:, t], truncated[:, t] = environments.terminated, environments.truncated
            for i, j in np.argwhere(environments.truncated & ~environments.terminated):
                finals.append((int(i), t, int(j), torch.from_numpy(environments.final_observation[i, j].copy())))
        if after_step is not None:
            after_step(t)
    host[:, t_steps] = environments.observation
    to_device = lambda array: torch.from_numpy(array).to(net.device)  # noqa: E731
    return Rollout(
        observations=to_device(host).to(net.dtype),
        actions=actions,
        log_probs=gaussian_log_probs(z, net.views["log_std"]),
        rewards=to_device(rewards),
        terminated=to_device(terminated),
        truncated=to_device(truncated),
        final_observations=finals,
    )


def gaussian_log_probs(z: Tensor, log_std: Tensor) -> Tensor:
    """[M, T, E], log density of mean + std z under N(mean, std^2), for z [M, T, E, A] and log_std [M, A]."""
    constant = log_std.sum(dim=1) + 0.5 * z.shape[3] * math.log(2 * math.pi)
    return (z * z).sum(dim=3) * -0.5 - constant[:, None, None]


@dataclass
class Estimates:
    """What the networks say of a rollout before they learn from it."""

    samples: Samples
    values: Tensor  # [M, T, E]
    returns: Tensor  # [M, T, E]
    hidden: list[Tensor]  # the actors' activations [M, T * E, H] of each hidden layer


def estimate(
    rollout: Rollout, net: StackedActorCritic, discount: float, gae_lambda: float, time_limit_terminates: bool
) -> Estimates:
    """Values, advantages (normalised per member) and returns of a rollout.

    time_limit_terminates=True is the published code's treatment of truncated episodes (no bootstrap).
    """
    m, t_next, e, d = rollout.observations.shape
    flat = rollout.observations.reshape(m, t_next * e, d)
    hidden = net.hidden(torch.cat((flat, flat)))
    values = net.outputs(hidden[-1][m:], slice(m, None))[:, :, 0].reshape(m, t_next, e).double()
    value_t, next_value_t = values[:, :-1], values[:, 1:].clone()
    terminated_t, done_t = rollout.terminated, rollout.terminated | rollout.truncated
    if time_limit_terminates:
        terminated_t = done_t
    else:
        _bootstrap(next_value_t, rollout, net)
    advantages = generalised_advantages(
        rollout.rewards, value_t, next_value_t, terminated_t, done_t, discount, gae_lambda
    )
    returns, to_samples = advantages + value_t, lambda x: x.reshape(m, -1).to(net.dtype)
    samples = Samples(
        observations=flat[:, :-e],
        actions=rollout.actions.reshape(m, (t_next - 1) * e, -1),
        log_probs=rollout.log_probs.reshape(m, -1),
        advantages=to_samples(normalised(advantages.reshape(m, -1))),
        returns=to_samples(returns),
    )
    return Estimates(samples, value_t, returns, [h[:m, :-e] for h in hidden])


def _bootstrap(next_value_t: Tensor, rollout: Rollout, net: StackedActorCritic) -> None:
    """Replace the value after each truncated step by that of the episode's own last observation.

    Row by row: how many there are differs between members, and a product's bits may depend on its number of rows.
    """
    for m, t, e, observation in rollout.final_observations:
        critic = slice(net.num_members + m, net.num_members + m + 1)
        top = net.hidden(observation.to(net.device, net.dtype).view(1, 1, -1), critic)[-1]
        next_value_t[m, t, e] = net.outputs(top, critic)[0, 0, 0]
