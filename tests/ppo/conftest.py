"""A population with random data, and a plain PPO to compare with: one member at a time, autograd, torch.optim.Adam."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lop.nets import StackedActorCritic
from lop.ppo import LearnerSettings
from lop.ppo.adam import FlatAdam
from lop.ppo.learner import Learner, Samples
from lop.run.streams import stream

ADAM = {"learning_rate": 3e-4, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 1e-3}


def make_learner(
    members=2, inputs=7, live=5, hidden=(12, 9), actions=3, dtype=torch.float64, adam=None, per_unit=False
):
    net = StackedActorCritic(members, inputs, hidden, actions, num_live=live, dtype=dtype)
    net.initialise(lambda member, name, layer: stream(member, f"init/{name}", layer))
    settings = LearnerSettings(num_epochs=3, num_minibatches=4, clip_range=0.2, value_coefficient=0.7)
    return Learner(net, FlatAdam(net, **(adam or ADAM), per_unit_steps=per_unit), settings)


def make_samples(learner, num_samples=32, seed=0):
    net, generator = learner.net, np.random.default_rng(seed)

    def draw(*shape):
        return torch.from_numpy(generator.standard_normal(shape)).to(net.dtype)

    m, s = net.num_members, num_samples
    # old log-probabilities near the true ones, so that some ratios are clipped and some are not
    actions = draw(m, s, net.num_actions)
    log_probs = -0.5 * (actions.square() + np.log(2 * np.pi)).sum(-1) + 0.2 * draw(m, s)
    return Samples(0.3 * draw(m, s, net.num_live), actions, log_probs, draw(m, s), draw(m, s))


def permutation(epoch, members=2, size=32):
    return np.stack([stream(member, "permutation", epoch).permutation(size) for member in range(members)])


class PlainPPO:
    """One member's update as a textbook writes it."""

    def __init__(self, net: StackedActorCritic, member: int, settings: LearnerSettings, adam: dict):
        self.actor, self.critic = net.member(member, "actor"), net.member(member, "critic")
        self.log_std = nn.Parameter(net.member_tensors(member)["log_std"].clone())
        self.settings = settings
        self.optimiser = torch.optim.Adam(
            [*self.actor.parameters(), *self.critic.parameters(), self.log_std],
            lr=adam["learning_rate"],
            betas=(adam["beta1"], adam["beta2"]),
            eps=adam["eps"],
            weight_decay=adam["weight_decay"],
        )

    def loss(self, x, actions, old_log_probs, advantages, returns):
        distribution = torch.distributions.Normal(self.actor(x), self.log_std.exp())
        ratio = (distribution.log_prob(actions).sum(-1) - old_log_probs).exp()
        clipped = ratio.clamp(1 - self.settings.clip_range, 1 + self.settings.clip_range)
        policy = -torch.min(ratio * advantages, clipped * advantages).mean()
        return policy + self.settings.value_coefficient * (self.critic(x).squeeze(-1) - returns).square().mean()

    def update(self, samples: Samples, member: int, num_inputs: int, permutation) -> None:
        x = samples.observations[member]
        x = torch.cat((x, x.new_zeros(len(x), num_inputs - x.shape[1])), dim=1)
        columns = [x] + [c[member] for c in (samples.actions, samples.log_probs, samples.advantages, samples.returns)]
        for epoch in range(self.settings.num_epochs):
            for index in torch.from_numpy(permutation(epoch)[member]).chunk(self.settings.num_minibatches):
                self.optimiser.zero_grad()
                self.loss(*[column[index] for column in columns]).backward()
                self.optimiser.step()


@pytest.fixture
def ppo():
    return SimpleNamespace(
        make_learner=make_learner, make_samples=make_samples, permutation=permutation, Plain=PlainPPO, adam=ADAM
    )
