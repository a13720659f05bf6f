"""What a training process says to its user."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lop.run.config import TrainConfig
from lop.run.progress import duration, number, short
from lop.run.reader import computing_seconds, read_run
from lop.training.members import Member, describe


def welcome(config: TrainConfig, members: list[Member]) -> str:
    """One line a member: new, going on, or finished already."""
    lines = []
    for member in members:
        step, end = member.update * config.ppo.steps_per_update, config.num_updates * config.ppo.steps_per_update
        if member.finished:
            state = f"finished at {short(step)} steps, nothing to do"
        elif member.update:
            state = f"goes on at {short(step)} of {short(end)} steps"
        else:
            state = f"begins, {short(end)} steps"
        lines.append(f"{describe(member.folder)}: {state}")
    return "\n".join(lines)


def progress_values(rows: list[dict[str, Any]], num_layers: int) -> tuple[list[float], list[float], list[float]]:
    """Returns of the members, and dead and at-risk units per layer (means over the members) of one update."""

    def means(key: str) -> list[float]:
        known = [[row[f"{key}/layer_{i}"] for row in rows] for i in range(num_layers) if f"{key}/layer_{i}" in rows[0]]
        return [sum(values) / len(values) for values in known]

    returns = [row.get("return", math.nan) for row in rows]
    return returns, means("margin/dead_counts"), means("margin/at_risk_counts")


def going_on(signal_name: str, members: list[Member], at_once: bool = False) -> str:
    """How to continue a stopped run."""
    where = ", ".join(describe(member.folder) for member in members if not member.finished)
    how = "on the last checkpoint" if at_once else "with a checkpoint"
    return f"stopped by {signal_name} {how}: {where}. The same command goes on (exit code 75)."


def summary(config: TrainConfig, members: list[Member], stopped: str) -> str:
    """The last words: one paragraph a member, and where to look."""
    lines = [_member_summary(config, member) for member in members]
    if stopped and not all(member.finished or member.error for member in members):
        lines.append(going_on(stopped, members))
    alive = [member for member in members if not member.error]
    if alive:
        lines.append(f"play the policy: python -m lop.evaluate {describe(alive[0].folder)}")
    if any((member.folder / "wandb").is_dir() for member in members):
        lines.append(
            f"wandb: rows that are not sent yet wait in the run folders; python -m lop.boards sync {config.runs_dir}"
        )
    return "\n".join(lines)


def _member_summary(config: TrainConfig, member: Member) -> str:
    where = describe(member.folder)
    if member.error:
        return f"{where}: FAILED: {member.error}"
    run = read_run(member.folder)
    episodes, rows = run.episodes, run.metrics_rows
    parts = [f"{where}: {short(member.update * config.ppo.steps_per_update)} steps"]
    parts[0] += ", finished" if member.finished else ", unfinished"
    if len(episodes):
        last = episodes["return"][-100:]
        parts.append(f"return {number(float(np.mean(last)))} (last {len(last)} of {len(episodes):,} episodes)")
    if rows:
        layers = range(len(config.ppo.hidden_sizes))
        for label, key in (("dead", "margin/dead_counts"), ("at risk", "margin/at_risk_counts")):
            if f"{key}/layer_0" in rows[-1]:
                parts.append(f"{label} {'/'.join(number(rows[-1][f'{key}/layer_{i}']) for i in layers)}")
    parts.append(f"{duration(sum(map(computing_seconds, run.timing)))} of computing")
    return " | ".join(parts)
