"""Shrink and perturb (Ash & Adams 2020), every few minibatches: a variant of one file, for the test of adding one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from omegaconf import MISSING

from lop.run.config import AlgoSettings
from lop.run.streams import stream
from lop.variants.base import Variant


@dataclass
class Settings(AlgoSettings):
    shrink: float = MISSING
    noise_std: float = MISSING
    period_minibatches: int = MISSING

    def problems(self) -> list[str]:
        found = super().problems()
        if self.period_minibatches < 1:
            found.append(f"algo.period_minibatches={self.period_minibatches}: must be >= 1")
        return found


class ShrinkPerturb(Variant):
    def begin_update(self, update):
        self.first, self.times = update * self.context.minibatches_per_update, 0

    def after_step(self, hidden, index):
        minibatch = self.first + index
        if (minibatch + 1) % self.settings.period_minibatches:
            return
        self.times += 1
        for member, seed in enumerate(self.context.seeds):
            generator = stream(seed, "shrink_perturb", minibatch)
            for parameter in self.context.net.member_tensors(member).values():
                noise = torch.from_numpy(generator.standard_normal(tuple(parameter.shape), dtype="float32"))
                parameter.mul_(self.settings.shrink).add_(noise.to(parameter), alpha=self.settings.noise_std)

    def statistics(self, member):
        return {"shrink_perturb/times": float(self.times)}


VARIANT = ShrinkPerturb
