"""Actor and critic of M members as stacked multilayer perceptrons: one batched matmul a layer serves them all.

Network b of the 2M is actor of member b for b < M, critic of member b - M otherwise. Weights are stored [inputs, outputs].
The critic's output layer is as wide as the actor's: its first column is the value, the others are zero, and so are their
gradients. That is not only for the sake of one product instead of two: the bits of a product with a single column depend on
how many members are stacked (matrix-vector kernels differ from matrix-matrix ones), those of wider ones do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lop.nets.layout import Layout

NETS = ("actor", "critic")


class StackedActorCritic:
    """2M perceptrons with ReLU, and one log standard deviation per action and member.

    num_live: number of leading input columns that can differ from zero; the others take part in no product (their
    gradient is exactly zero), but their weights exist and decay.
    """

    def __init__(
        self,
        num_members: int,
        num_inputs: int,
        hidden_sizes: tuple[int, ...],
        num_actions: int,
        *,
        num_live: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.num_members, self.num_inputs, self.num_actions = num_members, num_inputs, num_actions
        self.hidden_sizes = tuple(hidden_sizes)
        self.num_live = num_inputs if num_live is None else num_live
        self.device, self.dtype = torch.device(device), dtype
        self.layout = Layout(self._parameter_shapes())
        self.flat = self.layout.zeros(device, dtype)
        self.views = self.layout.views(self.flat)
        self.actor, self.critic = (StackedHidden(self, net) for net in range(2))

    def _parameter_shapes(self) -> list[tuple[str, int, tuple[int, ...]]]:
        m, shapes, fan_in = self.num_members, [], self.num_inputs
        for layer, width in enumerate((*self.hidden_sizes, self.output_width)):
            shapes += [(f"{layer}.weight", 2 * m, (fan_in, width)), (f"{layer}.bias", 2 * m, (width,))]
            fan_in = width
        return [*shapes, ("log_std", m, (self.num_actions,))]

    @property
    def output_width(self) -> int:
        return max(self.num_actions, 2)

    @property
    def num_hidden(self) -> int:
        return len(self.hidden_sizes)

    def input_weight(self, views: dict[str, Tensor]) -> Tensor:
        """[2M, live inputs, H]: the rows of the first layer's weights (or gradients) that take part in products."""
        return views["0.weight"][:, : self.num_live]

    def live_weight(self, layer: int) -> Tensor:
        """[2M, inputs, H]: a layer's weights, those of inputs that are always zero left out."""
        return self.input_weight(self.views) if layer == 0 else self.views[f"{layer}.weight"]

    def hidden(self, x: Tensor, nets: slice = slice(None), out: list[Tensor] | None = None) -> list[Tensor]:
        """Activations of every hidden layer, a list of [B, N, H], written to `out` if given.

        x: [B, N, live inputs] for the B networks that `nets` selects.
        """
        result = []
        for layer in range(self.num_hidden):
            x = self.preactivation(layer, x, nets, None if out is None else out[layer]).relu_()
            result.append(x)
        return result

    def preactivation(self, layer: int, x: Tensor, nets: slice = slice(None), out: Tensor | None = None) -> Tensor:
        """Pre-activations [B, N, H] of one hidden layer from the activations before it (layer 0: the live inputs)."""
        bias, weight = self.views[f"{layer}.bias"][nets].unsqueeze(1), self.live_weight(layer)[nets]
        return torch.baddbmm(bias, x, weight, out=out)

    def outputs(self, last_hidden: Tensor, nets: slice = slice(None)) -> Tensor:
        """[B, N, output width] from the last activations [B, N, H]: an actor's action means, a critic's value first."""
        layer = self.num_hidden
        return torch.baddbmm(
            self.views[f"{layer}.bias"][nets].unsqueeze(1), last_hidden, self.views[f"{layer}.weight"][nets]
        )

    def used_columns(self, net: str) -> int:
        """How many columns of the output layer mean something."""
        return self.num_actions if net == "actor" else 1

    def initialise(self, generator: Callable[[int, str, int], np.random.Generator]) -> None:
        """LeCun-uniform weights, biases and log_std 0; generator(member, net, layer) draws the weights of one layer."""
        self.flat.zero_()
        for member in range(self.num_members):
            for net in NETS:
                for layer in range(self.num_hidden + 1):
                    weight = self._member_parameter(self.views, member, net, layer, "weight")
                    draw = lecun_uniform(generator(member, net, layer), weight.shape[0], tuple(weight.shape))
                    weight.copy_(torch.from_numpy(draw))

    def _member_parameter(self, views: dict[str, Tensor], member: int, net: str, layer: int, kind: str) -> Tensor:
        whole = views[f"{layer}.{kind}"][NETS.index(net) * self.num_members + member]
        return whole[..., : self.used_columns(net)] if layer == self.num_hidden else whole

    def named_member_views(self, views: dict[str, Tensor], member: int) -> dict[str, Tensor]:
        """Views of one member's numbers in any vector of this layout, under torch's names and shapes.

        `actor.{layer}.weight` [outputs, inputs], `actor.{layer}.bias` [outputs], the same for the critic, `log_std` [A].
        """
        named = {"log_std": views["log_std"][member]}
        for net in NETS:
            for layer in range(self.num_hidden + 1):
                named[f"{net}.{layer}.weight"] = self._member_parameter(views, member, net, layer, "weight").mT
                named[f"{net}.{layer}.bias"] = self._member_parameter(views, member, net, layer, "bias")
        return named

    def member_tensors(self, member: int) -> dict[str, Tensor]:
        """Views of one member's parameters, as named_member_views names them."""
        return self.named_member_views(self.views, member)

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        """One member's parameters as numpy arrays."""
        return copy_to_numpy(self.member_tensors(member))

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        copy_from_numpy(self.member_tensors(member), state)

    def extract(self, member: int) -> StackedActorCritic:
        """A stacked network of its own with a copy of one member."""
        shape = (1, self.num_inputs, self.hidden_sizes, self.num_actions)
        single = StackedActorCritic(*shape, num_live=self.num_live, device=self.device, dtype=self.dtype)
        single.load_member_state(0, self.member_state(member))
        return single

    def member(self, member: int, net: str = "actor") -> nn.Sequential:
        """An ordinary nn.Sequential of Linear and ReLU with a copy of one member's weights."""
        named, modules = self.member_tensors(member), []
        for layer in range(self.num_hidden + 1):
            weight = named[f"{net}.{layer}.weight"]
            linear = nn.Linear(weight.shape[1], weight.shape[0], device=self.device, dtype=self.dtype)
            with torch.no_grad():
                linear.weight.copy_(weight)
                linear.bias.copy_(named[f"{net}.{layer}.bias"])
            modules += [linear, nn.ReLU()]
        return nn.Sequential(*modules[:-1])


class StackedHidden:
    """The hidden layers of the M actors (net=0) or critics (net=1), as the margin monitor's probe wants them."""

    def __init__(self, parent: StackedActorCritic, net: int):
        self.parent, self.name = parent, NETS[net]
        self.nets = slice(net * parent.num_members, (net + 1) * parent.num_members)

    @property
    def num_hidden(self) -> int:
        return self.parent.num_hidden

    def preactivation(self, layer: int, x: Tensor) -> Tensor:
        """[M, N, H] of one hidden layer, from what it sees, [M, N, D]."""
        return self.parent.preactivation(layer, x, self.nets)

    def layer_parameters(self, layer: int) -> tuple[Tensor, Tensor]:
        """Incoming weights [M, H, inputs] and biases [M, H] of a hidden layer; after the last, of the output layer."""
        views, columns = self.parent.views, slice(None)
        if layer == self.parent.num_hidden:
            columns = slice(self.parent.used_columns(self.name))
        elif layer > self.parent.num_hidden:
            raise IndexError(f"layer {layer}: there are {self.parent.num_hidden + 1} layers")
        return views[f"{layer}.weight"][self.nets, :, columns].mT, views[f"{layer}.bias"][self.nets, columns]


def lecun_uniform(generator: np.random.Generator, fan_in: int, shape: tuple[int, ...]) -> np.ndarray:
    """float32 draws from U(-b, b), b = sqrt(3 / fan_in) (LeCun et al. 1998, "Efficient BackProp", variance 1/fan_in)."""
    bound = np.float32(math.sqrt(3.0 / fan_in))
    return (generator.random(shape, dtype=np.float32) * 2 - 1) * bound


def copy_to_numpy(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def copy_from_numpy(tensors: dict[str, Tensor], arrays: dict[str, np.ndarray]) -> None:
    """Write arrays into the tensors of the same names; a shape that differs is an error."""
    for name, tensor in tensors.items():
        array = arrays[name]
        if tuple(array.shape) != tuple(tensor.shape):
            raise ValueError(f"{name}: expected shape {tuple(tensor.shape)}, got {tuple(array.shape)}")
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)))
