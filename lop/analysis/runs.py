"""All runs below a folder as pandas tables.

    runs = load("runs/")
    runs.table                               # run, env, algo, label, seed, state, steps, planned_steps, ...
    runs.where(env="ant", algo=["std", "cbp"])
    runs.metrics("return", "margin/dead_counts/layer_0")
    runs.episodes(); runs.tasks(); runs.events()
    runs.run("ant/cbp/seed_0").unit_field("margin")      # [updates, units]: read when asked for

`label` is the algorithm, with the run's name if it has one ("cbp-slow"): the runs of one label differ in their seed.
What cannot be read is left out and named in `runs.left_out`; nothing here raises because a run is young, torn or half gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lop.analysis.rows import last_row, note, read_rows
from lop.run.files import RunError
from lop.run.owner import is_alive
from lop.run.reader import Run, list_runs, read_run
from lop.run.tables import EVENT_KINDS
from lop.run.versions import same_configuration

IDENTITY = ["run", "env", "algo", "label", "seed"]
#: settings in which the runs of one label may differ
MAY_DIFFER = (
    *("seed", "total_steps", "runs_dir", "name", "device", "threads", "resume", "grace_s", "snapshots"),
    *("checkpoint_every_steps", "progress", "wandb"),
)
ROW_KEYS = ("global_step", "update")


def load(root: str | os.PathLike[str]) -> Runs:
    """The runs below `root`. Errors: RunError if there is no such folder, or no run in it that can be read."""
    if not Path(root).is_dir():
        raise RunError(f"{os.fspath(root)} is not a folder: give the folder that holds the runs")
    left_out: list[str] = []
    found = [row for folder in list_runs(root) if (row := _describe(Path(root), folder, left_out))]
    if not found:
        why = f" that can be read: {'; '.join(left_out)}" if left_out else ""
        raise RunError(f"no run below {os.fspath(root)}{why}")
    table = pd.DataFrame(found).sort_values(["env", "label", "seed"], ignore_index=True)
    left_out += _mixed(table)
    return Runs(Path(root), table.drop(columns="configuration"), left_out)


@dataclass
class Runs:
    """Runs, a row of `table` each. Frames begin with the columns IDENTITY; steps are env steps of one run."""

    root: Path
    table: pd.DataFrame
    left_out: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.table)

    def where(self, **wanted: Any) -> Runs:
        """The runs whose columns have the given value, or one of the given list; `left_out` is shared."""
        keep = np.ones(len(self.table), bool)
        for column, value in wanted.items():
            keep &= self.table[column].isin(value if isinstance(value, (list, tuple, set)) else [value]).to_numpy()
        return Runs(self.root, self.table[keep].reset_index(drop=True), self.left_out)

    def run(self, name: str) -> Run:
        """One run by its name in the table, for weights, checkpoints and per-unit arrays. Errors: RunError."""
        if name not in set(self.table["run"]):
            raise RunError(f"no run {name!r} below {self.root}; there are {', '.join(self.table['run'])}")
        return read_run(self.root / name)

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The sound rows of a run's metrics.jsonl, one after the other."""
        return read_rows(self.root / name / "metrics.jsonl", self.left_out)

    def keys(self) -> list[str]:
        """The metrics that there are, in the order of their rows: from the first 50 rows of each run."""
        found: dict[str, None] = {}
        for name in self.table["run"]:
            found |= dict.fromkeys(key for row in islice(self.rows(name), 50) for key in row)
        return [key for key in found if key not in ROW_KEYS]

    def metrics(self, *keys: str) -> pd.DataFrame:
        """A row per update: global_step, update and the given metrics (none given: all), NaN where a row has none."""
        wanted = [*ROW_KEYS, *(keys or self.keys())]
        return self._gather(lambda name: _columns(self.rows(name), wanted), wanted)

    def episodes(self) -> pd.DataFrame:
        """A row per finished episode: global_step, return, length, task, env_index, terminated, truncated."""
        return self._gather(lambda name: self.records(name, "episodes"), ["global_step", "return"])

    def events(self) -> pd.DataFrame:
        """A row per death or revival: global_step, update, task, layer, unit, kind, margin_before, margin_after."""

        def read(name: str) -> dict[str, np.ndarray]:
            found = self.records(name, "events")
            if "kind" in found:
                found["kind"] = np.array(EVENT_KINDS)[found["kind"]]
            return found

        return self._gather(read, ["global_step", "kind"])

    def tasks(self) -> pd.DataFrame:
        """A row per task start and task end of SlipperyAnt: event, task, global_step, friction, metrics."""
        frames = []
        for name in self.table["run"]:
            rows = list(read_rows(self.root / name / "tasks.jsonl", self.left_out))
            frames.append(self._named(name, pd.DataFrame(rows)))
        return _joined(frames, ["event", "task", "global_step", "friction"])

    def records(self, name: str, file: str) -> dict[str, np.ndarray]:
        """The columns of a run's `episodes` or `events`; {} (and named in left_out) if they cannot be read."""
        try:
            array = getattr(self.run(name), file)
        except RunError as error:
            note(self.left_out, str(error))
            return {}
        # the table has a column env already: the environment's name
        return {{"env": "env_index"}.get(key, key): array[key] for key in array.dtype.names}

    def _gather(self, read: Callable[[str], dict[str, np.ndarray]], columns: list[str]) -> pd.DataFrame:
        return _joined([self._named(name, pd.DataFrame(read(name))) for name in self.table["run"]], columns)

    def _named(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        row = self.table[self.table["run"] == name].iloc[0]
        for position, column in enumerate(IDENTITY):
            frame.insert(position, column, [row[column]] * len(frame))
        return frame


def _joined(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame(columns=[*IDENTITY, *columns])
    joined = pd.concat(filled, ignore_index=True)
    return joined.astype(dict.fromkeys(IDENTITY[:-1], "category"))


def _columns(rows: Iterator[dict[str, Any]], wanted: list[str]) -> dict[str, np.ndarray]:
    known = [[_number(row.get(key)) for key in wanted] for row in rows if "global_step" in row]
    table = np.array(known, float).reshape(-1, len(wanted))
    columns: dict[str, np.ndarray] = {key: table[:, i] for i, key in enumerate(wanted)}
    for key in ROW_KEYS:
        columns[key] = np.nan_to_num(columns[key]).astype(np.int64)
    return columns


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else np.nan


def _describe(root: Path, folder: Path, left_out: list[str]) -> dict[str, Any] | None:
    """A run's row of the table; None, and a text in left_out, if its run.json cannot be used."""
    try:
        run = read_run(folder)
        config = run.configuration
        algo, name = config["algo"]["name"], config.get("name") or ""
        return {
            "run": folder.relative_to(root).as_posix(),
            "env": config["env"]["name"],
            "algo": algo,
            "label": f"{algo}-{name}" if name else algo,
            "seed": int(config["seed"]),
            "state": _state(run),
            "steps": int(last_row(folder / "metrics.jsonl").get("global_step", 0)),
            "planned_steps": int(float(config.get("total_steps", 0))),
            "steps_per_update": int(config.get("ppo", {}).get("steps_per_update", 2048)),
            "task_steps": int(float(config["env"].get("task_steps") or 0)),  # 0: no tasks
            "layers": tuple(run.layers),
            "configuration": config,
        }
    except RunError as error:
        note(left_out, str(error))
    except (KeyError, TypeError, ValueError) as error:
        note(left_out, f"{folder / 'run.json'} describes no run of ours: {type(error).__name__} {error}")
    return None


def _state(run: Run) -> str:
    """finished, stopped, failed, running, or dead: nobody ended it, and nobody is at it."""
    owner = run.owner
    if owner is None:
        return "unknown"
    status = str(owner.get("status", "unknown"))
    return status if status != "running" else "running" if is_alive(owner) else "dead"


def _mixed(table: pd.DataFrame) -> list[str]:
    """One text for each (env, label) whose runs do not share their settings, or have one seed twice."""
    texts = []
    for (env, label), group in table.groupby(["env", "label"]):
        first = group["configuration"].iloc[0]
        differing: dict[str, None] = {}
        for other in group["configuration"].iloc[1:]:
            differing |= dict.fromkeys(text.split(":")[0] for text in same_configuration(first, other, MAY_DIFFER))
        if differing:
            texts.append(f"{env}/{label}: its runs differ in {', '.join(differing)}; they are averaged all the same")
        twice = group["seed"][group["seed"].duplicated()].unique()
        if len(twice):
            seeds = ", ".join(map(str, twice))
            texts.append(f"{env}/{label}: seed {seeds} more than once; every run counts as a seed of its own")
    return texts
