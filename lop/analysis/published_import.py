"""Logs of the published code as run folders, which everything here reads; their format: `lop.analysis.published`.

A row stands for an update of 2048 steps. What the logs do not hold (margins, events, tasks' states) is not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lop.analysis.pickles import read_pickle
from lop.analysis.rows import note
from lop.run.files import RunError
from lop.run.store import RUN_JSON, RunStore, folder_for
from lop.run.tables import EPISODES

PER_UPDATE, BLOCK_STEPS, RANK_STEPS = 2048, 1000, 10_000
TASK_STEPS = 2_000_000
ACTIVE_SHARE = np.float32(0.01)
#: the sizes of the published networks, for logs that do not show them
LAYERS = [256, 256]


def import_logs(data: Path, runs_dir: Path) -> tuple[list[Path], list[str]]:
    """Makes a run folder below `runs_dir` of every <seed>.log below `data`; returns the folders, and what was left out.

    A folder that is there already is left alone. Errors: RunError if there is no log at all.
    """
    logs = sorted(path for path in data.rglob("*.log") if path.stem.isdigit())
    if not logs:
        raise RunError(f"no <seed>.log below {data}")
    made, left_out = [], []
    for path in logs:
        try:
            made.append(import_log(path, runs_dir))
        except RunError as error:
            note(left_out, str(error))
    return made, left_out


def import_log(path: Path, runs_dir: Path) -> Path:
    """The run folder made of one log. Errors: RunError if it is no such log, or the folder is there already."""
    env, algo, name = _place(path)
    log = _checked(read_pickle(path), path)
    folder = folder_for(runs_dir, env, algo, name, int(path.stem))
    if (folder / RUN_JSON).exists():
        raise RunError(f"{folder} is there already: {path} is not imported")
    activity = log["pol_features_activity"]
    layers = [activity.shape[2]] * activity.shape[1] if activity.ndim == 3 else LAYERS
    steps = _steps_done(log)
    planned = (len(log["pol_weights"]) - 2) * BLOCK_STEPS if log["pol_weights"].ndim == 2 else steps
    config = {
        "env": {"name": env},
        "algo": {"name": algo},
        "name": name,
        "seed": int(path.stem),
        "total_steps": planned,
    }
    config |= {"ppo": {"steps_per_update": PER_UPDATE, "hidden_sizes": layers}}
    store = RunStore(folder, layers, {"configuration": config, "versions": {}, "imported_from": str(path)})
    try:
        store.append_episodes(_episodes(log, env))
        for row in _rows(log, steps // PER_UPDATE):
            store.append_metrics(row)
        if activity.ndim == 3:
            for block in range(1, min(steps // BLOCK_STEPS + 1, len(activity))):
                store.append_activity(block * BLOCK_STEPS, np.rint(activity[block].reshape(-1) * BLOCK_STEPS))
        store.close()
    except BaseException:
        store.take_back()
        raise
    return folder


def _place(path: Path) -> tuple[str, str, str]:
    """Environment, algorithm and name from .../<env>/[bp/]<algo>[-<name>]/<seed>.log."""
    parts = [part for part in path.parent.parts if part != "bp"]
    if len(parts) < 2:
        raise RunError(f"{path}: its folders do not name an environment and an algorithm, as in data/ant/cbp/0.log")
    algo, _, name = parts[-1].partition("-")
    return parts[-2], algo, name


def _checked(log: Any, path: Path) -> dict[str, Any]:
    """The log with every series as a numpy array of numbers; series that are not logged are empty."""
    if not isinstance(log, dict) or not {"rets", "termination_steps"} <= log.keys():
        raise RunError(f"{path} is no log of the published code: it has no rets and termination_steps")
    found = {}
    series = (
        "rets",
        "termination_steps",
        "pol_features_activity",
        "stable_rank",
        "pol_weights",
        "val_weights",
        "weight_change",
    )
    for key in series:
        value = log.get(key)
        value = [] if value is None else value
        array = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise RunError(f"{path}: {key} holds {array.dtype}, not numbers")
        found[key] = array
    if len(found["rets"]) != len(found["termination_steps"]):
        raise RunError(f"{path}: {len(found['rets'])} returns, but {len(found['termination_steps'])} ends of episodes")
    return found


def _steps_done(log: dict[str, Any]) -> int:
    """The steps that a log knows of."""
    ends = log["termination_steps"]
    known = [int(ends[-1]) + 1 if len(ends) else 0, len(log["weight_change"]) * PER_UPDATE]
    if log["pol_weights"].ndim == 2:
        known.append(int(np.flatnonzero(log["pol_weights"].any(axis=1)).max(initial=0)) * BLOCK_STEPS + 1)
    return max(known)


def _episodes(log: dict[str, Any], env: str) -> np.ndarray:
    ends = log["termination_steps"].astype(np.int64)
    table = np.zeros(len(ends), EPISODES)
    table["global_step"], table["return"] = ends + 1, log["rets"]
    table["length"] = np.diff(ends, prepend=-1)
    # time limits counted as terminations there
    table["terminated"] = True
    if env == "sant":
        table["task"] = _tasks(ends)
    return table


def _tasks(ends: np.ndarray) -> np.ndarray:
    """Each episode's task by the published clock: the friction changes at the first end more than 2 M steps after the last."""
    tasks, last, task = np.zeros(len(ends), np.int32), 0, 0
    for i, end in enumerate(ends.tolist()):
        tasks[i] = task
        if end - last > TASK_STEPS:
            last, task = end, task + 1
    return tasks


def _rows(log: dict[str, Any], num_updates: int) -> list[dict[str, Any]]:
    ends = log["termination_steps"]
    bounds = np.searchsorted(ends, np.arange(num_updates + 1) * PER_UPDATE)
    layer = log["pol_weights"].shape[1] - 2 if log["pol_weights"].ndim == 2 else len(LAYERS) - 1
    rows = []
    for update in range(num_updates):
        step = (update + 1) * PER_UPDATE
        returns = log["rets"][bounds[update] : bounds[update + 1]]
        row: dict[str, Any] = {"global_step": step, "update": update, "episodes": len(returns)}
        if len(returns):
            row["return"] = float(returns.mean())
        row |= _activity_of(log["pol_features_activity"], step) | _weights_of(log, step)
        rank = step // RANK_STEPS
        # the first update at or past each multiple of 10,000 steps
        if (step - PER_UPDATE) // RANK_STEPS < rank or update == 0:
            row |= {f"srank/layer_{layer}": float(log["stable_rank"][rank])} if rank < len(log["stable_rank"]) else {}
        if update < len(log["weight_change"]):
            row["weight_change"] = float(log["weight_change"][update])
        rows.append(row)
    return rows


def _activity_of(activity: np.ndarray, step: int) -> dict[str, float]:
    """Per cent of each layer's units that were on in at most 1 % of the last whole block of 1000 steps."""
    block = step // BLOCK_STEPS
    if activity.ndim != 3 or not 0 < block < len(activity):
        return {}
    shares = 100 * (activity[block] <= ACTIVE_SHARE).mean(axis=1)
    return {f"pol_features_activity/layer_{i}": float(share) for i, share in enumerate(shares)}


def _weights_of(log: dict[str, Any], step: int) -> dict[str, float]:
    """Mean |w| of each layer at the first thousandth step at or after an update, where the run has been there."""
    index = -(-(step - 1) // BLOCK_STEPS)
    found = {}
    for key in ("pol_weights", "val_weights"):
        table = log[key]
        if table.ndim == 2 and index < len(table) and table[index].any():
            found |= {f"{key}/layer_{i}": float(value) for i, value in enumerate(table[index])}
    return found
