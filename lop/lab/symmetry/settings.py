"""What a training is: Settings shared by a population, and the Member that is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

OUTPUT = -1
"""The symmetry layer that is the output; 1, 2, ... are the hidden ones, None is no symmetry loss."""


@dataclass(frozen=True)
class Settings:
    """What all members of a population share. Numbers of the published code, except where noted.

    points: of the data set, 60 % train, 20 % validate, 20 % test. rotations: "batch", one pair for all points of a batch,
    or "point", a pair for each point, as the published code draws them; the loss has the same mean.
    early_stop: stop after so many epochs without a better validation loss, with the weights of the best; 0: train all
    epochs. λ(t) is the same in both: it knows the number of epochs alone.
    """

    points: int = 10_000
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 3e-4
    num_hidden_layers: int = 6
    hidden_dim: int = 128
    rotations: str = "batch"
    early_stop: int = 0

    @property
    def num_train(self) -> int:
        return int(0.6 * self.points)

    @property
    def num_validate(self) -> int:
        return int(0.2 * self.points)


class Seeds(NamedTuple):
    """One seed for each kind of chance, so that any of them can be varied alone.

    data: points and the order of batches; model: first weights; augmentation: rotations. Equal seeds are no relation:
    each kind has random streams of its own.
    """

    data: int
    model: int
    augmentation: int

    @classmethod
    def of(cls, seed: int) -> Seeds:
        """All three from one run's seed."""
        return cls(seed, seed, seed)


class Member(NamedTuple):
    """One training: its seeds, the layer that the symmetry loss looks at, and the largest weight λ of that loss."""

    seeds: Seeds
    layer: int | None
    lambda_max: float

    def depth(self, settings: Settings) -> int:
        """How many layers the symmetry loss needs: 0 none, k hidden layer k, num_hidden_layers + 1 the output."""
        if self.layer is None or self.lambda_max == 0:
            return 0
        return settings.num_hidden_layers + 1 if self.layer == OUTPUT else self.layer


def layer_name(layer: int | None) -> str:
    """A symmetry layer for tables: "none", "the output", "layer 3"."""
    return "none" if layer is None else "the output" if layer == OUTPUT else f"layer {layer}"
