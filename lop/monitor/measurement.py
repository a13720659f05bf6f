"""All metrics of probed layers at once: per-sample work on the device, one transfer, the rest on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lop.monitor import dormancy, margins, weights
from lop.monitor.layers import Layer, Probed
from lop.monitor.ranks import all_ranks, singular_values

TAUS = (0.025, 0.1)
Named = dict[str, Tensor]


@dataclass
class Measurement:
    """Metrics of a network (leading shape ()) or of a population (leading shape (M,)).

    scalars: by key (`margin/dead_counts/layer_0`), float64 of the leading shape. units: for each layer, arrays
    [*leading, H] by name (`margin`, `lowest`, `activity`, ...).
    """

    scalars: dict[str, np.ndarray]
    units: list[dict[str, np.ndarray]]


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
    found = _on_host(layers, tables, epsilon)
    scalars = {f"{name}/layer_{i}": value for i, layer in enumerate(found) for name, value in layer.scalars.items()}
    whole = {f"{weights_name}/layer_{i}": value for i, value in magnitudes.items()}
    whole |= rest | _whole_network(probed, [layer.dead for layer in found])
    scalars |= {name: value.double().numpy() for name, value in whole.items()}
    return Measurement(scalars, [layer.units for layer in found])


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
        table["singular_values"] = singular_values(_finite_units(layer.h, table["margin"], table["lowest_drive"]))
    return {name: value for name, value in table.items() if value is not None}


def _finite_units(h: Tensor, margin: Tensor, lowest: Tensor) -> Tensor:
    """Activations with 0 for the units that a NaN or an infinity reached."""
    finite = torch.isfinite(margin) & torch.isfinite(lowest)
    # asking costs a pass less, but on a GPU it would wait
    return h if h.device.type == "cpu" and finite.all() else torch.where(finite.unsqueeze(-2), h, 0.0)


class OfLayer(NamedTuple):
    """What the host makes of one layer: per-unit arrays [*lead, H], scalars [*lead], which units are dead [*lead, H]."""

    units: dict[str, np.ndarray]
    scalars: dict[str, np.ndarray]
    dead: Tensor


def _on_host(layers: Sequence[Layer], tables: Sequence[Named], epsilon: float) -> list[OfLayer]:
    """Every layer's numbers from what _on_device reduced; layers of one kind are taken together, in fewer operations."""
    kinds: dict[tuple, list[int]] = {}
    for index, (layer, table) in enumerate(zip(layers, tables, strict=True)):
        key = (*layer.z.shape[-2:], layer.positions, layer.activation.can_die, *table)
        kinds.setdefault(key, []).append(index)
    found: dict[int, OfLayer] = {}
    for members in kinds.values():
        joined = {name: torch.stack([tables[i][name] for i in members]) for name in tables[members[0]]}
        units, scalars, dead = _of_one_kind(layers[members[0]], joined, epsilon)
        of_units = {name: value.numpy() for name, value in units.items()}
        of_layers = torch.stack(list(scalars.values())).double().numpy()
        for place, index in enumerate(members):
            mine = {name: value[place] for name, value in of_units.items()}
            found[index] = OfLayer(mine, dict(zip(scalars, of_layers[:, place], strict=True)), dead[place])
    return [found[index] for index in range(len(layers))]


def _of_one_kind(layer: Layer, table: Named, epsilon: float) -> tuple[Named, Named, Tensor]:
    """Units, scalars and dead units of L layers that differ in their numbers alone.

    layer: one of them; table: tensors [L, *lead, ...].
    """
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
    scalars |= _dormancy_scalars(units)
    if "singular_values" in table:
        scalars |= all_ranks(table["singular_values"], num_samples)
    if "radius" in table:
        out = margins.out_of_bounds(table["mean_z"], table["weight_norm"], table["radius"])
        scalars["margin/out_of_bounds_counts"] = out.sum(-1)
    return units, scalars, kinds.dead


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
