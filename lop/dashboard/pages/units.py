"""Units over time: the margin of every unit of a layer, those that died first on top."""

from __future__ import annotations

import numpy as np

from lop.dashboard.choices import Field, Query, one
from lop.dashboard.library import Entry, Library
from lop.dashboard.look import DEAD, RISK
from lop.dashboard.pages import common
from lop.dashboard.pages.common import Answers, Page
from lop.dashboard.view import STEPS_LABEL, Heat, Key, View
from lop.run.tables import EVENT_KINDS

DEATH = EVENT_KINDS.index("death")
ORDERS = [("death", "time of death"), ("margin", "last margin"), ("unit", "unit number")]
MAX_EVENTS = 4000  # newest ones that are drawn


def form(library: Library, query: Query) -> list[Field]:
    asked = common.ask_run(library, query)
    run = library.entries.get(asked.chosen[0])
    layers = [(str(i), f"{i} ({units} units)") for i, units in enumerate(run.layers if run else [])]
    return [
        asked,
        # per-unit records are kept of the actor alone
        one(query, "network", "Network", [("actor", "actor")]),
        one(query, "layer", "Layer", layers, str(len(layers) - 1)),
        one(query, "order", "Sorted by", ORDERS),
    ]


def view(library: Library, answers: Answers) -> View:
    run = library.entries.get(answers["run"][0])
    if run is None or run.problem or not answers["layer"][0]:
        return View("Units", notes=common.notes(library, []))
    notes = [*common.notes(library, []), *run.notes]
    if not run.strip.poll() or "margin" not in run.strip.fields:
        return View("Units", notes=[*notes, f"{run.name} has no per-unit records (monitor.units=false?)"])
    layer, order = int(answers["layer"][0]), answers["order"][0]
    heat, dropped = heat_map(run, layer, order)
    if dropped:
        notes.append(f"Of the deaths and revivals the newest {MAX_EVENTS} are marked; {dropped} older ones are not.")
    legend = [
        Key("dead (margin ≤ 0)", DEAD, patch=True),
        Key("at risk (margin < 0.1)", RISK, patch=True),
        Key("▼ death   ▲ revival", "", dash=""),
    ]
    every = "every update" if run.strip.stride == 1 else f"one update in {run.strip.stride}"
    about = f"{run.name}, layer {layer}: margin of each unit over the last observations, {every}."
    return View("Units", [heat], legend, about, notes)


def heat_map(run: Entry, layer: int, order: str) -> tuple[Heat, int]:
    """Margins of a layer with its events, and how many events were left out."""
    strip = run.strip
    start = sum(strip.layers[:layer])
    margins = strip.values("margin")[:, start : start + strip.layers[layer]].astype(np.float32)  # [T, H]
    events = run.events.poll()
    events = events[events["layer"] == layer] if len(events) else events
    place = arrange(margins, strip.steps, events, order)
    row = np.argsort(place)
    marked = events[-MAX_EVENTS:]
    texts = [
        (float(e["global_step"]), int(row[e["unit"]]), describe(e), bool(e["kind"] == DEATH))
        for e in marked
        if 0 <= e["unit"] < len(row)
    ]
    name = dict(ORDERS)[order]
    title = f"Margins of layer {layer}"
    heat = Heat(title, STEPS_LABEL, f"units, sorted by {name}", "margin", strip.steps, margins.T[place], place, texts)
    return heat, len(events) - len(marked)


def describe(event: np.void) -> str:
    """An event in words."""
    what = "died" if event["kind"] == DEATH else "revived"
    before, after = event["margin_before"], event["margin_after"]
    return f"unit {event['unit']} {what}: margin {before:.3g} → {after:.3g}"


def arrange(margins: np.ndarray, steps: np.ndarray, events: np.ndarray, order: str) -> np.ndarray:
    """The units [H] in the order they are drawn. margins [T, H]; events of this layer.

    By time of death: dead units, the earliest death first; then living ones that died once, the earliest first; then
    those that never died, the smallest last margin first. A unit dead without an event died before the first row.
    """
    units = np.arange(margins.shape[1])
    last = np.nan_to_num(margins[-1].astype(float), nan=-np.inf)
    if order == "unit":
        return units
    if order == "margin":
        return np.argsort(last, kind="stable")
    first, final = np.full((2, len(units)), np.inf)
    state = np.full(len(units), -1)
    for event in events:  # in order of time
        unit = event["unit"]
        if 0 <= unit < len(units):
            state[unit] = event["kind"]
            if event["kind"] == DEATH:
                first[unit], final[unit] = min(first[unit], event["global_step"]), event["global_step"]
    dead = (state == DEATH) | ((state == -1) & (last <= 0))
    final[dead & (state == -1)] = -np.inf
    rank = np.where(dead, 0, np.where(np.isfinite(first), 1, 2))
    when = np.where(dead, final, np.where(np.isfinite(first), first, last))
    return np.lexsort((units, when, rank))


PAGE = Page("units", "Units", form, view, columns=1, height=610)
