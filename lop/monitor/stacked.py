"""The probe of stacked populations, which can say their pre-activations themselves."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lop.monitor.layers import Layer, Probed


class StackedNetwork(Protocol):
    """A population of M multilayer perceptrons with ReLU."""

    def preactivations(self, x: Tensor) -> list[Tensor]:
        """One [M, N, H] per hidden layer, from inputs [M, N, D]."""
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
        layers, matrices = [], self.matrices()
        for index, z in enumerate(self.network.preactivations(inputs)):
            weight, bias = self.network.layer_parameters(index)
            h, path = z.relu(), f"hidden.{index}"
            layers.append(Layer(z, h, inputs=inputs, weight=weight, bias=bias, matrix=weight, path=path, source=path))
            inputs = h
        has_output = len(matrices) > len(layers)
        return Probed(layers, matrices[-1] if has_output else None, chained=has_output)

    def matrices(self) -> list[Tensor]:
        """The weight matrices [M, H, D] of all layers, the output layer last."""
        found = []
        while True:
            try:
                found.append(self.network.layer_parameters(len(found))[0])
            except (IndexError, KeyError):
                return found

    @property
    def members(self) -> int:
        return self.network.layer_parameters(0)[0].shape[0]

    def reference(self) -> Tensor:
        """A tensor with the network's type and device."""
        return self.network.layer_parameters(0)[0]


def is_stacked(network: object) -> bool:
    return hasattr(network, "preactivations") and hasattr(network, "layer_parameters")
