"""Discounted sums and advantages against a loop over time, and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from lop.ppo.returns import discounted_sum, generalised_advantages, normalised

TIMES = [1, 2, 3, 7, 8, 33, 100]


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def loop_advantages(reward, value, next_value, terminated, done, discount, gae_lambda):
    """Backwards over time, one environment after the other."""
    result = np.zeros_like(reward)
    for place in itertools.product(*(range(n) for n in (*reward.shape[:-2], reward.shape[-1]))):
        *lead, e = place
        carried = 0.0
        for t in reversed(range(reward.shape[-2])):
            at = (*lead, t, e)
            bootstrap = 0.0 if terminated[at] else next_value[at]
            if done[at]:
                carried = 0.0
            carried = reward[at] + discount * bootstrap - value[at] + discount * gae_lambda * carried
            result[at] = carried
    return result


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("num_steps", TIMES)
def test_discounted_sum_equals_a_loop(num_steps, lead):
    delta, decay = draw(0, *lead, num_steps, 2), np.abs(draw(1, *lead, num_steps, 2)).clip(0, 1.1)
    expected, carried = np.zeros_like(delta), np.zeros_like(delta[..., 0, :])
    for t in reversed(range(num_steps)):
        carried = delta[..., t, :] + decay[..., t, :] * carried
        expected[..., t, :] = carried
    given = torch.from_numpy(delta), torch.from_numpy(decay)
    kept = [x.clone() for x in given]
    np.testing.assert_allclose(discounted_sum(*given).numpy(), expected, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(x, y) for x, y in zip(given, kept, strict=True))


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("num_steps", TIMES)
def test_advantages_equal_a_loop(num_steps, lead):
    shape, generator = (*lead, num_steps, 2), np.random.default_rng(2)
    terminated, truncated = generator.random(shape) < 0.1, generator.random(shape) < 0.1
    arrays = [draw(3, *shape), draw(4, *shape), draw(5, *shape), terminated, terminated | truncated]
    expected = loop_advantages(*arrays, 0.97, 0.9)
    found = generalised_advantages(*map(torch.from_numpy, arrays), 0.97, 0.9)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-12)


def test_advantages_by_hand():
    # discount 0.5, lambda 0.5, so a trace decays by 0.25; values 1, 2, 3, 4, 5 and after the rollout 6
    # t=4 goes on:      delta = 1 + 0.5*6 - 5 = -1                  A = -1
    # t=3 truncated, its own last state is worth 10, not 5:
    #                   delta = 1 + 0.5*10 - 4 = 2                  A = 2, the trace is cut
    # t=2 goes on:      delta = 1 + 0.5*4 - 3 = 0                   A = 0 + 0.25*2 = 0.5
    # t=1 terminated:   delta = 1 + 0 - 2 = -1                      A = -1, the trace is cut
    # t=0 goes on:      delta = 1 + 0.5*2 - 1 = 1                   A = 1 + 0.25*(-1) = 0.75
    def column(*numbers):
        return torch.tensor(numbers).unsqueeze(1)

    found = generalised_advantages(
        reward_t=column(1.0, 1, 1, 1, 1),
        value_t=column(1.0, 2, 3, 4, 5),
        next_value_t=column(2.0, 3, 4, 10, 6),
        terminated_t=column(False, True, False, False, False),
        done_t=column(False, True, False, True, False),
        discount=0.5,
        gae_lambda=0.5,
    )
    assert found.squeeze(1).tolist() == [0.75, -1, 0.5, 2, -1]


def test_lambda_one_without_values_is_the_discounted_return():
    # 1 + 0.5*(2 + 0.5*4) = 3, 2 + 0.5*4 = 4, 4
    reward, nothing = torch.tensor([[1.0], [2], [4]]), torch.zeros(3, 1)
    never = torch.zeros(3, 1, dtype=torch.bool)
    found = generalised_advantages(reward, nothing, nothing, never, never, 0.5, 1.0)
    assert found.squeeze(1).tolist() == [3, 4, 4]


def test_the_value_after_a_terminated_step_does_not_matter():
    ended = torch.tensor([[True], [False]])
    one, two = (
        generalised_advantages(
            torch.ones(2, 1), torch.zeros(2, 1), torch.tensor([[next_value], [1.0]]), ended, ended, 0.9, 0.9
        )
        for next_value in (3.0, -70.0)
    )
    assert torch.equal(one, two)


def test_normalised_divides_by_n_minus_one():
    # 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14, std sqrt(14 / 3)
    found = normalised(torch.tensor([[1.0, 2, 3, 6], [10, 20, 30, 60]], dtype=torch.float64))
    expected = np.array([-2, -1, 0, 3]) / np.sqrt(14 / 3)
    np.testing.assert_allclose(found.numpy(), [expected, expected], rtol=1e-14)


def test_normalised_has_no_epsilon():
    tiny = normalised(1e-12 * torch.tensor([1.0, 2, 3], dtype=torch.float64))
    torch.testing.assert_close(tiny, torch.tensor([-1.0, 0, 1], dtype=torch.float64))
