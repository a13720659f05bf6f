"""The learner: ten epochs of minibatches for all members at once, with a backward pass written by hand.

A hand-written backward (checked against autograd in float64) needs no graph and no allocations, and
keeps every product a batched matmul, whose bits are the same for a member alone and among others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lop.nets.actor_critic import StackedActorCritic
from lop.ppo.adam import FlatAdam
from lop.ppo.loss import Minibatch, output_gradients

#: called after every optimiser step with the hidden activations [2M, N, H] of the minibatch and its index in the update
AfterStep = Callable[[list[Tensor], int], None]

STATISTICS = ("loss/policy", "loss/value", "approx_kl", "clip_fraction")


@dataclass(frozen=True)
class LearnerSettings:
    num_epochs: int
    num_minibatches: int
    clip_range: float
    value_coefficient: float


@dataclass
class Samples:
    """S samples of each of M members, one update's worth."""

    observations: Tensor  # [M, S, live inputs]
    actions: Tensor  # [M, S, A], as drawn, before any clipping
    log_probs: Tensor  # [M, S]
    advantages: Tensor  # [M, S]
    returns: Tensor  # [M, S]


class Learner:
    """PPO updates of a StackedActorCritic by FlatAdam."""

    def __init__(self, net: StackedActorCritic, adam: FlatAdam, settings: LearnerSettings):
        self.net, self.adam, self.settings = net, adam, settings
        self._buffers: tuple[list[Tensor], list[Tensor], Tensor] | None = None

    def _scratch(self, num_samples: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Activations, their gradients [2M, N, H] and those of the outputs: allocating them anew costs more than filling."""
        if self._buffers is None or self._buffers[2].shape[1] != num_samples:
            net, shape = self.net, (2 * self.net.num_members, num_samples)
            hidden, d_hidden = ([net.flat.new_empty(*shape, width) for width in net.hidden_sizes] for _ in range(2))
            self._buffers = hidden, d_hidden, net.flat.new_zeros(*shape, net.output_width)
        return self._buffers

    def update(
        self, samples: Samples, permutation: Callable[[int], np.ndarray], after_step: AfterStep | None = None
    ) -> Tensor:
        """Train on the samples; returns [M, 4], the means of STATISTICS over all minibatches.

        permutation(epoch) gives [M, S] indices; after_step is where a variant intervenes.
        """
        order = np.stack([permutation(epoch) for epoch in range(self.settings.num_epochs)])
        totals = self.train_on(ShuffledSamples(samples, order), after_step)
        totals /= samples.log_probs.shape[1] * self.settings.num_epochs
        totals[:, 0] *= -1  # the surrogate is maximised
        return totals

    def train_on(self, shuffled: ShuffledSamples, after_step: AfterStep | None) -> Tensor:
        """The minibatch loop: nothing here waits for the device. Returns [M, 4], sums of STATISTICS over all samples."""
        per_epoch = self.settings.num_minibatches
        size = shuffled.num_samples // per_epoch
        totals = shuffled.inputs.new_zeros(shuffled.num_members, len(STATISTICS))
        for epoch in range(self.settings.num_epochs):
            shuffled.gather(epoch)
            for k in range(per_epoch):
                hidden, sums = self.gradients(shuffled.minibatch(k * size, size))
                self.adam.step()
                totals += sums
                if after_step is not None:
                    after_step(hidden, epoch * per_epoch + k)
        return totals

    def gradients(self, batch: Minibatch) -> tuple[list[Tensor], Tensor]:
        """Write the loss's gradient into adam.grad; returns hidden activations [2M, N, H] and the loss's sums [M, 4]."""
        net, m, a = self.net, self.net.num_members, self.net.num_actions
        hidden, d_hidden, d_outputs = self._scratch(batch.inputs.shape[1])
        net.hidden(batch.inputs, out=hidden)
        outputs = net.outputs(hidden[-1])
        out = output_gradients(
            outputs[:m, :, :a],
            net.views["log_std"],
            outputs[m:, :, :1],
            batch,
            self.settings.clip_range,
            self.settings.value_coefficient,
        )
        self.adam.grad_views["log_std"].copy_(out.log_stds)
        d_outputs[:m, :, :a] = out.means
        d_outputs[m:, :, :1] = out.values
        self._backward(batch.inputs, hidden, d_hidden, d_outputs)
        return hidden, out.sums

    def _backward(self, inputs: Tensor, hidden: list[Tensor], d_hidden: list[Tensor], dz: Tensor) -> None:
        """Gradients of all weights and biases from those of the outputs, dz [2M, N, output width]."""
        grads, views = self.adam.grad_views, self.net.views
        for layer in reversed(range(self.net.num_hidden + 1)):
            torch.sum(dz, dim=1, out=grads[f"{layer}.bias"])
            if layer == 0:
                torch.bmm(inputs.mT, dz, out=self.net.input_weight(grads))
                return
            below = layer - 1
            torch.bmm(hidden[below].mT, dz, out=grads[f"{layer}.weight"])
            torch.bmm(dz, views[f"{layer}.weight"].mT, out=d_hidden[below])
            dz = torch.ops.aten.threshold_backward.grad_input(
                d_hidden[below], hidden[below], 0, grad_input=d_hidden[below]
            )


class ShuffledSamples:
    """The samples of one update in the order of the current epoch."""

    def __init__(self, samples: Samples, order: np.ndarray):
        """order: [epochs, M, S], indices into each member's own samples."""
        m, s, _ = samples.observations.shape
        self.num_members, self.num_samples = m, s
        self._observations = samples.observations.reshape(m * s, -1)
        self._actions = samples.actions.reshape(m * s, -1)
        self._scalars = torch.stack((samples.log_probs, samples.advantages, samples.returns)).reshape(3, m * s)
        flat = (order + np.arange(m)[:, None] * s).reshape(len(order), m * s)
        self._order = torch.from_numpy(flat).to(self._observations.device)
        self.inputs = self._observations.new_empty(2 * m, s, self._observations.shape[1])
        self.actions = self._actions.new_empty(m, s, self._actions.shape[1])
        self.scalars = self._scalars.new_empty(3, m, s)

    def gather(self, epoch: int) -> None:
        """Put the samples into the order of an epoch."""
        m, index = self.num_members, self._order[epoch]
        torch.index_select(self._observations, 0, index, out=self.inputs[:m].view(len(index), -1))
        self.inputs[m:].copy_(self.inputs[:m])
        torch.index_select(self._actions, 0, index, out=self.actions.view(len(index), -1))
        torch.index_select(self._scalars, 1, index, out=self.scalars.view(3, -1))

    def minibatch(self, start: int, size: int) -> Minibatch:
        span = slice(start, start + size)
        log_probs, advantages, returns = self.scalars[:, :, span].unsqueeze(3)
        return Minibatch(self.inputs[:, span], self.actions[:, span], log_probs, advantages, returns)
