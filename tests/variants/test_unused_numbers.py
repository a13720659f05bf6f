"""Numbers that mean nothing stay exactly zero while a population learns: padding, and the critic's further outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lop import variants
from lop.nets import StackedActorCritic
from lop.ppo import Learner, LearnerSettings
from lop.ppo.adam import FlatAdam
from lop.ppo.learner import Samples
from lop.run.config import AlgoSettings
from lop.run.streams import stream
from lop.variants import Variant, VariantContext

MEMBERS, SAMPLES = 2, 64
BUSY = {
    None: {},
    "cbp": {"replacement_rate": 0.2, "maturity_minibatches": 3, "utility_decay": 0.9},
    "redo": {"threshold": 0.5, "period_minibatches": 3},
}


def draw(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32))


def learn(kit, name: str | None, updates: int = 4) -> tuple[StackedActorCritic, FlatAdam]:
    """A population after a few real updates with busy settings of a variant."""
    net = StackedActorCritic(MEMBERS, 7, (12, 9), 3, num_live=5)
    net.initialise(lambda member, part, layer: stream(member, f"init/{part}", layer))
    settings = kit.settings(name, **BUSY[name]) if name else AlgoSettings("l2", None, 0.9, 0.99, 1e-2)
    code = variants.module(name).VARIANT if name else Variant
    optimiser = {"beta1": settings.adam_beta1, "beta2": settings.adam_beta2, "weight_decay": settings.weight_decay}
    per_unit = code.counts_steps_per_unit(settings, kit.departures())
    adam = FlatAdam(net, learning_rate=1e-2, eps=1e-8, per_unit_steps=per_unit, **optimiser)
    variant = code(settings, VariantContext(net, adam, [0, 1], 8, kit.departures()))
    learner = Learner(
        net, adam, LearnerSettings(num_epochs=2, num_minibatches=4, clip_range=0.2, value_coefficient=1.0)
    )
    m, s = MEMBERS, SAMPLES
    samples = Samples(draw(m, s, 5), draw(m, s, 3), draw(m, s) - 3, draw(m, s), 3 * draw(m, s))
    for update in range(updates):
        variant.begin_update(update)
        learner.update(samples, lambda epoch: np.stack([np.arange(s)] * m), variant.after_step)
    return net, adam


@pytest.mark.parametrize("name", BUSY)
def test_padding_and_the_critics_further_outputs_stay_zero(kit, name):
    net, adam = learn(kit, name)
    used = torch.zeros_like(net.flat)
    for member in range(MEMBERS):
        for view in net.named_member_views(net.layout.views(used), member).values():
            view.fill_(1)
    unused = used == 0
    # two outputs too many of each critic, from 9 units and a bias
    assert (unused & (padding(net) == 0)).sum() == MEMBERS * 2 * (9 + 1)
    for vector in (net.flat, adam.grad, adam.exp_avg, adam.exp_avg_sq):
        assert torch.count_nonzero(vector[unused]) == 0
        assert torch.isfinite(vector).all()
    assert torch.count_nonzero(adam.exp_avg[~unused]) > 0


def padding(net: StackedActorCritic) -> torch.Tensor:
    """1 where no view reaches, else 0."""
    covered = torch.ones_like(net.flat)
    for view in net.layout.views(covered).values():
        view.fill_(0)
    return covered
