"""Runs as the published code's files, so that its plotting scripts read them, and its logs as run folders.

`data/<env>/bp/{std,ns}/<seed>.log .pth .done`, `data/<env>/{l2,cbp,redo}/...` (Dohare et al. 2024, lop/rl/run_ppo.py at
63c35f3). A .log is a pickled dictionary; S the steps planned, L hidden layers of H units, n episodes, U updates:

    rets, termination_steps     float64, int64 [n]; steps count from 0
    pol_features_activity       torch float32 [S/1000 + 2, L, H]: share of the 1000 steps before step
                                1000 k on which a unit fired
    stable_rank                 torch float32 [S/10000 + 2]: the srank of the last hidden layer near step 10000 k
    pol_weights, val_weights    float64 [S/1000 + 2, L + 1]: mean |w| at step 1000 k; 0 where the run has not been
    weight_change               float32 [U]
    friction, num_updates, previous_change_time, action_probs, and action_output, which is empty as where it is not logged

Here `friction` is the one in force and `num_updates` their number; there they stay at 1.0 and 0.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lop.analysis.pickles import to_pickle
from lop.analysis.published_import import import_logs
from lop.analysis.rows import note, read_rows
from lop.analysis.runs import Runs
from lop.run.checkpoint import CheckpointError
from lop.run.files import RunError, make_folder, write_atomic
from lop.run.reader import Run

__all__ = ["export_all", "import_logs", "log_of"]

BLOCK_STEPS, RANK_STEPS = 1000, 10_000
PLAIN_PPO = ("std", "ns")
DONE = b"All done!"


def export_all(runs: Runs, out: Path) -> tuple[list[Path], list[str]]:
    """Writes the files of every run below `out`; returns the logs written, and what was left out and why."""
    written: list[Path] = []
    for row in runs.table.itertuples():
        folder = out / row.env / ("bp" if row.algo in PLAIN_PPO else "") / row.label
        path = folder / f"{row.seed}.log"
        try:
            if path in written:
                raise RunError(f"{runs.root / row.run}: {path} is that of another run with the same label and seed")
            run = runs.run(row.run)
            content = to_pickle(log_of(run, row.planned_steps, runs.left_out))
            make_folder(folder)
            write_atomic(path, content)
            _write_checkpoint(run, path.with_suffix(".pth"), runs.left_out)
            if row.state == "finished":
                write_atomic(path.with_suffix(".done"), DONE)
            written.append(path)
        except RunError as error:
            note(runs.left_out, str(error))
    return written, runs.left_out


def log_of(run: Run, planned_steps: int, left_out: list[str]) -> dict[str, Any]:
    """The dictionary of a run's .log. Errors: RunError if its layers differ in size, which the format cannot hold."""
    if len(set(run.layers)) != 1:
        raise RunError(f"{run.folder}: the published format wants hidden layers of one size, this run has {run.layers}")
    rows = list(read_rows(run.folder / "metrics.jsonl", left_out))
    episodes, last, layers = run.episodes, rows[-1] if rows else {}, len(run.layers)
    steps = last.get("global_step", 0)
    return {
        "rets": episodes["return"].astype(np.float64),
        "termination_steps": episodes["global_step"].astype(np.int64) - 1,
        "pol_features_activity": torch.from_numpy(_activity(run, planned_steps)),
        "stable_rank": torch.from_numpy(_ranks(rows, f"srank/layer_{layers - 1}", planned_steps)),
        "action_output": [],
        "pol_weights": _weights(run, rows, "pol_weights", "actor", steps, planned_steps),
        "val_weights": _weights(run, rows, "val_weights", "critic", steps, planned_steps),
        "action_probs": None,
        "weight_change": np.array([row.get("weight_change", np.nan) for row in rows], np.float32),
        "friction": float(last.get("friction", -1.0)) if run.configuration["env"].get("task_steps") else -1.0,
        "num_updates": len(rows),
        "previous_change_time": _last_change(run, left_out),
    }


def _activity(run: Run, planned_steps: int) -> np.ndarray:
    blocks = run.activity
    found = np.zeros((planned_steps // BLOCK_STEPS + 2, len(run.layers), run.layers[0]), np.float32)
    index = blocks["global_step"] // BLOCK_STEPS
    use = index < len(found)
    counts = blocks["counts"][use].astype(np.float32) / np.float32(BLOCK_STEPS)
    found[index[use]] = counts.reshape(-1, *found.shape[1:])
    return found


def _ranks(rows: list[dict[str, Any]], key: str, planned_steps: int) -> np.ndarray:
    found = np.zeros(planned_steps // RANK_STEPS + 2, np.float32)
    for row in rows:
        index = row["global_step"] // RANK_STEPS
        if key in row and index < len(found):
            found[index] = row[key]
    return found


def _weights(run: Run, rows: list[dict[str, Any]], key: str, net: str, steps: int, planned_steps: int) -> np.ndarray:
    """Mean |w| in force at each thousandth step; before the first update those of the snapshot at step 0, if it is there."""
    layers = len(run.layers) + 1
    found = np.zeros((planned_steps // BLOCK_STEPS + 2, layers))
    names = [f"{key}/layer_{i}" for i in range(layers)]
    known = [row for row in rows if set(names) <= set(row)]
    if not known:
        return found
    table = np.array([[row[name] for name in names] for row in known])
    # step 1000 k counts from 0: when it is logged, 1000 k + 1 steps have been done
    done = np.arange(len(found)) * BLOCK_STEPS + 1
    index = np.searchsorted([row["global_step"] for row in known], done, side="right") - 1
    started, reached = index >= 0, done <= steps
    found[started & reached] = table[index[started & reached]]
    found[~started & reached] = _first_weights(run, net, layers, table[0])
    return found


def _first_weights(run: Run, net: str, layers: int, otherwise: np.ndarray) -> np.ndarray:
    from lop.run.checkpoint import read_tensors

    path = run.snapshots.get(0)
    if path is None:
        return otherwise
    tensors = read_tensors(path).tensors
    names = [f"{net}.{i}.weight" for i in range(layers)]
    return np.array([np.abs(tensors[name]).mean() for name in names]) if set(names) <= set(tensors) else otherwise


def _last_change(run: Run, left_out: list[str]) -> int:
    starts = [
        row["global_step"] for row in read_rows(run.folder / "tasks.jsonl", left_out) if row.get("event") == "start"
    ]
    return int(starts[-1]) if starts else 0


def _write_checkpoint(run: Run, path: Path, left_out: list[str]) -> None:
    """The .pth: step, actor, critic and Adam's state, as torch.save writes them; nothing without a sound checkpoint."""
    try:
        checkpoint = run.checkpoint()
    except CheckpointError as error:
        note(left_out, str(error))
        return
    if checkpoint is None:
        return
    tensors = {
        name: torch.from_numpy(array)
        for name, array in checkpoint.tensors.items()
        if name.startswith(("net/", "adam/"))
    }
    actor, critic = ({} for _ in range(2))
    sources = []
    for state, net, sequence in ((actor, "actor", "mean_net"), (critic, "critic", "v_net")):
        if net == "actor":
            state["log_std"] = tensors["net/log_std"]
            sources.append("log_std")
        for layer in range(len(run.layers) + 1):
            for kind in ("weight", "bias"):
                state[f"{sequence}.{2 * layer}.{kind}"] = tensors[f"net/{net}.{layer}.{kind}"]
                sources.append(f"{net}.{layer}.{kind}")
    content = {"step": checkpoint.meta["global_step"] - 1, "actor": actor, "critic": critic}
    file = io.BytesIO()
    torch.save({**content, "opt": _adam(run, tensors, sources)}, file)
    write_atomic(path, file.getvalue())


def _adam(run: Run, tensors: dict[str, torch.Tensor], names: list[str]) -> dict[str, Any]:
    """The state_dict of torch.optim.Adam over the parameters in the published order: policy, then value function."""
    parameters = [torch.nn.Parameter(tensors[f"net/{name}"].clone()) for name in names]
    algo, ppo = run.configuration["algo"], run.configuration["ppo"]
    betas = (algo["adam_beta1"], algo["adam_beta2"])
    adam = torch.optim.Adam(parameters, ppo["learning_rate"], betas, ppo["adam_eps"], algo["weight_decay"])
    steps = tensors["adam/steps"].float()
    for parameter, name in zip(parameters, names, strict=True):
        moments = {kind: tensors[f"adam/{kind}.{name}"] for kind in ("exp_avg", "exp_avg_sq")}
        adam.state[parameter] = {"step": steps.clone(), **moments}
    return adam.state_dict()
