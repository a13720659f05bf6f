"""What a loss says of each unit: GraMa, gradient norms and the factors of KFAC, from one forward and backward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lop.monitor import dormancy
from lop.monitor.curvature.running import Loss, differentiable, value_of
from lop.monitor.layers import LayerInfo
from lop.monitor.measurement import TAUS, Measurement, to_host
from lop.monitor.module_probe import ModuleProbe
from lop.monitor.ranks import covariance_effective_rank, singular_values
from lop.monitor.tags import Tag
from lop.monitor.trace import Record, Trace
from lop.monitor.weights import weight_norm

Table = dict[str, Tensor]


def gradient_tables(probe: ModuleProbe, loss: Loss, layers: Sequence[LayerInfo]) -> list[tuple[Table, Table]]:
    """(per-unit tensors [H], scalars []) for each layer, from the gradients of loss().

    loss: no arguments; calls the watched module and returns a scalar. It runs in evaluation mode; parameters, their
    .grad, modes and random state stay as they are. units: `mean_abs_gradient` E∣∂L/∂h∣, `gradient_norm` ‖∂L/∂w_j‖.
    A layer that the loss does not reach has neither.
    """
    trace = Trace(probe.module, probe.rules, with_gradients=True, only_inside=True)
    named = {name: p for name, p in probe.module.named_parameters() if p.requires_grad}
    with differentiable(probe.module):
        with trace.running():
            value = value_of(loss)
        found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(named, found, strict=True) if g is not None}
    groups = probe.grouped(trace)
    by_place = {probe.place(records): records for records in groups}
    with torch.no_grad():
        return [_table(probe, by_place.get(info[:2] + info[3:], []), gradients, probe.module) for info in layers]


def add_gradients(measurement: Measurement, probe: ModuleProbe, loss: Loss, layers: Sequence[LayerInfo]) -> None:
    """Put gradient_tables into a measurement of the same layers, in one transfer."""
    tables = gradient_tables(probe, loss, layers)
    moved = to_host([table for pair in tables for table in pair], torch.Size())
    for index, (units, scalars) in enumerate(zip(moved[::2], moved[1::2], strict=True)):
        measurement.units[index] |= {name: value.numpy() for name, value in units.items()}
        measurement.scalars |= {f"{name}/layer_{index}": value.numpy() for name, value in scalars.items()}


def _table(
    probe: ModuleProbe, records: list[Record], gradients: dict[str, Tensor], module: torch.nn.Module
) -> tuple[Table, Table]:
    units, scalars = {}, {}
    if records and all("h" in r.gradients and "z" in r.gradients for r in records):
        h_grads, z_grads = (_joined(probe, records, name) for name in ("h", "z"))
        units["mean_abs_gradient"] = dormancy.mean_magnitude(h_grads)
        score = dormancy.relative_score(units["mean_abs_gradient"])
        scalars |= {f"grama_counts_{tau}": dormancy.dormant(score, tau).sum(-1) for tau in TAUS}
        scalars["kfac_gradient_rank"] = covariance_effective_rank(singular_values(z_grads))
        tags = [record.tag for record in records]
        inputs = [tag.inputs for tag in tags if tag is not None and tag.inputs is not None]
        if len(inputs) == len(tags):
            joined = torch.cat([probe.samples(x, x.ndim - 1) for x in inputs], -2)
            scalars["kfac_input_rank"] = covariance_effective_rank(singular_values(joined))
        weight = _weight_gradient(tags[0], gradients, module)
        if weight is not None:
            units["gradient_norm"] = weight_norm(weight)
            scalars["gradient_norms"] = units["gradient_norm"].mean(-1)
    return units, scalars


def _joined(probe: ModuleProbe, records: list[Record], name: str) -> Tensor:
    return torch.cat([probe.samples(r.gradients[name], probe.axis(r)) for r in records], -2)


def _weight_gradient(tag: Tag | None, gradients: dict[str, Tensor], module: torch.nn.Module) -> Tensor | None:
    """∂L/∂w as a matrix like the tag's; None where the weights are not one whole parameter."""
    if tag is None or tag.matrix is None or not isinstance(tag.key, tuple) or tag.key[0] not in gradients:
        return None
    parameter, gradient = module.get_parameter(tag.key[0]), gradients[tag.key[0]]
    if parameter.numel() != tag.matrix.numel():
        return None
    as_matrix = parameter if parameter.ndim == tag.matrix.ndim else parameter.flatten(1)
    same = as_matrix.shape == tag.matrix.shape and as_matrix.stride() == tag.matrix.stride()
    if same:
        return gradient.reshape(as_matrix.shape)
    return gradient.mT if parameter.mT.shape == tag.matrix.shape else None
