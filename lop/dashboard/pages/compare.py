"""Algorithms side by side, as in the published figures: return, dormant units, rank and weights, and where they ended."""

from __future__ import annotations

import numpy as np

from lop.dashboard.bands import centre
from lop.dashboard.choices import Field, Query, plain, several
from lop.dashboard.library import Library
from lop.dashboard.metrics import METRICS, PUBLISHED
from lop.dashboard.pages import common
from lop.dashboard.pages.common import Answers, Group, Page
from lop.dashboard.view import Cell, Chart, Table, View
from lop.run.reader import natural

LAST_SHARE = 0.1  # of the steps that every seed has: what "at the end" is taken over
POINTS = 100  # of a curve


def form(library: Library, query: Query) -> list[Field]:
    runs = [run for run in library.runs if not run.problem]
    variations = sorted({run.variation for run in runs}, key=natural)
    return [
        common.ask_environment(library, query),
        several(query, "variation", "Variation", plain(variations)),
        common.ask_statistic(query),
        common.ask_layer(library, query),
    ]


def view(library: Library, answers: Answers) -> View:
    runs = common.chosen_runs(library, answers)
    names = common.environments(runs)
    groups = {env: common.grouped([run for run in runs if run.env == env], "variation", library) for env in names}
    charts = [
        chart(library, groups[env], key, env if len(names) > 1 else "", answers) for env in names for key in PUBLISHED
    ]
    rows = [row(library, group, answers["stat"][0]) for env in names for group in groups[env]]
    return View(
        "Compare",
        charts,
        [group.key for env in names for group in groups[env]],
        common.caption(answers["stat"][0], charts),
        common.notes(library, runs),
        Table(["algorithm", "seeds", "up to step", "return over the last tenth", "95 % interval"], rows),
        common.definitions([METRICS[key] for key in PUBLISHED]),
    )


def chart(library: Library, groups: list[Group], key: str, env: str, answers: Answers) -> Chart:
    """One published panel of one environment."""
    made = common.group_chart(library, groups, METRICS[key], answers["layer"][0], answers["stat"][0], POINTS)
    title = f"{env}: {made.title}" if env else made.title
    return Chart(title, made.x_label, made.y_label, made.curves)


def row(library: Library, group: Group, statistic: str) -> list[Cell]:
    """The return over the last tenth of the steps that all seeds of the group have."""
    ladders = [run.curves.ladder for run in group.runs]
    steps, values = common.aligned(ladders, [common.curve(METRICS["return"], [], "mean")] * len(ladders), POINTS)
    shared = np.flatnonzero(np.isfinite(values).all(0)) if values.size else np.zeros(0, int)
    head = [Cell(group.label), Cell(str(len(group.runs)))]
    if not len(shared):
        return [*head, Cell("–"), Cell("–"), Cell("no step that all seeds reached")]
    until = steps[shared[-1]]
    last = values[:, shared[steps[shared] > until * (1 - LAST_SHARE)]].mean(1, keepdims=True)
    low, high = library.bands((group.label, "last tenth"), last, statistic)
    interval = f"{low[0]:,.0f} to {high[0]:,.0f}" if np.isfinite(low[0]) else "one seed"
    return [*head, Cell(common.steps_text(until)), Cell(f"{centre(last, statistic)[0]:,.0f}"), Cell(interval)]


PAGE = Page("compare", "Compare", form, view)
