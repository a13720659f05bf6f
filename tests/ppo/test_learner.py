"""The learner against a plain PPO written with autograd, member by member."""

from __future__ import annotations

import pytest
import torch


def assert_same_as_plain(learner, plains, rtol=1e-10):
    for member, plain in enumerate(plains):
        for name in ("actor", "critic"):
            mine = learner.net.member(member, name).state_dict()
            for key, expected in getattr(plain, name).state_dict().items():
                torch.testing.assert_close(mine[key], expected, rtol=rtol, atol=1e-13)
        torch.testing.assert_close(
            learner.net.member_tensors(member)["log_std"], plain.log_std.detach(), rtol=rtol, atol=1e-13
        )


@pytest.mark.parametrize("per_unit", [False, True])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.99)])
@pytest.mark.parametrize("hidden", [(12, 9), (5,), (8, 8, 8)])
def test_one_update_equals_a_plain_float64_ppo(ppo, per_unit, betas, hidden):
    adam = ppo.adam | {"beta1": betas[0], "beta2": betas[1]}
    if per_unit:
        adam["eps"] = 1e-20  # with steps counted per unit epsilon stands elsewhere than in torch's Adam (see FlatAdam)
    learner = ppo.make_learner(hidden=hidden, adam=adam, per_unit=per_unit)
    samples = ppo.make_samples(learner)
    plains = [ppo.Plain(learner.net, member, learner.settings, adam) for member in range(2)]
    before = learner.net.flat.clone()
    learner.update(samples, ppo.permutation)
    for member, plain in enumerate(plains):
        plain.update(samples, member, learner.net.num_inputs, ppo.permutation)
    assert_same_as_plain(learner, plains)
    assert not torch.equal(learner.net.flat, before)


def test_gradients_equal_autograd_where_ratios_are_clipped_and_where_not(ppo):
    learner = ppo.make_learner(members=1)
    samples = ppo.make_samples(learner)
    plain = ppo.Plain(learner.net, 0, learner.settings, ppo.adam)
    x = torch.cat((samples.observations[0], torch.zeros(32, 2, dtype=torch.float64)), dim=1)
    plain.loss(x, samples.actions[0], samples.log_probs[0], samples.advantages[0], samples.returns[0]).backward()
    learner.adam.step = lambda: None
    learner.settings = type(learner.settings)(1, 1, learner.settings.clip_range, learner.settings.value_coefficient)
    totals = learner.update(samples, lambda epoch: ppo.permutation(epoch, members=1))
    assert 0.1 < totals[0, 3] < 0.9  # the case means something only if both branches occur
    named = learner.net.named_member_views(learner.adam.grad_views, 0)
    for name, module in (("actor", plain.actor), ("critic", plain.critic)):
        for layer, linear in enumerate(module[::2]):
            torch.testing.assert_close(named[f"{name}.{layer}.weight"], linear.weight.grad, rtol=1e-10, atol=1e-14)
            torch.testing.assert_close(named[f"{name}.{layer}.bias"], linear.bias.grad, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(named["log_std"], plain.log_std.grad, rtol=1e-10, atol=1e-14)


def test_weights_of_inputs_that_are_always_zero_still_decay(ppo):
    learner = ppo.make_learner(members=1)
    dead = learner.net.views["0.weight"][:, learner.net.num_live :]
    before = dead.clone()
    learner.update(ppo.make_samples(learner), lambda epoch: ppo.permutation(epoch, members=1))
    assert (dead.abs() < before.abs()).all()


@pytest.mark.parametrize("width", [10, 100, 256])
@pytest.mark.parametrize("per_unit", [False, True])
@pytest.mark.parametrize("num_samples", [2048, 200])
def test_a_member_learns_the_same_bits_alone_and_among_four(ppo, width, per_unit, num_samples):
    shape = {"inputs": 30, "live": 27, "hidden": (width, width), "actions": 8, "dtype": torch.float32}
    together = ppo.make_learner(members=4, per_unit=per_unit, **shape)
    samples = ppo.make_samples(together, num_samples)
    together.update(samples, lambda epoch: ppo.permutation(epoch, 4, num_samples))
    for member in range(4):
        alone = ppo.make_learner(members=1, per_unit=per_unit, **shape)
        fresh = ppo.make_learner(members=4, per_unit=per_unit, **shape)
        alone.net.load_member_state(0, fresh.net.member_state(member))
        one = type(samples)(*[getattr(samples, f)[member : member + 1] for f in samples.__dataclass_fields__])
        alone.update(one, lambda epoch, m=member: ppo.permutation(epoch, 4, num_samples)[m : m + 1])
        for state in ("net", "adam"):
            mine, theirs = getattr(alone, state).member_state(0), getattr(together, state).member_state(member)
            assert mine.keys() == theirs.keys()
            for key in mine:
                assert mine[key].tobytes() == theirs[key].tobytes(), (state, key)
