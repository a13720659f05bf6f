"""How often each unit fired while acting, in blocks of steps: the published `pol_features_activity`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lop.monitor.dormancy import firing_counts, rarely_active_percent


class FiringBlocks:
    """Firing counts of each hidden layer over consecutive blocks of acting steps.

    units: H of each hidden layer. block: steps a block. Feed every acting step once, in time order.
    """

    def __init__(self, units: Sequence[int], members: int = 1, block: int = 1000, device: torch.device | str = "cpu"):
        self.units, self.members, self.block = tuple(units), members, block
        self.steps = np.zeros(members, dtype=np.int64)
        self.running = [torch.zeros(members, h, device=device) for h in self.units]
        self.last = [torch.full((members, h), torch.nan, device=device) for h in self.units]

    def add(self, activations: Sequence[Tensor], non_negative: bool = False) -> list[list[Tensor]]:
        """Count k steps of every layer's activations, a list of [M, k, H]; returns the blocks that they completed.

        non_negative: known to have no negative entries, as after ReLU, which saves a pass. A completed block is a list of
        one [M, H] tensor of counts (0 to `block`) per layer.
        """
        if (self.steps != self.steps[0]).any():
            raise ValueError(f"the members are not in step: they stand {self.steps.tolist()} steps into their blocks")
        completed, start, k = [], 0, activations[0].shape[1]
        while start < k:
            stop = min(k, start + self.block - int(self.steps[0]))
            for running, h in zip(self.running, activations, strict=True):
                running += firing_counts(h[:, start:stop], non_negative)
            self.steps += stop - start
            start = stop
            if self.steps[0] == self.block:
                completed.append(self._close())
        return completed

    def _close(self) -> list[Tensor]:
        self.last = [running.clone() for running in self.running]
        for running in self.running:
            running.zero_()
        self.steps[:] = 0
        return self.last

    def percent(self, threshold: float = 0.01) -> list[dict[str, float]]:
        """For each member `pol_features_activity/layer_i` of the last complete block; {} before there is one."""
        percents = torch.stack([rarely_active_percent(last / self.block, threshold) for last in self.last], -1)
        known = torch.stack([~torch.isnan(last[:, 0]) for last in self.last], -1)
        rows = torch.where(known, percents, torch.nan).cpu().tolist()
        return [{f"pol_features_activity/layer_{i}": v for i, v in enumerate(row) if v == v} for row in rows]

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        state = {"steps": np.array(self.steps[member])}
        for index, (running, last) in enumerate(zip(self.running, self.last, strict=True)):
            state[f"running.{index}"] = running[member].cpu().numpy().copy()
            state[f"last.{index}"] = last[member].cpu().numpy().copy()
        return state

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        self.steps[member] = int(state["steps"])
        for index, (running, last) in enumerate(zip(self.running, self.last, strict=True)):
            running[member].copy_(torch.from_numpy(np.array(state[f"running.{index}"])))
            last[member].copy_(torch.from_numpy(np.array(state[f"last.{index}"])))
