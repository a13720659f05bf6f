"""The probe of any nn.Module: run it once on the window and turn what the trace saw into layers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lop.monitor.guard import untouched, unwrapped
from lop.monitor.layers import Layer, Probed
from lop.monitor.tags import Tag
from lop.monitor.trace import Record, Rules, Trace
from lop.monitor.unseen import message


class ModuleProbe:
    """Layers of a module: probe(*inputs) runs it in evaluation mode and gives one Layer per activation.

    every other call is a layer of its own, in order of execution.
    rules: further rules by module class, module path or torch function; None as a rule leaves that one out.
    forward: forward(module, *inputs), for networks whose interesting call is another method. members: M, or None.
    """

    def __init__(
        self,
        module: nn.Module,
        rules: Rules | None = None,
        forward: Callable[..., object] | None = None,
        members: int | None = None,
    ):
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"a network to watch must be an nn.Module or a stacked network, got {type(module).__name__}"
            )
        self.module, self.rules, self.members = unwrapped(module), dict(rules or {}), members
        self.forward = forward or (lambda module, *args, **kwargs: module(*args, **kwargs))
        self.entered: set[str] = set()
        self._warned: set[tuple[str, str]] = set()
        self._looked_below = False
        self._sizes: dict[tuple[str, ...], int] = {}

    def of(self, module: nn.Module) -> ModuleProbe:
        """A probe of another module with the same rules and the same way to call it."""
        probe = ModuleProbe(module, self.rules, self.forward, self.members)
        # a copy of the same network has nothing new to warn of
        probe._warned, probe._looked_below = self._warned, self._looked_below
        return probe

    def __call__(self, *args: object, **kwargs: object) -> Probed:
        trace, out = self._traced(args, kwargs)
        probed = self.assembled(trace, out)
        self._require_same_sizes(probed)
        return probed

    @torch.no_grad()
    def _traced(self, args: tuple, kwargs: dict) -> tuple[Trace, object]:
        trace = Trace(self.module, self.rules, thorough=not self._looked_below)
        self._looked_below = True
        with untouched(self.module), trace.running():
            try:
                out = self.forward(self.module, *args, **kwargs)
            except Exception as error:
                given = ", ".join(_described(args) + _described(kwargs))
                error.add_note(f"margin monitor: {type(self.module).__name__} failed on what was observed: {given}")
                raise
        self._warn_unseen(trace)
        return trace, out

    def assembled(self, trace: Trace, out: object) -> Probed:
        """Layers of a finished trace."""
        groups = self.grouped(trace)
        if not groups:
            name = type(self.module).__name__
            raise ValueError(
                f"no activation was found in {name}: nothing like relu, gelu or tanh ran in its forward pass; "
                "name your own with rules={MyActivation: Activation('mine')}"
            )
        layers = [self._layer(records) for records in groups]
        self.entered = trace.entered
        output = self._output(trace, out, layers)
        matrix = None if output is None else _detached(output.matrix)
        return Probed(layers, matrix, chained=output is not None and _chained(layers, output))

    def _require_same_sizes(self, probed: Probed) -> None:
        for index, info in enumerate(layer.info for layer in probed.layers):
            known = self._sizes.setdefault((str(index), info.path, info.operation, info.source), info.num_units)
            if known != info.num_units:
                raise ValueError(
                    f"layer {index} ({info.operation} in module {info.path!r}) had {known} units when it was first "
                    f"probed, now it has {info.num_units}: build a new monitor for the changed network"
                )

    @staticmethod
    def grouped(trace: Trace) -> list[list[Record]]:
        """The records of each layer: calls with the same weights and the same activation belong together."""
        groups: dict[object, list[Record]] = {}
        for index, record in enumerate(trace.records):
            key = None if record.tag is None else record.tag.key
            groups.setdefault(index if key is None else (key, record.activation.name), []).append(record)
        return list(groups.values())

    @staticmethod
    def place(records: list[Record]) -> tuple[str, str, str]:
        """Path, operation and source of a group of records, by which it is found again in another trace."""
        first = records[0]
        return first.path, first.activation.name, first.tag.source if first.tag else ""

    @staticmethod
    def axis(record: Record) -> int:
        return (record.tag or _guessed(record.z)).axis

    def _layer(self, records: list[Record]) -> Layer:
        first, tags = records[0], [record.tag or _guessed(record.z) for record in records]
        z = _joined([self.samples(r.z, t.axis) for r, t in zip(records, tags, strict=True)])
        h = _joined([self.samples(r.h, t.axis) for r, t in zip(records, tags, strict=True)])
        # an activation that changes the number of units (CReLU) leaves them without hyperplanes of their own
        tag = tags[0] if h.shape == z.shape else tags[0].without_hyperplane()
        inputs = [self.samples(t.inputs, t.inputs.ndim - 1) for t in tags if t.inputs is not None]
        has_inputs = h.shape == z.shape and len(inputs) == len(tags)
        return Layer(
            z,
            h,
            first.activation,
            inputs=_joined(inputs) if has_inputs else None,
            weight=_detached(tag.weight),
            bias=_bias(tag),
            matrix=_detached(tag.matrix),
            positions=_positions(first.z, tag.axis, self.members),
            path=first.path,
            source=tag.source,
        )

    def samples(self, tensor: Tensor, axis: int) -> Tensor:
        """[N, H], or [M, N, H], in at least single precision: all other axes are samples."""
        tensor = tensor.detach()
        tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
        tensor = tensor.movedim(axis, -1)
        if self.members is None:
            return tensor.reshape(-1, tensor.shape[-1])
        if tensor.shape[0] != self.members:
            raise ValueError(f"members={self.members}, but a layer has shape {list(tensor.shape)}: members come first")
        return tensor.reshape(self.members, -1, tensor.shape[-1])

    def _output(self, trace: Trace, out: object, layers: list[Layer]) -> Tag | None:
        """The weights that made the module's result, if they are not a layer's already."""
        found = trace.tags.first(out)
        if found is None or found[0].matrix is None or any(found[0].source == layer.source for layer in layers):
            return None
        return found[0]

    def _warn_unseen(self, trace: Trace) -> None:
        silenced = {path for path, rule in self.rules.items() if isinstance(path, str) and rule is None}
        for path, kind in trace.unseen.keys() - self._warned:
            self._warned.add((path, kind))
            if path not in silenced:
                warnings.warn(message(path, kind), UserWarning, stacklevel=2)

    def matrices(self) -> list[Tensor]:
        """All weights with two or more axes as matrices [H, D] (with members [M, H, D]), in order of registration."""
        first = 1 if self.members is None else 2
        return [p.flatten(first) for p in self.module.parameters() if p.ndim > first and not _is_lazy(p)]

    def reference(self) -> Tensor:
        """A tensor with the module's type and device."""
        usable = (p for p in self.module.parameters() if p.is_floating_point() and not _is_lazy(p))
        return next(usable, torch.empty(0))


def _described(value: object) -> list[str]:
    """Types and shapes of all tensors in nested arguments."""
    if isinstance(value, Tensor):
        return [f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [text for item in items for text in _described(item)]


def _is_lazy(parameter: nn.Parameter) -> bool:
    return isinstance(parameter, nn.parameter.UninitializedParameter)


def _guessed(z: Tensor) -> Tag:
    """Where nothing is known: channels second for images, units last for the rest."""
    return Tag(1 if z.ndim >= 4 else max(z.ndim - 1, 0))


def _positions(z: Tensor, axis: int, members: int | None) -> int:
    """Pixels a channel has; 1 where units are the last axis, for tokens are samples of their own."""
    return math.prod(z.shape[axis + 1 :]) if axis == (1 if members is None else 2) else 1


def _chained(layers: list[Layer], output: Tag) -> bool:
    """Whether every layer's activations are, in memory, what the next layer's weights were applied to."""
    inputs = [*(layer.inputs for layer in layers[1:]), output.inputs]
    return layers[0].weight is not None and all(
        x is not None and x.data_ptr() == layer.h.data_ptr() and x.shape[-1] == layer.h.shape[-1]
        for layer, x in zip(layers, inputs, strict=True)
    )


def _bias(tag: Tag) -> Tensor | None:
    if tag.weight is None:
        return None
    return tag.weight.new_zeros(tag.weight.shape[:-1]) if tag.bias is None else tag.bias.detach()


def _joined(parts: list[Tensor]) -> Tensor:
    """Samples of several calls behind each other; of one call without copying, which _chained relies on."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, -2)


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()
