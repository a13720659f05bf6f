"""Train a population with PPO and watch it: `python -m lop.train env=ant algo=cbp seed=0`.

`advance` is the loop; everything else here opens the members' folders, groups members that stand at the same update, and
says how it went. A run's numbers depend on its configuration and seed alone: it may be killed at any moment and started
again with the same command, alone or with other members.

Exit codes: 0 finished; 1 a member failed, and which; 2 the command was wrong; 75 stopped, the same command goes on.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import torch

from lop.ppo import collect
from lop.ppo.rollout import estimate
from lop.run.command import shorten_warnings, wrong
from lop.run.config import ConfigError, TrainConfig, compose, usage
from lop.run.files import RunError
from lop.run.progress import Progress
from lop.run.signals import EXIT_UNFINISHED, StopSignals
from lop.run.trackers import asked_mode
from lop.training.frictions import task_schedule
from lop.training.members import Member, describe, open_members
from lop.training.population import Population, all_finite
from lop.training.process import check_memory, prepare_process
from lop.training.summary import going_on, progress_values, summary, welcome


def advance(population: Population, members: list[Member], until: int, stop: StopSignals, progress: Progress) -> None:
    """Train the population up to update `until`, or until a stop is requested or a member fails."""
    ppo, departures = population.config.ppo, population.config.departures
    net, observer = population.net, population.observer
    while population.update < until and not stop.requested and not any(member.error for member in members):
        update, laps = population.update, Laps()
        population.variant.begin_update(update)
        clip = departures.control_cost == "fixed"
        rollout = collect(population.environments, net, population.action_noise(), clip, observer.step)
        laps.end("collect_s")
        time_limit_terminates = departures.time_limit == "reference"
        estimates = estimate(rollout, net, ppo.discount, ppo.gae_lambda, time_limit_terminates)
        laps.end("learn_s")
        records = observer.rollout(rollout, estimates, update)
        laps.end("observe_s")
        totals = population.learner.update(estimates.samples, population.permutations(), population.variant.after_step)
        laps.end("learn_s")
        observer.update(records, totals, population.adam.grad_views, update)
        laps.end("observe_s")
        laps.seconds["monitor_s"] = observer.monitor_seconds()
        population.update += 1
        finite = all_finite(population)
        for i, member in enumerate(members):
            records[i].row |= population.variant.statistics(i)
            with failing_alone(member, progress):
                member.write(records[i], laps.seconds)
                save_what_is_due(population, i, member, finite[i])
        progress.update(population.global_step, *progress_values([record.row for record in records], net.num_hidden))


@contextlib.contextmanager
def failing_alone(member: Member, progress: Progress) -> Iterator[None]:
    """A RunError of the block ends this member, and is told at once; its companions go on."""
    try:
        yield
    except RunError as error:
        member.close("failed", str(error))
        progress.note(f"error: {describe(member.folder)}: {error}")


def save_what_is_due(population: Population, i: int, member: Member, finite: bool) -> None:
    """Snapshot and checkpoint of one member; RunError if it cannot go on."""
    config, update, step = population.config, population.update, population.global_step
    if not finite:
        raise RunError(f"seed {member.seed}: its weights are no longer finite after update {update}; it ends here")
    if config.snapshots and passes_multiple(config.num_updates, update * config.snapshots, config.snapshots):
        member.snapshot(step, population.snapshot(i))
    due = passes_multiple(int(config.checkpoint_every_steps), step, config.ppo.steps_per_update)
    if due or update == config.num_updates:
        member.save(population.member_state(i), update)


def passes_multiple(of: int, now: int, advance: int) -> bool:
    """Whether going from now - advance to now reached or passed a multiple of `of`."""
    return now // of > (now - advance) // of


def train(config: TrainConfig) -> int:
    """Train all members of the configuration to its end; returns the exit code."""
    prepare_process(config.device)
    check_outside(config)
    members = open_members(config)
    try:
        for member in members:
            member.start_tracking()
        begin = min(member.update for member in members) * config.ppo.steps_per_update
        print(welcome(config, members), flush=True)
        with StopSignals(config.grace_s, lambda name: print(going_on(name, members, at_once=True), flush=True)) as stop:
            with Progress(
                config.num_updates * config.ppo.steps_per_update, begin, config.progress.interval_s, len(members)
            ) as progress:
                while (active := [m for m in members if not m.finished and not m.error]) and not stop.requested:
                    advance_those_behind(config, active, stop, progress)
                for member in members:
                    with failing_alone(member, progress):
                        member.save_what_is_new()
            stopped = stop.name
    except BaseException as error:
        close_all(members, "failed", f"{type(error).__name__}: {error}")
        raise
    close_all(members, "stopped", stopped)
    print(summary(config, members, stopped), flush=True)
    if any(member.error for member in members):
        return 1
    return 0 if all(member.finished for member in members) else EXIT_UNFINISHED


def advance_those_behind(config: TrainConfig, active: list[Member], stop: StopSignals, progress: Progress) -> None:
    """Advance the members at the smallest update to where the next ones stand, or to the end."""
    first = min(member.update for member in active)
    group = [member for member in active if member.update == first]
    until = min((member.update for member in active if member.update > first), default=config.num_updates)
    with torch.inference_mode():
        population = Population(config, [member.seed for member in group])
        if first > 0:
            population.load_member_states([member.state for member in group], first)
        elif config.snapshots:
            for i, member in enumerate(group):
                with failing_alone(member, progress):
                    member.snapshot(0, population.snapshot(i))
        advance(population, group, until, stop, progress)
        for i, member in enumerate(group):
            member.state, member.update = population.member_state(i), population.update


def close_all(members: list[Member], otherwise: str, message: str) -> None:
    """Let go of every folder that is still open: finished where the last update is done."""
    for member in members:
        if member.is_open:
            member.close("finished" if member.finished else otherwise, "" if member.finished else message)
            if member.error and otherwise != "failed":
                print(f"error: {describe(member.folder)}: {member.error}", file=sys.stderr)


def check_outside(config: TrainConfig) -> None:
    """What the configuration counts on elsewhere, before any folder is made: memory, a friction table, WANDB_MODE."""
    check_memory(config)
    task_schedule(config, config.seeds)
    try:
        asked_mode(config.wandb.mode)
    except RunError as error:
        raise ConfigError(str(error)) from error


class Laps:
    """Seconds spent on each part of an update; of observe_s, monitor_s is what the monitor took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    if any(word in ("--help", "-h") for word in words):
        print(usage("python -m lop.train [setting=value ...]"))
        return 0
    shorten_warnings()
    try:
        return train(compose(words))
    except (ConfigError, RunError) as error:
        return wrong(error, 2 if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    sys.exit(main())
