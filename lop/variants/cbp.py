"""Continual backprop (Dohare et al. 2024, Nature 632:768, algorithm 1) for actor and critic, with contribution utility.

After every optimiser step, for every hidden unit: age += 1, utility u <- eta u + (1 - eta) mean|h| mean_k|w_out|. Among the
units older than `maturity_minibatches`, the `replacement_rate` share with the lowest bias-corrected utility u / (1 - eta^age)
is replaced: fresh incoming weights, zero bias, zero outgoing weights, age = u = 0. A share below one unit is a Bernoulli draw.
Before a unit's outgoing weights vanish, the next layer's biases take over its mean contribution.

How many units are replaced is known before an update starts: it depends on how many are old enough, hence on past counts,
never on which unit it was. So the host draws all counts beforehand and the minibatch loop needs no synchronisation.

Departures of the published code (each a switch): moments are kept; the running mean is zeroed before it is used, so that
nothing is transferred to biases; of two units replaced at once in adjacent layers, the weight between is random, not zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import MISSING
from torch import Tensor

from lop.nets.actor_critic import NETS, lecun_uniform
from lop.ppo.adam import bias_correction_table
from lop.run.config import AlgoSettings, Departures
from lop.run.streams import stream
from lop.variants.base import Variant, VariantContext
from lop.variants.replacement import ReplacementSchedule
from lop.variants.units import UnitStatistics, mean_activations


@dataclass
class Settings(AlgoSettings):
    replacement_rate: float = MISSING
    maturity_minibatches: int = MISSING
    utility_decay: float = MISSING

    def problems(self) -> list[str]:
        found = super().problems()
        if not 0 <= self.replacement_rate <= 1:
            found.append(f"algo.replacement_rate={self.replacement_rate}: must be in [0, 1]")
        if self.maturity_minibatches < 0:
            found.append(f"algo.maturity_minibatches={self.maturity_minibatches}: must be >= 0")
        if not 0 <= self.utility_decay < 1:
            found.append(f"algo.utility_decay={self.utility_decay}: must be in [0, 1)")
        return found


@dataclass(frozen=True)
class Replacement:
    """One unit in each of K networks: in which of them, and what it starts with. On the networks' device."""

    nets: Tensor  # [K]
    fresh: Tensor  # [K, inputs] incoming weights


class ContinualBackprop(Variant):
    @staticmethod
    def counts_steps_per_unit(settings: AlgoSettings, departures: Departures) -> bool:
        return departures.cbp_moments == "fixed"

    def __init__(self, settings: Settings, context: VariantContext):
        super().__init__(settings, context)
        net = context.net
        self._units = UnitStatistics(net, ["utility", "mean_activation", "age"])
        self._scratch = UnitStatistics(net, ["activation", "contribution"])
        self._inverse_fan_out = [net.flat.new_full((2 * net.num_members, 1), 1.0 / h) for h in net.hidden_sizes[1:]]
        of_output = [[1.0 / net.used_columns(name)] for name in NETS for _ in range(net.num_members)]
        self._inverse_fan_out.append(net.flat.new_tensor(of_output))
        self._magnitudes = [torch.empty_like(net.views[f"{layer + 1}.weight"]) for layer in range(net.num_hidden)]
        self._decay_table = bias_correction_table(settings.utility_decay, net.dtype, net.device)
        self._schedule = ReplacementSchedule(
            context.seeds, net.hidden_sizes, settings.replacement_rate, settings.maturity_minibatches
        )
        self._counts: dict[int, np.ndarray] = {}
        self._due: dict[int, list[list[Replacement]]] = {}
        self._ages_to_restore: dict[tuple[int, int, int], np.ndarray] = {}

    def begin_update(self, update: int) -> None:
        minibatches = self.context.minibatches_per_update
        first = update * minibatches
        if self._ages_to_restore:
            self._schedule.restore(self._ages_to_restore, first)
            self._ages_to_restore = {}
        self._counts = self._schedule.counts(update, minibatches)
        self._due = {index: self._draw(first + index, counts) for index, counts in self._counts.items()}

    def after_step(self, hidden: list[Tensor], index: int) -> None:
        self._update_statistics(hidden)
        if index in self._due:
            self._replace(self._due[index])

    def _draw(self, minibatch: int, counts: np.ndarray) -> list[list[Replacement]]:
        """For each layer one Replacement per rank (the lowest unit, the next lowest, ...); counts: [M, 2, L]."""
        device, drawn = self.context.net.device, []
        for layer in range(counts.shape[2]):
            of_layer = counts[:, :, layer].T.reshape(-1)  # [2M]
            drawn.append([])
            for rank in range(int(of_layer.max())):
                nets = np.flatnonzero(of_layer > rank)
                fresh = torch.from_numpy(self._fresh(minibatch, layer, rank, nets)).to(device, self.context.net.dtype)
                drawn[-1].append(Replacement(torch.from_numpy(nets).to(device), fresh))
        return drawn

    def _fresh(self, minibatch: int, layer: int, rank: int, nets: np.ndarray) -> np.ndarray:
        """[K, inputs] new incoming weights, addressed by (minibatch, net and layer, rank)."""
        net, draws = self.context.net, []
        fan_in = net.views[f"{layer}.weight"].shape[1]
        for b in nets:
            actor_or_critic, member = divmod(int(b), net.num_members)
            address = (minibatch, actor_or_critic * net.num_hidden + layer, rank)
            draws.append(lecun_uniform(stream(self.context.seeds[member], "cbp/weights", *address), fan_in, (fan_in,)))
        return np.stack(draws)

    def _update_statistics(self, hidden: list[Tensor]) -> None:
        net, eta = self.context.net, self.settings.utility_decay
        units, scratch = self._units.flat, self._scratch.flat
        activations, contributions = self._scratch.layers["activation"], self._scratch.layers["contribution"]
        mean_activations(hidden, activations)
        for layer, contribution in enumerate(contributions):
            # five times faster than linalg.vector_norm(ord=1)
            magnitudes = torch.abs(net.views[f"{layer + 1}.weight"], out=self._magnitudes[layer])
            torch.sum(magnitudes, dim=2, out=contribution).mul_(self._inverse_fan_out[layer])
        scratch["contribution"] *= scratch["activation"]
        units["age"] += 1
        for average, latest in (("utility", "contribution"), ("mean_activation", "activation")):
            # multiplication and addition apart: fused, they would round differently
            units[average].mul_(eta).add_(scratch[latest].mul_(1 - eta))

    def _bias_corrected(self, name: str, layer: int) -> Tensor:
        """average / (1 - eta^age), [2M, H]; 0 where age is 0."""
        age = self._units.layers["age"][layer].long().clamp(max=self._decay_table.shape[0] - 1)
        return torch.where(age > 0, self._units.layers[name][layer] / self._decay_table[age], 0)

    def lowest(self, layer: int) -> Tensor:
        """[2M, H] unit numbers by rising utility, those too young last; ties by number."""
        young = self._units.layers["age"][layer] <= self.settings.maturity_minibatches
        return torch.argsort(self._bias_corrected("utility", layer).masked_fill(young, torch.inf), dim=1, stable=True)

    def _replace(self, due: list[list[Replacement]]) -> None:
        """Replace what is due in each layer; all units are chosen before any is touched."""
        chosen = [self._chosen(layer, replacements) for layer, replacements in enumerate(due)]
        for layer, units in enumerate(chosen):
            born_zero = None
            if layer > 0 and self.context.departures.cbp_adjacent == "fixed" and chosen[layer - 1]:
                born_zero = self._mask(layer - 1, due[layer - 1], chosen[layer - 1])
            for replacement, unit in zip(due[layer], units, strict=True):
                self._restart(layer, replacement, unit, born_zero)

    def _chosen(self, layer: int, replacements: list[Replacement]) -> list[Tensor]:
        """For each rank the unit [K] with that rank's lowest utility in each of the K networks."""
        if not replacements:
            return []
        order = self.lowest(layer)
        return [order[replacement.nets, rank] for rank, replacement in enumerate(replacements)]

    def _mask(self, layer: int, replacements: list[Replacement], units: list[Tensor]) -> Tensor:
        """[2M, H] bool, the units that are replaced."""
        mask = torch.zeros_like(self._units.layers["age"][layer], dtype=torch.bool)
        for replacement, unit in zip(replacements, units, strict=True):
            mask[replacement.nets, unit] = True
        return mask

    def _restart(self, layer: int, replacement: Replacement, unit: Tensor, born_zero: Tensor | None) -> None:
        """A new start for one unit in each of K networks; by index: a mask would touch the whole layer."""
        nets, fresh, departures = replacement.nets, replacement.fresh, self.context.departures
        if departures.cbp_bias_transfer == "fixed":
            self._transfer(layer, nets, unit)
        if born_zero is not None:
            fresh = fresh.masked_fill(born_zero[nets], 0)
        views = [self.context.net.views]
        if departures.cbp_moments == "fixed":
            views += self.context.adam.moment_views
            if self.context.adam.unit_steps is not None:
                self.context.adam.unit_steps[layer][nets, unit] = 0
        for of in views:
            of[f"{layer}.weight"][nets, :, unit] = fresh if of is views[0] else 0
            of[f"{layer}.bias"][nets, unit] = 0
            of[f"{layer + 1}.weight"][nets, unit] = 0
        for statistic in self._units.layers.values():
            statistic[layer][nets, unit] = 0

    def _transfer(self, layer: int, nets: Tensor, unit: Tensor) -> None:
        """Add w_out times the units' mean activations to the next layer's biases."""
        views = self.context.net.views
        mean = self._bias_corrected("mean_activation", layer)[nets, unit].unsqueeze(1)
        views[f"{layer + 1}.bias"][nets] += mean * views[f"{layer + 1}.weight"][nets, unit]

    def statistics(self, member: int) -> dict[str, float]:
        total = sum(
            (count[member] for count in self._counts.values()), np.zeros(self._schedule.shape[1:], dtype=np.int64)
        )
        return {
            f"{prefix}cbp/replaced/layer_{layer}": float(total[i, layer])
            for layer in range(total.shape[1])
            for i, prefix in enumerate(("", "critic/"))
        }

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        return self._units.member_state(member)

    def load_member_state(self, member: int, state: dict[str, np.ndarray], update: int) -> None:
        self._units.load_member_state(member, state)
        for layer in range(self.context.net.num_hidden):
            for i in range(len(NETS)):
                self._ages_to_restore[member, i, layer] = state[f"age.{layer}"][i]


VARIANT = ContinualBackprop
