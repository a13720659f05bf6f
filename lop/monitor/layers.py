"""What a probe hands to the metrics: one Layer for each activation that the network applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from lop.monitor.activations import RELU, Activation


class LayerInfo(NamedTuple):
    """Where a layer is in its module: path of the module that applied the activation, the operation's name, H, and the
    path of the module whose weights made the pre-activations ("" where unknown). Holds no tensor."""

    path: str
    operation: str
    num_units: int
    source: str = ""


@dataclass(eq=False)
class Layer:
    """The units of one activation and the samples they saw.

    z, h: pre-activations and activations [..., N, H]. inputs: what the layer's weights were applied to, [..., N, D].
    weight [..., H, D], bias [..., H]: the hyperplanes, where z = w·x + b holds; None where it does not (a residual sum,
    a LayerNorm between). matrix: the weight matrix [..., H, D] that z comes from, also where such a thing lies between.
    positions: how many consecutive samples are positions of one input (pixels of a convolution).
    """

    z: Tensor
    h: Tensor
    activation: Activation = RELU
    inputs: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    matrix: Tensor | None = None
    positions: int = 1
    path: str = ""
    source: str = ""

    @cached_property
    def drive(self) -> Tensor:
        """Signed distances from the region without gradient, [..., N, H]; z itself for ReLU."""
        return self.activation.drive_of(self.z)

    @property
    def info(self) -> LayerInfo:
        return LayerInfo(self.path, self.activation.name, self.h.shape[-1], self.source)


@dataclass
class Probed:
    """One forward pass: its layers in order of execution.

    output: the output layer's weight matrix [..., O, D], if it has one.
    chained: the network is a plain perceptron: every layer's activations are all that the next one's weights see.
    """

    layers: list[Layer] = field(default_factory=list)
    output: Tensor | None = None
    chained: bool = False

    def matrices(self) -> dict[int, Tensor]:
        """Weight matrices by layer number, the output layer's under the next."""
        found = {i: layer.matrix for i, layer in enumerate(self.layers) if layer.matrix is not None}
        return found if self.output is None else found | {len(self.layers): self.output}
