"""Choosing layers by number or by module path."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from lop.monitor.layers import Layer, Probed
from lop.monitor.module_probe import ModuleProbe
from lop.monitor.stacked import StackedProbe


def selected(probed: Probed, wanted: Sequence[int | str], probe: ModuleProbe | StackedProbe) -> Probed:
    """The wanted layers, in order of execution; a number, or the path of an activation or of the weights before it.

    The result keeps no output layer, for the layers need not lead to it. Errors: a name that matches nothing.
    """
    chosen: set[int] = set()
    for name in wanted:
        found = {i for i, layer in enumerate(probed.layers) if _matches(name, i, layer)}
        if not found:
            raise ValueError(_reason(name, probed.layers, probe))
        chosen |= found
    return Probed([probed.layers[i] for i in sorted(chosen)])


def _matches(name: int | str, index: int, layer: Layer) -> bool:
    return index == name if isinstance(name, int) else name in (layer.path, layer.source)


def _reason(name: int | str, layers: list[Layer], probe: ModuleProbe | StackedProbe) -> str:
    if isinstance(name, int):
        return f"layers={name}: the network has layers 0 to {len(layers) - 1}"
    paths = sorted({path for layer in layers for path in (layer.path, layer.source) if path})
    if isinstance(probe, ModuleProbe) and name in dict(probe.module.named_modules()):
        state = "applies no activation" if name in probe.entered else "was not called in the forward pass"
        return f"layers={name!r}: that module {state}; layers are {paths}"
    near = difflib.get_close_matches(name, paths, 1)
    return f"layers={name!r}: no such layer" + (f", did you mean {near[0]!r}?" if near else "") + f" Layers are {paths}"
