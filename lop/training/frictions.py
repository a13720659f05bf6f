"""Which friction each task of a run has: from the configuration, and as run.json keeps it."""

from __future__ import annotations

from lop.envs import PUBLISHED_FRICTIONS, TaskSchedule, load_friction_table
from lop.run.config import ConfigError, SlipperyEnvSettings, TrainConfig


def task_schedule(config: TrainConfig, seeds: list[int]) -> TaskSchedule | None:
    """The tasks of SlipperyAnt, None for Ant; ConfigError where a friction table does not reach."""
    env = config.env
    if not isinstance(env, SlipperyEnvSettings):
        return None
    try:
        file = PUBLISHED_FRICTIONS if env.frictions_file == "published" else env.frictions_file
        schedule = TaskSchedule(
            task_steps=int(env.task_steps),
            low=env.friction_low,
            high=env.friction_high,
            clock=config.departures.task_clock,
            table=None if file is None else load_friction_table(file),
        )
        schedule.check(seeds, config.num_updates * config.ppo.steps_per_update, config.num_envs)
    except ValueError as error:
        raise ConfigError(f"env.frictions_file={env.frictions_file}: {error}") from error
    return schedule


def member_frictions(config: TrainConfig, seed: int) -> list[float]:
    """The frictions of all tasks that one member meets; empty for Ant. Errors: ConfigError, as task_schedule."""
    schedule = task_schedule(config, [seed])
    if schedule is None:
        return []
    num_tasks = -(-config.num_updates * config.ppo.steps_per_update // schedule.task_steps)
    return [schedule.friction(seed, task) for task in range(num_tasks)]


def first_difference(before: list[float], now: list[float]) -> str:
    """In words, the first task that both lists know and whose friction differs; "" if there is none."""
    for task, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            return f"task {task} had friction {old:g}, now {new:g}"
    return ""
