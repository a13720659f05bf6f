"""What every variant is given, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lop.nets.actor_critic import StackedActorCritic
from lop.ppo.adam import FlatAdam
from lop.run.config import AlgoSettings, Departures


@dataclass(frozen=True)
class VariantContext:
    """What a variant works on: M members' networks and optimiser, their seeds, and the departure switches."""

    net: StackedActorCritic
    adam: FlatAdam
    seeds: list[int]
    minibatches_per_update: int
    departures: Departures


class Variant:
    """Does nothing; a variant overrides what it needs."""

    @staticmethod
    def counts_steps_per_unit(settings: AlgoSettings, departures: Departures) -> bool:
        """Whether the optimiser must count steps for every unit (FlatAdam per_unit_steps)."""
        return False

    def __init__(self, settings: AlgoSettings, context: VariantContext):
        self.settings, self.context = settings, context

    def begin_update(self, update: int) -> None:
        """Prepare everything that is drawn on the host, so that after_step needs no synchronisation."""

    def after_step(self, hidden: list[Tensor], index: int) -> None:
        """Intervene after optimiser step `index` of the update; hidden: activations [2M, N, H] of its minibatch."""

    def statistics(self, member: int) -> dict[str, float]:
        """Numbers for this update's row of metrics."""
        return {}

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        return {}

    def load_member_state(self, member: int, state: dict[str, np.ndarray], update: int) -> None:
        """Continue from the state after `update` updates."""
