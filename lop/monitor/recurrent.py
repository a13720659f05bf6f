"""Recurrent modules of torch.nn, whose activations run inside one fused function: computed again, step by step.

A gate's units over all time steps are one layer: `input`, `forget`, `output` (sigmoid) and `cell` (tanh) of an LSTM,
with `hidden` for the tanh of its cell state; `reset`, `update` and `new` of a GRU; `hidden` of a plain RNN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Show = Callable[[str, str, Tensor, Tensor], None]
"""show(gate, operation, z, h): one step's pre-activations and activations [N, H] of one gate."""
Step = Callable[[Show, Tensor, tuple[Tensor, ...], list[Any], str], tuple[Tensor, ...]]


def _plain(show: Show, x: Tensor, state: tuple[Tensor, ...], w: list[Any], nonlinearity: str) -> tuple[Tensor, ...]:
    z = F.linear(x, w[0], w[2]) + F.linear(state[0], w[1], w[3])
    h = z.relu() if nonlinearity == "relu" else z.tanh()
    show("hidden", nonlinearity, z, h)
    return (h,)


def _lstm(show: Show, x: Tensor, state: tuple[Tensor, ...], w: list[Any], _: str) -> tuple[Tensor, ...]:
    z = (F.linear(x, w[0], w[2]) + F.linear(state[0], w[1], w[3])).chunk(4, -1)
    i, f, g, o = z[0].sigmoid(), z[1].sigmoid(), z[2].tanh(), z[3].sigmoid()
    cell = f * state[1] + i * g
    hidden = cell.tanh()
    gates = (("input", "sigmoid", z[0], i), ("forget", "sigmoid", z[1], f), ("cell", "tanh", z[2], g))
    for gate in (*gates, ("output", "sigmoid", z[3], o), ("hidden", "tanh", cell, hidden)):
        show(*gate)
    return o * hidden, cell


def _gru(show: Show, x: Tensor, state: tuple[Tensor, ...], w: list[Any], _: str) -> tuple[Tensor, ...]:
    from_x, from_h = F.linear(x, w[0], w[2]).chunk(3, -1), F.linear(state[0], w[1], w[3]).chunk(3, -1)
    z_reset, z_update = from_x[0] + from_h[0], from_x[1] + from_h[1]
    reset, update = z_reset.sigmoid(), z_update.sigmoid()
    z_new = from_x[2] + reset * from_h[2]
    new = z_new.tanh()
    for gate in (
        ("reset", "sigmoid", z_reset, reset),
        ("update", "sigmoid", z_update, update),
        ("new", "tanh", z_new, new),
    ):
        show(*gate)
    return ((1 - update) * new + update * state[0],)


STEPS: dict[type, Step] = {
    nn.RNNCell: _plain,
    nn.LSTMCell: _lstm,
    nn.GRUCell: _gru,
    nn.RNN: _plain,
    nn.LSTM: _lstm,
    nn.GRU: _gru,
}


def can_show(module: nn.Module, args: tuple) -> bool:
    """Whether this call can be computed again: packed sequences and projected LSTMs cannot."""
    return type(module) in STEPS and bool(args) and isinstance(args[0], Tensor) and not getattr(module, "proj_size", 0)


def show_recurrent(module: nn.Module, args: tuple, show: Show) -> None:
    """Run a recurrent module's call again and show every gate at every step, named by layer and direction."""
    step, x = STEPS[type(module)], args[0]
    nonlinearity = getattr(module, "nonlinearity", "tanh")
    if not isinstance(module, nn.RNNBase):
        x = x if x.ndim == 2 else x.unsqueeze(0)
        weights = [module.weight_ih, module.weight_hh, module.bias_ih, module.bias_hh]
        step(show, x, _state(module, args, x.shape[0]), weights, nonlinearity)
        return
    x = x.unsqueeze(0 if module.batch_first else 1) if x.ndim == 2 else x
    x = x.transpose(0, 1) if module.batch_first else x
    start = _state(module, args, x.shape[1])
    for layer in range(module.num_layers):
        outs = []
        for direction in range(1 + module.bidirectional):
            index = layer * (1 + module.bidirectional) + direction
            name = f"l{layer}{'_reverse' if direction else ''}"
            state, seen = tuple(part[index] for part in start), []
            for x_t in x.flip(0) if direction else x:
                labelled = lambda gate, *rest, name=name: show(f"{name}.{gate}", *rest)  # noqa: E731
                state = step(labelled, x_t, state, _weights(module, name), nonlinearity)
                seen.append(state[0])
            outs.append(torch.stack(seen).flip(0) if direction else torch.stack(seen))
        x = torch.cat(outs, -1)


def _weights(module: nn.RNNBase, name: str) -> list[Any]:
    return [getattr(module, f"{kind}_{name}", None) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def _state(module: nn.Module, args: tuple, batch: int) -> tuple[Tensor, ...]:
    """The state a call began with: [N, H] for cells, [layers, N, H] for sequences; zeros where none was given."""
    given = (*args, None)[1]
    parts = 2 if isinstance(module, (nn.LSTM, nn.LSTMCell)) else 1
    is_cell = not isinstance(module, nn.RNNBase)
    if given is None:
        shape = (
            (batch, module.hidden_size)
            if is_cell
            else (module.num_layers * (1 + module.bidirectional), batch, module.hidden_size)
        )
        return tuple(args[0].new_zeros(shape) for _ in range(parts))
    states: Any = given if isinstance(given, tuple) else (given,)
    return tuple(part if part.ndim == (2 if is_cell else 3) else part.unsqueeze(-2) for part in states)
