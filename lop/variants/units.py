"""What variants share: per-unit statistics in one flat vector, and giving units a new start."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lop.nets.actor_critic import StackedActorCritic
from lop.nets.layout import Layout
from lop.ppo.adam import FlatAdam


class UnitStatistics:
    """Named vectors with one number per hidden unit of every network, padded so that a member's bits stay its own.

    `flat[name]` is one vector for elementwise arithmetic over all layers, `layers[name][l]` a view [2M, H_l].
    """

    def __init__(self, net: StackedActorCritic, names: list[str]):
        self.num_members = net.num_members
        layout = Layout([(str(layer), 2 * net.num_members, (h,)) for layer, h in enumerate(net.hidden_sizes)])
        self.flat = {name: layout.zeros(net.device, net.dtype) for name in names}
        self.layers = {name: list(layout.views(flat).values()) for name, flat in self.flat.items()}

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        """name.layer -> [2, H]: actor's and critic's units."""
        return {
            f"{name}.{layer}": view[member :: self.num_members].cpu().numpy().copy()
            for name, views in self.layers.items()
            for layer, view in enumerate(views)
        }

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        for name, views in self.layers.items():
            for layer, view in enumerate(views):
                view[member :: self.num_members] = torch.from_numpy(state[f"{name}.{layer}"]).to(view.device)


def mean_activations(hidden: list[Tensor], out: list[Tensor]) -> None:
    """Write E|h|, the mean over the minibatch, to out [2M, H] for activations [2M, N, H] (>= 0 after a ReLU)."""
    for h, mean in zip(hidden, out, strict=True):
        torch.sum(h, dim=1, out=mean).mul_(1.0 / h.shape[1])


def restart_units(net: StackedActorCritic, layer: int, mask: Tensor, fresh: Tensor, born_zero: Tensor | None) -> None:
    """Give the units of mask [2M, H] fresh incoming weights, a zero bias and zero outgoing weights.

    fresh: [2M, inputs, H]. born_zero [2M, inputs]: inputs whose new
    weight is zero, because the unit they come from is restarted too.
    """
    weight = net.views[f"{layer}.weight"]
    if born_zero is not None:
        fresh = fresh.masked_fill(born_zero.unsqueeze(2), 0)
    weight.copy_(torch.where(mask.unsqueeze(1), fresh, weight))
    net.views[f"{layer}.bias"].masked_fill_(mask, 0)
    net.views[f"{layer + 1}.weight"].masked_fill_(mask.unsqueeze(2), 0)


def forget_moments(adam: FlatAdam, layer: int, mask: Tensor) -> None:
    """Zero the optimiser's moments of incoming weights, bias and outgoing weights, and the units' step counts."""
    for views in adam.moment_views:
        views[f"{layer}.weight"].masked_fill_(mask.unsqueeze(1), 0)
        views[f"{layer}.bias"].masked_fill_(mask, 0)
        views[f"{layer + 1}.weight"].masked_fill_(mask.unsqueeze(2), 0)
    if adam.unit_steps is not None:
        adam.unit_steps[layer].masked_fill_(mask, 0)
