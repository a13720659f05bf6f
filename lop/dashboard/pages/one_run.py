"""One run: return, dead and at-risk units, margins, ranks and weights of every layer, frictions behind them."""

from __future__ import annotations

import math

from lop.analysis.colours import colour_of, in_order
from lop.dashboard.choices import Field, Query, one
from lop.dashboard.grid import aligned
from lop.dashboard.ladder import as_number
from lop.dashboard.library import Entry, Library
from lop.dashboard.look import SPAN
from lop.dashboard.metrics import METRICS, Metric, curve
from lop.dashboard.pages import common
from lop.dashboard.pages.common import Answers, Page
from lop.dashboard.view import DASHES, STEPS_LABEL, Chart, Curve, Key, Span, View

RANKS = ("srank", "stable_rank", "effective_rank")
SLIPPERIEST, ROUGHEST = 0.02, 2.0  # frictions of SlipperyAnt


def form(library: Library, query: Query) -> list[Field]:
    asked = common.ask_run(library, query)
    run = library.entries.get(asked.chosen[0])
    critic = run is not None and "critic/margin/dead_counts/layer_0" in run.curves.ladder.keys
    networks = [("", "actor"), *([("critic/", "critic")] if critic else [])]
    return [
        asked,
        one(query, "network", "Network", networks),
        one(query, "rank", "Rank", [(key, METRICS[key].title) for key in RANKS]),
        common.ask_points(query),
    ]


def view(library: Library, answers: Answers) -> View:
    run = library.entries.get(answers["run"][0])
    if run is None or run.problem:
        return View("One run", notes=common.notes(library, []))
    colour = colour_of(run.algo, in_order([other.algo for other in library.runs]))
    behind = frictions(run)
    keys = (
        "return",
        "margin/dead_counts",
        "margin/at_risk_counts",
        "margin/mean_margins",
        answers["rank"][0],
        "pol_weights",
    )
    charts = [
        chart(run, METRICS[key], answers["network"][0], colour, int(answers["points"][0]), behind) for key in keys
    ]
    legend = [Key(f"{run.algo}, layer {i}", colour, DASHES[i % len(DASHES)]) for i in range(len(run.layers))]
    legend.append(Key("output layer (weights)", colour, DASHES[len(run.layers) % len(DASHES)]))
    if behind:
        legend.append(Key("task: the stronger, the more slippery", SPAN, patch=True))
    total = f" of {common.steps_text(run.total_steps)}" if run.total_steps else ""
    about = f"{run.name}: {run.status}, {common.steps_text(run.curves.step)}{total} steps."
    remarks = [*common.notes(library, [run]), *run.notes]
    return View("One run", charts, legend, about, remarks, definitions=common.definitions([METRICS[k] for k in keys]))


def chart(run: Entry, metric: Metric, network: str, colour: str, points: int, behind: list[Span]) -> Chart:
    """One metric, a line per layer."""
    depth = len(run.layers) + metric.output if metric.layered else 1
    curves = []
    for i in range(depth):
        steps, values = aligned([run.curves.ladder], [curve(metric, run.layers, str(i), network)], points)
        if len(steps):
            label = f"layer {i}" if metric.layered else metric.title
            curves.append(Curve(label, steps, values[0], colour, dash=DASHES[i % len(DASHES)]))
    title = metric.title + (" (critic)" if network and metric.layered else "")
    return Chart(title, STEPS_LABEL, metric.unit, curves, spans=behind)


def frictions(run: Entry) -> list[Span]:
    """A span per task, the stronger the more slippery; empty where the friction never changes."""
    starts = {k: (k * run.task_steps, as_number(f)) for k, f in enumerate(run.info.get("frictions") or [])}
    # what happened counts: a task may begin late (departures.task_clock=reference)
    rows = [row for row in run.tasks if row.get("event") == "start"]
    starts |= {
        row["task"]: (as_number(row["global_step"]), as_number(row.get("friction"))) for row in rows if _whole(row)
    }
    begun = sorted((step, friction, task) for task, (step, friction) in starts.items() if step <= run.curves.step)
    if not begun:
        return []
    ends = [step for step, _, _ in begun[1:]] + [run.curves.step]
    return [
        Span(step, end, f"task {task}, friction {friction:.3g}", slipperiness(friction))
        for (step, friction, task), end in zip(begun, ends, strict=True)
        if end > step
    ]


def slipperiness(friction: float) -> float:
    """1 for the most slippery floor of SlipperyAnt, 0 for the roughest, on a logarithmic scale."""
    if not friction > 0:
        return 0.0
    share = math.log(ROUGHEST / friction) / math.log(ROUGHEST / SLIPPERIEST)
    return min(1.0, max(0.0, share))


def _whole(row: dict[str, object]) -> bool:
    return isinstance(row.get("task"), int) and isinstance(row.get("global_step"), int)


PAGE = Page("run", "One run", form, view, columns=3, height=285)
