"""Heat maps of a run for wandb: every unit's margin over time, a PNG per layer, drawn as the local dashboard draws it."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

HEAT_MAP = "units/margin/layer_{}"
DPI = 90  # 972 by 666 pixels; the time to draw them grows with their number
NEEDS = ("matplotlib", "PIL")


def heat_maps(folder: Path) -> dict[str, bytes]:
    """PNG files by key, from the run's per-unit records up to now; none without records, matplotlib or pillow."""
    if any(importlib.util.find_spec(package) is None for package in NEEDS):
        return {}
    from lop.dashboard.library import Entry
    from lop.dashboard.look import DEAD, RISK
    from lop.dashboard.pages.units import heat_map
    from lop.dashboard.paper import picture
    from lop.dashboard.view import Key, View

    run = Entry(folder, folder)
    if not run.strip.poll() or "margin" not in run.strip.fields:
        return {}
    legend = [Key("dead (margin ≤ 0)", DEAD, patch=True), Key("at risk (margin < 0.1)", RISK, patch=True)]
    found = {}
    for layer in range(len(run.strip.layers)):
        heat, _ = heat_map(run, layer, "death")
        about = f"{run.env}/{run.algo}, {folder.name}, layer {layer}: margin of each unit over the last observations"
        # at this size marks of the events hide what they mark
        view = View("Units", [dataclasses.replace(heat, events=[])], legend, about)
        found[HEAT_MAP.format(layer)] = picture(view, columns=1, kind="png", dpi=DPI)
    return found


def due(step: int, advance: int, every: int, end: int) -> bool:
    """Whether pictures are due at `step`, `advance` after the last one looked at; `end` is the run's last.

    In the first update at or past each multiple of `every`, and in the last of a run that has one; every = 0: never.
    """
    return every > 0 and (step // every > (step - advance) // every or end == step >= every)
