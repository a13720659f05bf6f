"""Advantages and returns: pure functions on [..., T, E], with a scan instead of a loop over time."""

from __future__ import annotations

import torch
from torch import Tensor


def discounted_sum(delta_t: Tensor, decay_t: Tensor) -> Tensor:
    """A_t = delta_t + decay_t * A_{t+1}, A_T = 0, along dimension -2; shapes [..., T, E].

    Computed by recursive doubling (Hillis & Steele 1986): ceil(log2 T) elementwise passes, the same on any device, with
    no host synchronisation. Multiplications and additions stay separate operations, so that the bits do not depend on
    where in a tensor a number lies.
    """
    total, decay = delta_t.clone(), decay_t.clone()
    num_steps, reach = delta_t.shape[-2], 1
    while reach < num_steps:
        head = num_steps - reach
        carried = decay[..., :head, :] * total[..., reach:, :]
        total[..., :head, :] += carried
        # beyond the end of the rollout nothing is carried, so the last `reach` decays need no update
        decay[..., :head, :] = decay[..., :head, :] * decay[..., reach:, :]
        decay[..., head:, :] = 0
        reach *= 2
    return total


def generalised_advantages(
    reward_t: Tensor,
    value_t: Tensor,
    next_value_t: Tensor,
    terminated_t: Tensor,
    done_t: Tensor,
    discount: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates, [..., T, E] (Schulman et al. 2016, eq. 16).

    delta_t = r_t + discount (1 - terminated_t) V(s'_t) - V(s_t), where s'_t is the state that the action led to, also when
    the episode was truncated there; the trace is cut wherever an episode ended (done_t: terminated or truncated).
    """
    alive, running = (~terminated_t).to(value_t.dtype), (~done_t).to(value_t.dtype)
    delta_t = reward_t + discount * (alive * next_value_t) - value_t
    return discounted_sum(delta_t, (discount * gae_lambda) * running)


def normalised(advantages: Tensor) -> Tensor:
    """(A - mean) / std over the last dimension, std with N - 1 and no epsilon, as the published code."""
    std, mean = torch.std_mean(advantages, dim=-1, keepdim=True)
    return (advantages - mean) / std
