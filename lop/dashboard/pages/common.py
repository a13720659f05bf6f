"""What several pages share: questions, groups of runs, and the curve of a group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from lop.analysis.colours import colour_of, in_order
from lop.dashboard.bands import LEVEL, RESAMPLES, STATISTICS, centre
from lop.dashboard.choices import Field, Query, one
from lop.dashboard.grid import aligned
from lop.dashboard.library import Entry, Library
from lop.dashboard.metrics import ALL_LAYERS, Metric, curve
from lop.dashboard.view import DASHES, STEPS_LABEL, Chart, Curve, Key, View
from lop.run.reader import natural

ANY = "all"
Answers = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Page:
    """A page: its questions, and its view from the answers."""

    name: str  # of the address
    title: str
    form: Callable[[Library, Query], list[Field]]
    view: Callable[[Library, Answers], View]
    columns: int = 2
    height: int = 290  # of a chart, pixels


@dataclass(frozen=True)
class Group:
    """Runs that are drawn as one curve."""

    label: str
    runs: list[Entry]
    colour: str
    dash: str

    @property
    def key(self) -> Key:
        seeds = f"{len(self.runs)} seeds" if len(self.runs) > 1 else "1 seed"
        return Key(f"{self.label} ({seeds})", self.colour, self.dash)


def environments(runs: Sequence[Entry]) -> list[str]:
    """Names of the environments that the runs are of."""
    return sorted({run.env for run in runs if not run.problem})


def ask_environment(library: Library, query: Query) -> Field:
    """Which environment; the first unless another is asked for."""
    names = environments(library.runs)
    options = [(name, name) for name in names] + [(ANY, "all")] * (len(names) > 1)
    return one(query, "env", "Environment", options)


def ask_statistic(query: Query) -> Field:
    """Mean or interquartile mean over seeds."""
    return one(query, "stat", "Over seeds", list(STATISTICS.items()))


def ask_layer(library: Library, query: Query, default: str = ALL_LAYERS) -> Field:
    """A hidden layer, or the mean over them."""
    depth = max((len(run.layers) for run in library.runs), default=0)
    options = [(ALL_LAYERS, "mean of all")] + [(str(i), str(i)) for i in range(depth)]
    return one(query, "layer", "Layer", options, default)


def ask_points(query: Query) -> Field:
    """How fine the curves are: fewer points are smoother."""
    return one(query, "points", "Points", [("250", "250"), ("100", "100"), ("40", "40 (smooth)")])


def ask_run(library: Library, query: Query) -> Field:
    """Which run; one that runs, else the first."""
    runs = library.runs
    default = next((run.name for run in runs if run.status == "running"), "")
    return one(query, "run", "Run", [(run.name, run.name) for run in runs], default)


def chosen_runs(library: Library, answers: Answers) -> list[Entry]:
    """The runs that the filters env, algo and variation leave; a filter without an answer leaves all."""
    (environment,) = answers.get("env", (ANY,))
    return [
        run
        for run in library.runs
        if not run.problem
        and environment in (ANY, "", run.env)
        and (not answers.get("algo") or run.algo in answers["algo"])
        and (not answers.get("variation") or run.variation in answers["variation"])
    ]


def grouped(runs: Sequence[Entry], by: str, library: Library) -> list[Group]:
    """Runs by `variation`, `algo` or `run`. The colour is the algorithm's; groups of one colour differ by dash."""
    label: Callable[[Entry], str] = {
        "variation": lambda run: run.variation,
        "algo": lambda run: f"{run.env} {run.algo}",
        "run": lambda run: run.name,
    }[by]
    algos = in_order([run.algo for run in library.runs])
    together: dict[tuple[str, str], list[Entry]] = {}
    for run in runs:
        together.setdefault((run.algo, label(run)), []).append(run)
    groups: list[Group] = []
    drawn: dict[str, int] = {}
    for algo, name in sorted(together, key=lambda pair: (algos.index(pair[0]), natural(pair[1]))):
        # single runs of one algorithm are told apart by pointing at them
        dash = "solid" if by == "run" else DASHES[drawn.get(algo, 0) % len(DASHES)]
        drawn[algo] = drawn.get(algo, 0) + 1
        groups.append(Group(name, together[algo, name], colour_of(algo, algos), dash))
    return groups


def group_chart(
    library: Library, groups: Sequence[Group], metric: Metric, layer: str, statistic: str, points: int
) -> Chart:
    """One metric of every group over environment steps."""
    curves = [group_curve(library, group, metric, layer, statistic, points) for group in groups]
    return Chart(metric.title, STEPS_LABEL, metric.unit, [c for c in curves if len(c.x)])


def group_curve(library: Library, group: Group, metric: Metric, layer: str, statistic: str, points: int) -> Curve:
    """The centre of a group's runs with its band."""
    ladders = [run.curves.ladder for run in group.runs]
    steps, values = aligned(ladders, [curve(metric, run.layers, layer) for run in group.runs], points)
    names = tuple(run.name for run in group.runs)
    low, high = library.bands((names, metric.key, layer, points), values, statistic)
    return Curve(group.key.label, steps, centre(values, statistic), group.colour, low, high, group.dash)


def caption(statistic: str, charts: Sequence[Chart]) -> str:
    """What line and band are."""
    widths = [c.x[1] - c.x[0] for chart in charts[:1] for c in chart.curves if len(c.x) > 1]
    bins = f" A point is a mean over {steps_text(max(widths))} steps at most." if widths else ""
    return (
        f"Line: {STATISTICS[statistic]} over seeds. Band: {LEVEL:.0%} percentile bootstrap interval over seeds "
        f"({RESAMPLES} resamples); it stops where a seed is missing.{bins}"
    )


def definitions(metrics: Sequence[Metric]) -> list[str]:
    """What each metric is, where the glossary has it."""
    return [f"{metric.title}: {metric.formula}" for metric in metrics if metric.formula]


def notes(library: Library, runs: Sequence[Entry]) -> list[str]:
    """What the reader must know about the data."""
    found = [f"Some runs may stand still, please report: {library.trouble}"] * bool(library.trouble)
    if not library.runs:
        found.append(f"No run below {library.root} yet. This page shows the first one within seconds of its start.")
    if previews := sum(run.curves.is_preview for run in runs):
        found.append(
            f"{previews} long run{'s' * (previews > 1)} still being read: their curves are drawn from samples."
        )
    if library.no_runs:
        some = ", ".join(library.no_runs[:3]) + ", …" * (len(library.no_runs) > 3)
        found.append(f"Without a run.json, so not a run: {some}")
    found += [f"{run.name}: {run.problem}" for run in library.runs if run.problem]
    return found


def steps_text(steps: float) -> str:
    """40,960 as 41 k, 2,000,000 as 2 M."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if steps >= size:
            return f"{steps / size:.3g}{letter}"
    return f"{steps:.0f}"


def link(page: str, **query: str) -> str:
    """The address of a page with answers."""
    return f"{page}?{urlencode(query)}"
