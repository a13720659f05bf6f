"""Tasks: what each left of the network, at its start and at its end, and how many units died in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lop.dashboard.bands import centre
from lop.dashboard.choices import Field, Query, plain, several
from lop.dashboard.grid import stacked
from lop.dashboard.ladder import as_number
from lop.dashboard.library import Entry, Library
from lop.dashboard.metrics import METRICS, Metric, curve
from lop.dashboard.pages import common
from lop.dashboard.pages.common import Answers, Group, Page
from lop.dashboard.view import Bars, Chart, Curve, Key, View
from lop.run.reader import natural
from lop.run.tables import EVENT_KINDS

TASK_LABEL = "task"
MAX_TASKS = 10_000  # a row beyond is damaged
DEATH = EVENT_KINDS.index("death")
BOTH_ENDS = ("margin/mean_margins", "margin/dead_counts", "srank")


def form(library: Library, query: Query) -> list[Field]:
    runs = [run for run in library.runs if run.tasks]
    algos = common.in_order([run.algo for run in runs])
    variations = sorted({run.variation for run in runs}, key=natural)
    return [
        several(query, "algo", "Algorithm", plain(algos)),
        several(query, "variation", "Variation", plain(variations)),
        common.ask_statistic(query),
        common.ask_layer(library, query),
    ]


def view(library: Library, answers: Answers) -> View:
    runs = [run for run in common.chosen_runs(library, answers) if run.tasks]
    groups = common.grouped(runs, "variation", library)
    (layer,), (statistic,) = answers["layer"], answers["stat"]
    charts = [both_ends(library, groups, METRICS[key], layer, statistic) for key in BOTH_ENDS]
    charts.insert(1, deaths(groups, layer, statistic))
    keys = [Key(group.key.label, group.colour, patch=True) for group in groups]
    keys += [Key("at the start of the task", "", "dashed"), Key("at its end", "", "solid")]
    notes = common.notes(library, runs)
    if library.runs and not runs:
        notes.append("No run here has tasks yet: they are those of SlipperyAnt (env=sant).")
    return View("Tasks", charts, keys, common.caption(statistic, []), notes)


def both_ends(library: Library, groups: Sequence[Group], metric: Metric, layer: str, statistic: str) -> Chart:
    """A metric at the start and at the end of each task."""
    curves = []
    for group in groups:
        for event, dash in (("start", "dashed"), ("end", "solid")):
            values = stacked([by_task(run, metric, layer, event) for run in group.runs])
            names = tuple(run.name for run in group.runs)
            low, high = library.bands((names, metric.key, layer, event), values, statistic)
            x = np.arange(values.shape[1], dtype=float)
            label = f"{group.key.label}, {event} of task"
            curves.append(Curve(label, x, centre(values, statistic), group.colour, low, high, dash))
    return Chart(f"{metric.title} at start and end", TASK_LABEL, metric.unit, curves)


def by_task(run: Entry, metric: Metric, layer: str, event: str) -> np.ndarray:
    """A metric in the rows of one kind of event [tasks], NaN where a task has none."""
    rows = {row["task"]: row for row in run.tasks if row.get("event") == event and is_task(row.get("task"))}
    numbers = range(max(rows, default=-1) + 1)

    def column(key: str) -> np.ndarray:
        return np.array([as_number(rows.get(task, {}).get(key)) for task in numbers])

    return curve(metric, run.layers, layer)(column)


def deaths(groups: Sequence[Group], layer: str, statistic: str) -> Chart:
    """Deaths of units in each task, a bar per group."""
    width = 0.8 / max(1, len(groups))
    bars = []
    for i, group in enumerate(groups):
        values = stacked([count_deaths(run, layer) for run in group.runs])
        x = np.arange(values.shape[1]) + (i - (len(groups) - 1) / 2) * width
        bars.append(Bars(group.key.label, x, centre(values, statistic), group.colour, width * 0.9))
    where = "all layers" if layer == "mean" else f"layer {layer}"
    return Chart(f"Deaths in the task, {where}", TASK_LABEL, "deaths of units", bars=bars)


def count_deaths(run: Entry, layer: str) -> np.ndarray:
    """Deaths per task [tasks begun]; of one hidden layer, or of all together."""
    begun = max((row["task"] for row in run.tasks if is_task(row.get("task"))), default=-1) + 1
    events = run.events.poll()
    if not len(events):
        return np.zeros(begun)
    chosen = (events["kind"] == DEATH) & (events["task"] >= 0) & (events["task"] < begun)
    if layer != "mean":
        chosen &= events["layer"] == int(layer)
    return np.bincount(events["task"][chosen], minlength=begun).astype(float)


def is_task(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < MAX_TASKS


PAGE = Page("tasks", "Tasks", form, view)
