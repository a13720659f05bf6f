"""All runs: their curves by group, and a table with a row each."""

from __future__ import annotations

from lop.dashboard.choices import Field, Query, one, plain, several
from lop.dashboard.ladder import as_number
from lop.dashboard.library import Entry, Library
from lop.dashboard.metrics import METRICS, OVERVIEW
from lop.dashboard.pages import common
from lop.dashboard.pages.common import Answers, Page
from lop.dashboard.view import Cell, Table, View
from lop.run.reader import natural

GROUPS = [("variation", "variation (its seeds)"), ("algo", "environment, algorithm"), ("run", "no: each run")]


def form(library: Library, query: Query) -> list[Field]:
    runs = [run for run in library.runs if not run.problem]
    algos = common.in_order([run.algo for run in runs])
    variations = sorted({run.variation for run in runs}, key=natural)
    return [
        common.ask_environment(library, query),
        several(query, "algo", "Algorithm", plain(algos)),
        several(query, "variation", "Variation", plain(variations)),
        one(query, "by", "Group", GROUPS),
        common.ask_statistic(query),
        common.ask_layer(library, query),
        common.ask_points(query),
        several(query, "metric", "Curves", [(key, m.title) for key, m in METRICS.items()], OVERVIEW),
    ]


def view(library: Library, answers: Answers) -> View:
    runs = common.chosen_runs(library, answers)
    groups = common.grouped(runs, answers["by"][0], library)
    (layer,), (statistic,), points = answers["layer"], answers["stat"], int(answers["points"][0])
    charts = [common.group_chart(library, groups, METRICS[key], layer, statistic, points) for key in answers["metric"]]
    keys = [group.key for group in groups] if len(groups) <= 24 else by_algorithm(groups)
    shown = [run for run in library.runs if run in runs or run.problem]
    return View(
        "All runs",
        charts,
        keys,
        common.caption(statistic, charts),
        common.notes(library, runs),
        table(shown),
        common.definitions([METRICS[key] for key in answers["metric"]]),
    )


def by_algorithm(groups: list[common.Group]) -> list[common.Key]:
    """One line per colour, where a line per curve would fill the page."""
    return [common.Key(algo, colour) for colour, algo in {g.colour: g.runs[0].algo for g in groups}.items()]


def table(runs: list[Entry]) -> Table:
    """How far each run is, and what it lost."""
    head = ["run", "state", "steps", "return", "dead", "at risk", "notes"]
    return Table(head, [row(run) for run in runs])


def row(run: Entry) -> list[Cell]:
    latest = run.curves.latest
    total = f" of {common.steps_text(run.total_steps)}" if run.total_steps else ""
    last = as_number(latest.get("return"))
    return [
        Cell(run.name, common.link("run", run=run.name), "the curves of this run"),
        Cell(run.status, common.link("units", run=run.name), "the units of this run"),
        Cell(f"{common.steps_text(run.curves.step)}{total}"),
        Cell("" if last != last else f"{last:,.0f}"),
        Cell(per_layer(run, "margin/dead_counts")),
        Cell(per_layer(run, "margin/at_risk_counts")),
        Cell("; ".join(run.notes)),
    ]


def per_layer(run: Entry, key: str) -> str:
    """Units of each hidden layer, as 0/12."""
    values = [as_number(run.curves.latest.get(f"{key}/layer_{i}")) for i in range(len(run.layers))]
    return "/".join("–" if value != value else f"{value:.0f}" for value in values)


PAGE = Page("runs", "All runs", form, view)
