"""All metrics of probed layers at once: per-sample work on the device, one transfer, the rest on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lop.monitor import dormancy, margins, weights
from lop.monitor.layers import Layer, Probed
from lop.monitor.ranks import RANKS, all_ranks, singular_values

TAUS = (0.025, 0.1)
Named = dict[str, Tensor]


@dataclass
class Measurement:
    """Metrics of a network (leading shape ()) or of a population (leading shape (M,)).

    scalars: by key (`margin/dead_counts/layer_0`), float64 of the leading shape. units: for each layer, arrays
    [*leading, H] by name (`margin`, `lowest`, `activity`, ...).
    """

    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    units: list[dict[str, np.ndarray]] = field(default_factory=list)


@torch.no_grad()
def measure(
    probed: Probed,
    *,
    epsilon: float = 0.1,
    ranks: bool = False,
    weights_name: str = "pol_weights",
    extra: Named | None = None,
) -> Measurement:
    """Every metric that layers and weights alone determine.

    epsilon: at-risk units have 0 < margin < epsilon. ranks: also the ranks (about 7 ms for [1000, 256] on a core).
    weights_name: key of the weight magnitudes, the output layer's included.
    extra: further tensors of the leading shape that take part in the one transfer and come back as scalars.
    """
    layers = probed.layers
    lead = layers[0].z.shape[:-2]
    tables = [_on_device(layer, ranks) for layer in layers]
    magnitudes = {str(i): weights.weight_magnitude(w) for i, w in probed.matrices().items()}
    *tables, magnitudes, rest = to_host([*tables, magnitudes, extra or {}], lead)
    result, scalars, classes = Measurement(), {}, []
    for index, (layer, table) in enumerate(zip(layers, tables, strict=True)):
        units, of_layer, kinds = _on_host(layer, table, epsilon)
        classes.append(kinds)
        result.units.append({name: value.numpy() for name, value in units.items()})
        scalars |= {f"{name}/layer_{index}": value for name, value in of_layer.items()}
    scalars |= {f"{weights_name}/layer_{i}": value for i, value in magnitudes.items()}
    scalars |= rest | _whole_network(probed, [kinds.dead for kinds in classes])
    table = torch.stack(list(scalars.values()), -1).double().numpy()
    result.scalars = {key: table[..., i] for i, key in enumerate(scalars)}
    return result


def to_host(tables: Sequence[Named], lead: torch.Size) -> list[Named]:
    """The same tables of tensors [*lead, ...] as float64 on the host, moved in one transfer."""
    tensors = [tensor for table in tables for tensor in table.values()]
    if not tensors:
        return [{} for _ in tables]
    # counts stay exact as float32 up to 2^24
    flat = torch.cat([tensor.detach().reshape(*lead, -1) for tensor in tensors], -1).cpu().double()
    pieces = iter(flat.split([tensor.numel() // max(lead.numel(), 1) for tensor in tensors], -1))
    return [{key: next(pieces).reshape(tensor.shape) for key, tensor in table.items()} for table in tables]


def _on_device(layer: Layer, ranks: bool) -> Named:
    """Everything that needs the samples, reduced over them."""
    table = {
        "margin": margins.margin(layer.drive),
        "lowest_drive": margins.lowest(layer.drive),
        "lowest": margins.lowest(layer.z) if layer.z.shape == layer.drive.shape and layer.activation.drive else None,
        "firing": dormancy.firing_counts(layer.h, layer.activation.non_negative),
        "magnitude": dormancy.mean_magnitude(layer.h, layer.activation.non_negative),
        "dead_points": margins.dead_points(layer.drive, layer.positions).sum(-1),
    }
    if layer.weight is not None:
        table |= {"weight_norm": weights.weight_norm(layer.weight), "bias": layer.bias}
    if ranks:
        # two more passes over the samples, for something that changes slowly
        if layer.weight is not None and layer.inputs is not None:
            table |= {"radius": margins.data_radius(layer.inputs), "mean_z": layer.z.mean(-2)}
        finite = torch.isfinite(table["margin"]) & torch.isfinite(table["lowest_drive"])
        h = torch.where(finite.unsqueeze(-2), layer.h, 0.0)
        table |= all_ranks(singular_values(h), h.shape[-2])
    return {name: value for name, value in table.items() if value is not None}


def _on_host(layer: Layer, table: Named, epsilon: float) -> tuple[Named, Named, margins.UnitClasses]:
    """Per-unit arrays, scalars and classes of one layer, from what _on_device reduced."""
    num_samples = layer.z.shape[-2]
    kinds = margins.classify(table["margin"], table["lowest_drive"], epsilon, layer.activation.can_die)
    units = {
        "margin": table["margin"],
        "lowest": table.get("lowest", table["lowest_drive"]),
        "activity": table["firing"] / num_samples,
        "mean_abs_activation": table["magnitude"],
    }
    units |= {name: table[name] for name in ("bias", "weight_norm") if name in table}
    if "weight_norm" in table:
        units["scale_free_margin"] = margins.scale_free_margin(table["margin"], table["weight_norm"])
    scalars = _margin_scalars(units, kinds, table["dead_points"], num_samples // layer.positions)
    if not layer.activation.can_die:
        scalars["margin/never_on_counts"] = (units["margin"] <= 0).sum(-1)
    scalars |= _dormancy_scalars(units) | {name: table[name] for name in RANKS if name in table}
    if "radius" in table:
        out = margins.out_of_bounds(table["mean_z"], table["weight_norm"], table["radius"])
        scalars["margin/out_of_bounds_counts"] = out.sum(-1)
    return units, scalars, kinds


def _margin_scalars(units: Named, kinds: margins.UnitClasses, dead_points: Tensor, num_samples: int) -> Named:
    counts = torch.stack(kinds).sum(-1)
    scalars = {f"margin/{name}_counts": count for name, count in zip(kinds._fields, counts, strict=True)}
    scalars["margin/mean_margins"] = margins.mean_margin(units["margin"], kinds.non_finite)
    if "scale_free_margin" in units:
        scalars["margin/mean_scale_free_margins"] = margins.mean_margin(units["scale_free_margin"])
    scalars["margin/dead_points"] = dead_points
    scalars["margin/dead_point_fractions"] = dead_points / num_samples
    return scalars


def _dormancy_scalars(units: Named) -> Named:
    score = dormancy.relative_score(units["mean_abs_activation"])
    counts = torch.stack([dormancy.dormant(score, tau) for tau in TAUS]).sum(-1)
    scalars = {f"dormant_counts_{tau}": count for tau, count in zip(TAUS, counts, strict=True)}
    scalars["activity"] = margins.mean_margin(units["activity"])
    return scalars


def _whole_network(probed: Probed, dead: list[Tensor]) -> Named:
    """N, and of a plain perceptron the frozen parameters."""
    layers = probed.layers
    num_samples = layers[0].z.shape[-2] // layers[0].positions
    scalars = {"margin/num_samples": torch.full(layers[0].z.shape[:-2], num_samples)}
    first, last = layers[0].matrix, probed.output
    if probed.chained and first is not None and last is not None:
        sizes = [first.shape[-1], *(layer.h.shape[-1] for layer in layers), last.shape[-2]]
        frozen = weights.frozen_parameters(dead, sizes[0], sizes[-1])
        scalars["frozen_parameters"] = frozen
        scalars["frozen_parameter_fraction"] = frozen / weights.parameter_count(sizes)
    return scalars
