"""ReDo: recycling dormant neurons (Sokar et al. 2023, arXiv 2302.12902, algorithm 1), for actor and critic.

Every `period_minibatches` minibatches, units whose score s_j = E|h_j| / mean_k E|h_k| is at most `threshold` get fresh
incoming weights, a zero bias, zero outgoing weights and zeroed moments. E is over all minibatches since the last check.
Weights between two units recycled at once are zero, with every preset.

Departures of the published code (each a switch): scores from the last minibatch alone, moments kept, and an all-dead layer
(0/0) resets nothing, where here it is wholly dormant and reset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import MISSING
from torch import Tensor

from lop.nets.actor_critic import lecun_uniform
from lop.run.config import AlgoSettings
from lop.run.streams import stream
from lop.variants.base import Variant, VariantContext
from lop.variants.units import UnitStatistics, forget_moments, mean_activations, restart_units


@dataclass
class Settings(AlgoSettings):
    threshold: float = MISSING
    period_minibatches: int = MISSING

    def problems(self) -> list[str]:
        found = super().problems()
        if not self.threshold >= 0:  # NaN too
            found.append(f"algo.threshold={self.threshold}: must be >= 0")
        if self.period_minibatches < 1:
            found.append(f"algo.period_minibatches={self.period_minibatches}: must be >= 1")
        return found


class ReDo(Variant):
    def __init__(self, settings: Settings, context: VariantContext):
        super().__init__(settings, context)
        net = context.net
        self._units = UnitStatistics(net, ["activation_sum", "recycled"])
        self._latest = UnitStatistics(net, ["mean"])
        self._fresh: dict[int, list[Tensor]] = {}

    def begin_update(self, update: int) -> None:
        minibatches, period = self.context.minibatches_per_update, self.settings.period_minibatches
        first, layers = update * minibatches, range(self.context.net.num_hidden)
        due = [index for index in range(minibatches) if (first + index + 1) % period == 0]
        self._fresh = {index: [self._draw(first + index, layer) for layer in layers] for index in due}
        self._units.flat["recycled"].zero_()

    def after_step(self, hidden: list[Tensor], index: int) -> None:
        mean_activations(hidden, self._latest.layers["mean"])
        self._units.flat["activation_sum"] += self._latest.flat["mean"]
        if index in self._fresh:
            self._recycle(self._fresh[index])
            self._units.flat["activation_sum"].zero_()

    def _recycle(self, fresh: list[Tensor]) -> None:
        net, departures = self.context.net, self.context.departures
        source = self._latest.layers["mean"] if departures.redo_scores == "reference" else None
        masks = [self.dormant(a) for a in source or self._units.layers["activation_sum"]]
        for layer, mask in enumerate(masks):
            born_zero = masks[layer - 1] if layer > 0 else None
            restart_units(net, layer, mask, fresh[layer], born_zero)
            if departures.redo_moments == "fixed":
                forget_moments(self.context.adam, layer, mask)
            self._units.layers["recycled"][layer] += mask

    def dormant(self, activations: Tensor) -> Tensor:
        """[2M, H] bool: s_j <= threshold, without the division, so that a layer with no activity is wholly dormant."""
        mean = activations.mean(dim=1, keepdim=True)
        mask = activations <= self.settings.threshold * mean
        return mask & (mean > 0) if self.context.departures.redo_all_dead == "reference" else mask

    def _draw(self, minibatch: int, layer: int) -> Tensor:
        """[2M, inputs, H] new incoming weights, addressed by (minibatch, net, layer)."""
        net = self.context.net
        shape = tuple(net.views[f"{layer}.weight"].shape[1:])
        draws = [
            lecun_uniform(stream(seed, "redo/weights", minibatch, actor_or_critic, layer), shape[0], shape)
            for actor_or_critic in range(2)
            for seed in self.context.seeds
        ]
        return torch.from_numpy(np.stack(draws)).to(net.device, net.dtype)

    def statistics(self, member: int) -> dict[str, float]:
        m = self.context.net.num_members
        counts = [view[member::m].sum(dim=1).tolist() for view in self._units.layers["recycled"]]
        return {
            f"{prefix}redo/recycled/layer_{layer}": pair[i]
            for layer, pair in enumerate(counts)
            for i, prefix in enumerate(("", "critic/"))
        }

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        return self._units.member_state(member)

    def load_member_state(self, member: int, state: dict[str, np.ndarray], update: int) -> None:
        self._units.load_member_state(member, state)


VARIANT = ReDo
