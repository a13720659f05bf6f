"""The PPO loss and its gradient with respect to the outputs of actor and critic, written out by hand.

loss = -mean_n min(ratio_n A_n, clip(ratio_n, 1 - c, 1 + c) A_n) + value_coefficient * mean_n (R_n - v_n)^2
(Schulman et al. 2017, eq. 7; the squared error without 1/2, as the published code). With
z = (a - mean) / std and log pi = -sum_k (z_k^2 / 2 + log std_k) - A/2 log(2 pi):

    d loss / d log pi  = -(1/N) ratio A   where the unclipped term is the smaller one, else 0
    d log pi / d mean  = z / std,     d log pi / d log std = z^2 - 1
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Minibatch(NamedTuple):
    """N samples of each member; all but `inputs` are per member."""

    inputs: Tensor  # [2M, N, live inputs]: the same observations for actors and critics
    actions: Tensor  # [M, N, A], not clipped
    log_probs: Tensor  # [M, N, 1], of those actions under the policy that took them
    advantages: Tensor  # [M, N, 1]
    returns: Tensor  # [M, N, 1]


class OutputGradients(NamedTuple):
    """Gradients of the loss, and what the loss was made of."""

    means: Tensor  # [M, N, A]
    log_stds: Tensor  # [M, A]
    values: Tensor  # [M, N, 1]
    sums: Tensor  # [M, 4]: sums over N of the surrogate, squared error, approximate KL and of clipped samples


def output_gradients(
    means: Tensor, log_stds: Tensor, values: Tensor, batch: Minibatch, clip_range: float, value_coefficient: float
) -> OutputGradients:
    """Gradients at action means [M, N, A], log_stds [M, A], values [M, N, 1]."""
    _, num_samples, num_actions = means.shape
    inverse_std = torch.exp(-log_stds).unsqueeze(1)
    z = (batch.actions - means) * inverse_std
    z_squared = z * z
    log_normaliser = log_stds.sum(dim=1)[:, None, None] + 0.5 * num_actions * math.log(2 * math.pi)
    log_ratio = z_squared.sum(dim=2, keepdim=True) * -0.5 - log_normaliser - batch.log_probs
    ratio = torch.exp(log_ratio)
    unclipped = ratio * batch.advantages
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range) * batch.advantages
    active = unclipped <= clipped
    d_log_prob = unclipped * active * (-1.0 / num_samples)
    error = values - batch.returns
    excess = ratio - 1
    terms = (
        torch.minimum(unclipped, clipped),
        error * error,
        excess - log_ratio,  # Schulman's low-variance estimate of the KL divergence
        (excess.abs() > clip_range).to(ratio.dtype),
    )
    return OutputGradients(
        means=d_log_prob * z * inverse_std,
        log_stds=(d_log_prob * (z_squared - 1)).sum(dim=1),
        values=error * (2.0 * value_coefficient / num_samples),
        sums=torch.stack(terms).squeeze(3).sum(dim=2).mT,
    )
