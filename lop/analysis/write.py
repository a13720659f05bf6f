"""Everything that `python -m lop.analysis` writes: figures, tables, the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from lop.analysis import figures, predictors, quantities, relations, scores, statistics, tasks, unit_figures
from lop.analysis.curves import curves
from lop.analysis.report import Report, Writer
from lop.analysis.rows import brief
from lop.analysis.runs import IDENTITY, Runs

METHODS = (
    f"Seeds are the independent units. Intervals are 95 % percentile bootstrap intervals ({statistics.RESAMPLES:,} resamples "
    f"of whole runs); they are left out below {statistics.MIN_SEEDS} seeds, and are somewhat too narrow for few. IQM: mean "
    "without the lowest and the highest quarter. Comparisons: two-sided Mann-Whitney tests, Holm-adjusted over all pairs of an "
    'environment; "too few seeds" means that no outcome whatever could have been significant.'
)
GAPS = (
    f"Gap: return on a later task minus that of runs that met the friction (within {100 * (tasks.SAME_FRICTION - 1):.0f} %) "
    "first; mean over a run's later tasks."
)
NO_GAPS = "No run met as its first task a friction that another of its label met later: no plasticity gap."
DEATHS = (
    f"A death is lasting if the unit stays dead for {predictors.HORIZON} updates on end. alarms: entries of 0 < margin < ε; "
    f"alarms_true: share followed by a death within {predictors.HORIZON} updates. warned: share of the lasting deaths with at "
    "least one update at risk before; median_lead in steps. AUC: of low values, for a death within so many updates. "
    "Means over runs."
)
PHASES = "Deaths per 1000 units and 100k steps by phase of the return; difference: plateau − rising, over seeds."
CORRELATIONS = (
    "Spearman correlations within runs, averaged over seeds; p: Wilcoxon over seeds (none below 6), Holm-adjusted over the "
    "table. Levels of quantities that drift correlate by themselves: believe the changes from bin to bin."
)


def write_all(
    runs: Runs, out: Path, width: int | None = None, units: bool = True, say: Callable[[str], None] = print
) -> Report:
    """Draws and writes everything about the runs into the folder `out`, which is there.

    width: of a bin in steps, by default fitted to the longest run; units: whether to read the per-unit files.
    """
    report = Report("Loss of plasticity: analysis of " + str(runs.root))
    writer = Writer(report, out, say)
    frame = quantities.derive(curves(runs, *quantities.KEYS, width=width), runs)
    report.text(METHODS)
    report.section("Runs")
    report.table(_overview(runs))
    if len(frame):
        _returns(writer, frame, runs)
        _steps(writer, frame)
    _tasks(writer, runs)
    if units:
        _units(writer, runs)
    if len(frame):
        _relations(writer, frame)
    if runs.left_out:
        report.section("Left out")
        report.items(brief(runs.left_out))
    writer.close()
    return report


def _overview(runs: Runs) -> pd.DataFrame:
    rows = []
    for (env, label), part in runs.table.groupby(["env", "label"]):
        states = ", ".join(f"{count} {state}" for state, count in part["state"].value_counts().items())
        steps = f"{part['steps'].min():,} to {part['steps'].max():,}"
        rows.append({"env": env, "label": label, "runs": len(part), "steps": steps, "state": states})
    return pd.DataFrame(rows)


def _returns(writer: Writer, frame: pd.DataFrame, runs: Runs) -> None:
    table = scores.scores(frame, runs)
    if table.empty:
        return
    writer.report.section("Returns")
    writer.file(table, "scores")
    share = f"{100 * scores.FINAL_SHARE:.0f} %"
    for column, text in (
        (
            "final",
            f"mean of the episodes that ended in the last {share} of the steps that all scored runs of the environment did",
        ),
        ("overall", "mean over all bins of these steps, the area under the curve"),
    ):
        writer.report.text(f"{column.capitalize()} return: {text}.")
        writer.table(scores.summary(table, column), f"returns_{column}", ("algo",))
    for env, found in scores.comparisons(table).items():
        writer.report.text(f"{env}, final return. probability: P(first > second) over pairs of runs, ½ for equal.")
        writer.table(pd.DataFrame([comparison.__dict__ for comparison in found]), f"{env}_comparisons")
    for env in table["env"].unique():
        writer.draw(figures.profile_figure(table, str(env)))


def _steps(writer: Writer, frame: pd.DataFrame) -> None:
    writer.report.section("Over the steps")
    writer.file(frame, "curves")
    for drawing in figures.step_figures(frame):
        writer.draw(drawing)


def _tasks(writer: Writer, runs: Runs) -> None:
    table = tasks.per_task(runs)
    if table.empty:
        return
    later = tasks.plasticity(table)
    writer.report.section("Task by task")
    writer.file(table, "tasks")
    writer.file(later, "plasticity")
    for drawing in tasks.task_figures(table, later):
        writer.draw(drawing)
    if later.empty:
        writer.report.text(NO_GAPS)
    else:
        gaps = later.groupby(["env", "label", "run"], observed=True)["gap"].mean().reset_index()
        writer.report.text(GAPS)
        writer.table(scores.summary(gaps.assign(algo="", steps=0), "gap"), "plasticity_summary", ("algo", "steps"))


def _units(writer: Writer, runs: Runs) -> None:
    studies = predictors.study_all(runs)
    table = predictors.study_table(runs, studies)
    if table.empty:
        return
    writer.report.section("Deaths of units")
    writer.report.text(DEATHS)
    writer.file(table, "deaths")
    numbers = [column for column in table.columns if column not in (*IDENTITY, "units")]
    writer.table(_with_seeds(table, numbers), "deaths_summary")
    for drawing in unit_figures.unit_figures(table, studies):
        writer.draw(drawing)


def _with_seeds(table: pd.DataFrame, numbers: list[str]) -> pd.DataFrame:
    grouped = table.groupby(["env", "label"], observed=True)
    means = grouped[numbers].mean()
    means.insert(0, "seeds", grouped.size())
    return means.reset_index()


def _relations(writer: Writer, frame: pd.DataFrame) -> None:
    rates = relations.deaths_by_phase(frame)
    found = relations.correlations(frame)
    if found.empty and rates.empty:
        return
    writer.report.section("Margins, ranks, deaths and the return")
    tested = relations.phase_summary(rates)
    if len(tested):
        writer.report.text(PHASES)
        writer.table(tested, "phases")
    for env in rates["env"].unique():
        writer.draw(unit_figures.phase_figure(rates, str(env)))
    if len(found):
        writer.report.text(CORRELATIONS)
        writer.table(found, "correlations")
