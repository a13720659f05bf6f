"""SlipperyAnt task by task: returns, deaths, and whether a later task is learned as well as a first one would be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lop.analysis import style
from lop.analysis.figures import curve_figure
from lop.analysis.quantities import Quantity
from lop.analysis.runs import IDENTITY, Runs

#: two frictions count as one task if their ratio is at most this
SAME_FRICTION = 1.1
#: a task that a run did not finish counts from this share of its steps on
WHOLE_TASK = 0.95

PER_TASK = (
    Quantity("return", "return per episode of the task"),
    Quantity("deaths", "deaths within the task, per unit"),
    Quantity("dead_start", "dead at its start (% of hidden units)"),
    Quantity("dead_end", "dead at its end (% of hidden units)"),
    Quantity("margin_start", "mean margin at its start"),
    Quantity("margin_end", "mean margin at its end"),
)
GAP = Quantity("gap", "return on task k − of runs that met it first")


def per_task(runs: Runs) -> pd.DataFrame:
    """A row per run and task that was done whole: friction, return (mean of its episodes), and from the rows at its start
    and end: dead_start, dead_end (% of hidden units), margin_start, margin_end; deaths within it per unit.
    """
    rows = []
    for run in runs.table[runs.table["task_steps"] > 0].itertuples():
        rows += _tasks_of(runs.where(run=run.run), run)
    return pd.DataFrame(rows, columns=[*IDENTITY, "task", "friction", *(quantity.column for quantity in PER_TASK)])


def _tasks_of(runs: Runs, run: tuple) -> list[dict]:
    marks = runs.tasks()
    if marks.empty:
        return []
    episodes, deaths = runs.episodes(), _deaths(runs)
    found = []
    for task, part in marks.groupby("task"):
        ends = part.drop_duplicates("event", keep="last").set_index("event")
        if {"start", "end"} - set(ends.index):
            continue
        if ends.at["end", "global_step"] - ends.at["start", "global_step"] < WHOLE_TASK * run.task_steps:
            continue
        row = {name: getattr(run, name) for name in IDENTITY}
        row |= {"task": int(task), "friction": float(ends.at["start", "friction"])}
        own = episodes.loc[episodes["task"] == task, "return"] if "task" in episodes else pd.Series(dtype=float)
        row |= {"return": own.mean() if len(own) else np.nan, "deaths": deaths.get(task, 0) / sum(run.layers)}
        for when in ("start", "end"):
            row |= _state_at(ends.loc[when], when, run.layers)
        found.append(row)
    return found


def _deaths(runs: Runs) -> dict[int, int]:
    events = runs.events()
    if "task" not in events:
        return {}
    return events.loc[events["kind"] == "death", "task"].value_counts().to_dict()


def _state_at(mark: pd.Series, when: str, layers: tuple[int, ...]) -> dict[str, float]:
    dead = [mark.get(f"margin/dead_counts/layer_{i}", np.nan) for i in range(len(layers))]
    margins = [mark.get(f"margin/mean_margins/layer_{i}", np.nan) for i in range(len(layers))]
    units = sum(layers)
    return {f"dead_{when}": 100 * sum(dead) / units, f"margin_{when}": float(np.dot(margins, layers)) / units}


def plasticity(table: pd.DataFrame) -> pd.DataFrame:
    """The later tasks (k > 0) of `per_task` for which some other run of the label had about this friction as its first.

    Adds first (mean return of those runs on their task 0), first_runs (how many), and gap = return − first: below 0, the task
    is learned worse after the tasks before it than by a fresh network.
    """
    rows = []
    for _, part in table.groupby(["env", "label"], observed=True):
        firsts = part[part["task"] == 0]
        for _, row in part[part["task"] > 0].iterrows():
            near = np.abs(np.log(firsts["friction"] / row["friction"])) <= np.log(SAME_FRICTION) + 1e-9
            match = firsts.loc[near & (firsts["run"] != row["run"]), "return"].dropna()
            if len(match) and np.isfinite(row["return"]):
                first = match.mean()
                rows.append({**row, "first": first, "first_runs": len(match), "gap": row["return"] - first})
    return pd.DataFrame(rows, columns=[*table.columns, "first", "first_runs", "gap"])


def task_figures(table: pd.DataFrame, later: pd.DataFrame) -> Iterator[style.Drawing]:
    """Per environment: the quantities of each task, and the gap to runs that met the task first, where there are any."""
    for env in table["env"].unique():
        own = table[table["env"] == env]
        drawing = curve_figure(own, f"{env}_tasks", f"{env}: task by task", PER_TASK, "task")
        if drawing is not None:
            yield drawing
        gaps = later[later["env"] == env]
        if len(gaps):
            title = f"{env}: plasticity, later tasks against the same friction met first"
            drawing = curve_figure(gaps, f"{env}_plasticity", title, (GAP,), "task")
            if drawing is not None:
                yield drawing
