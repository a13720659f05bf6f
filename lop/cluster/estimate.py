"""Hours and bytes before anything runs, from earlier runs where there are some."""

from __future__ import annotations

import itertools
import os
import statistics
from pathlib import Path

from lop.run.config import SlipperyEnvSettings, TrainConfig
from lop.run.files import RunError
from lop.run.reader import computing_seconds, list_runs
from lop.run.records import read_jsonl
from lop.run.store import stretches
from lop.run.tables import UNIT_FIELDS

LOOKED_AT = 200  # runs
LAST_UPDATES = 50
ROW_BYTES = 2450  # metrics.jsonl and timing.jsonl of one update, measured on sant cbp
LIVE_INPUTS = 27  # of Ant's 111 observations, those that move: the buffer holds no others


def measured_rate(runs_dir: str | os.PathLike[str], env: str, algo: str, device: str) -> tuple[float, str] | None:
    """Environment steps a second of one seed in the newest run of that env, algorithm and device, and its folder.

    As it was packed then: companions in its process slow a seed down. None if there is no such run.
    """
    root = Path(runs_dir) / env
    folders = [folder for name in (algo, f"{algo}-*") for top in sorted(root.glob(name)) for folder in list_runs(top)]
    for folder in sorted(folders[:LOOKED_AT], key=_changed, reverse=True):
        rate = run_rate(folder, device)
        if rate:
            return rate, f"{env}/{folder.relative_to(root)}"
    return None


def run_rate(folder: Path, device: str) -> float | None:
    """Median rate of the last updates of a run on a device ("cuda" for every GPU); None if there are none."""
    try:
        rows = read_jsonl(folder / "timing.jsonl")
    except RunError:
        return None
    last = stretches(rows)[-1:]
    if not last or str(last[0]["versions"].get("device", "")).partition(":")[0] != device.partition(":")[0]:
        return None
    updates = [row for row in rows if computing_seconds(row) and row.get("update")][-LAST_UPDATES:]
    rates = [row["global_step"] / row["update"] / computing_seconds(row) for row in updates]
    return statistics.median(rates) if rates else None


def _changed(folder: Path) -> float:
    try:
        return (folder / "timing.jsonl").stat().st_mtime
    except OSError:
        return 0.0


def disk_bytes(config: TrainConfig) -> float:
    """What one member's folder takes when it is finished, about: units, rows, snapshots and two checkpoints."""
    hidden = list(config.ppo.hidden_sizes)
    inputs = LIVE_INPUTS if config.env.observation == "compact" else 111
    parameters = _weights([inputs, *hidden, 8]) + _weights([inputs, *hidden, 1])
    buffer = config.monitor.buffer_size * LIVE_INPUTS
    updates, steps = config.num_updates, config.total_steps
    tasks = steps / config.env.task_steps if isinstance(config.env, SlipperyEnvSettings) else 0
    units = (2 * len(UNIT_FIELDS) * sum(hidden) + 16) * (config.monitor.units and config.monitor.enabled)
    activity = (2 * sum(hidden) + 16) / 1000  # a step
    # weights and Adam's two moments, the buffer, what the variant counts; the checkpoint before is kept
    checkpoints = 2 * 4 * (3.5 * parameters + buffer)
    snapshots = 4 * (parameters + buffer) * (config.snapshots + 2 * tasks)
    return updates * (units + ROW_BYTES) + steps * activity + snapshots + checkpoints


def _weights(sizes: list[int]) -> int:
    return sum((a + 1) * b for a, b in itertools.pairwise(sizes))
