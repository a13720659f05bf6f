"""The probe of stacked populations, which can say their pre-activations themselves."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lop.monitor.layers import Layer, Probed


class StackedNetwork(Protocol):
    """A population of M multilayer perceptrons with ReLU."""

    @property
    def num_hidden(self) -> int:
        """How many hidden layers."""
        ...

    def preactivation(self, layer: int, x: Tensor) -> Tensor:
        """[M, N, H] of one hidden layer, from what it sees, [M, N, D]."""
        ...

    def layer_parameters(self, layer: int) -> tuple[Tensor, Tensor]:
        """Incoming weights [M, H, D] and biases [M, H] of a layer; the one after the hidden layers is the output layer.

        A network without output layer raises IndexError or KeyError for it.
        """
        ...


class StackedProbe:
    """Layers of a stacked network: probe(inputs [M, N, D]) gives one Layer per hidden layer."""

    def __init__(self, network: StackedNetwork):
        self.network = network

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Probed:
        layers = []
        for index in range(self.network.num_hidden):
            weight, bias = self.network.layer_parameters(index)
            z, path = self.network.preactivation(index, inputs), f"hidden.{index}"
            h = z.relu()
            layers.append(Layer(z, h, inputs=inputs, weight=weight, bias=bias, matrix=weight, path=path, source=path))
            inputs = h
        output = self._output()
        return Probed(layers, output, chained=output is not None)

    def matrices(self) -> list[Tensor]:
        """The weight matrices [M, H, D] of all layers, the output layer last."""
        hidden = [self.network.layer_parameters(layer)[0] for layer in range(self.network.num_hidden)]
        output = self._output()
        return hidden if output is None else [*hidden, output]

    def _output(self) -> Tensor | None:
        try:
            return self.network.layer_parameters(self.network.num_hidden)[0]
        except (IndexError, KeyError):
            return None

    @property
    def members(self) -> int:
        return self.network.layer_parameters(0)[0].shape[0]

    def reference(self) -> Tensor:
        """A tensor with the network's type and device."""
        return self.network.layer_parameters(0)[0]


def is_stacked(network: object) -> bool:
    return hasattr(network, "preactivation") and hasattr(network, "layer_parameters")
