"""A population of M multilayer perceptrons with ReLU, stacked: one batched matmul a layer serves all members.

A member's numbers are the same, bit for bit, alone and in company. For that each member's parameters are one row of `flat`,
padded to a multiple of 64 (vectorised kernels treat the tail of a tensor differently), and the output layer has a second
column that is and stays 0 (the bits of a product with a single column depend on how many are stacked).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn

from lop.lab.symmetry.settings import Seeds, Settings
from lop.run.streams import stream

NUM_INPUTS = 3
OUTPUT_WIDTH = 2
ALIGNMENT = 64


class Population:
    """M perceptrons 3 → H → ... → H → 1. flat [M, P]: all parameters, flat.grad their gradients; weights[l] [M, D, H]
    and biases[l] [M, H] are leaves of autograd that share its memory; the last are the output layer's.

    It is what the margin monitor calls a stacked network.
    """

    def __init__(self, members: int, settings: Settings, device: torch.device | str = "cpu"):
        hidden = [settings.hidden_dim] * settings.num_hidden_layers
        sizes = [NUM_INPUTS, *hidden, OUTPUT_WIDTH]
        shapes = [shape for pair in itertools.pairwise(sizes) for shape in (pair, pair[1:])]
        starts = np.cumsum([0, *(_padded(math.prod(shape)) for shape in shapes)])
        self.flat = torch.zeros(members, int(starts[-1]), device=device)
        self.flat.grad = torch.zeros_like(self.flat)
        self._places = list(zip(starts.tolist(), shapes, strict=False))
        self.leaves = [view.requires_grad_() for view in self._views(self.flat)]
        self.weights, self.biases = self.leaves[::2], self.leaves[1::2]
        self._grads = self._views(self.flat.grad)

    def _views(self, flat: Tensor) -> list[Tensor]:
        """Views [M, *shape] of every parameter in a tensor laid out as `flat`."""
        return [flat[:, start : start + math.prod(shape)].view(len(flat), *shape) for start, shape in self._places]

    def backward(self, loss: Tensor) -> None:
        """Writes the gradient of the loss into flat.grad."""
        # not loss.backward(): autograd warns of leaves that lie in rows of another tensor
        for view, grad in zip(self._grads, torch.autograd.grad(loss, self.leaves), strict=True):
            view.copy_(grad)

    @property
    def num_hidden(self) -> int:
        return len(self.weights) - 1

    @torch.no_grad()
    def initialise(self, seeds: list[Seeds]) -> None:
        """U(−b, b), b = 1/√fan_in, for weights and biases: torch.nn.Linear's own start, as the published code has it."""
        for member, seed in enumerate(seeds):
            for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                generator = stream(seed.model, "symmetry.weights", layer)
                for leaf in (weight, bias):
                    used = leaf[member] if layer < self.num_hidden else leaf[member][..., :1]
                    drawn = generator.uniform(-1, 1, tuple(used.shape)) / math.sqrt(weight.shape[1])
                    used.copy_(torch.from_numpy(drawn))

    def preactivation(self, layer: int, x: Tensor) -> Tensor:
        """[m, N, H] of a layer from what it sees, [m, N, D], for the first m members."""
        count = len(x)
        return torch.baddbmm(self.biases[layer][:count].unsqueeze(1), x, self.weights[layer][:count])

    def activation(self, layer: int, x: Tensor) -> Tensor:
        """[m, N, H] of hidden layer 0, 1, ..., or the outputs [m, N, 1] (layer = num_hidden), from what it sees."""
        z = self.preactivation(layer, x)
        return z.relu() if layer < self.num_hidden else z[..., :1]

    def activations(self, x: Tensor) -> list[Tensor]:
        """Of every layer, the outputs [M, N, 1] last; x [M, N, 3]."""
        found = []
        for layer in range(self.num_hidden + 1):
            x = self.activation(layer, x)
            found.append(x)
        return found

    def layer_parameters(self, layer: int) -> tuple[Tensor, Tensor]:
        """Weights [M, H, D] and biases [M, H] of a layer, for the monitor; the output layer has one unit."""
        used = slice(None) if layer < self.num_hidden else slice(1)
        return self.weights[layer].detach()[..., used].mT, self.biases[layer].detach()[..., used]

    @torch.no_grad()
    def member(self, member: int) -> nn.Sequential:
        """An ordinary nn.Sequential of Linear and ReLU with a copy of one member's weights."""
        modules: list[nn.Module] = []
        for layer in range(self.num_hidden + 1):
            weight, bias = (parameter[member] for parameter in self.layer_parameters(layer))
            linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules[:-1])


def _padded(numbers: int) -> int:
    return -(-numbers // ALIGNMENT) * ALIGNMENT
