"""When to compute: small schedules over steps, calls or tasks, without hidden state.

    MarginMonitor(net, ranks=10_000, gradients=calls(every(10)), curvature=any_of(at_tasks, log_spaced(3)))

By hand: compute(step, ranks=True), whatever the schedule says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

Schedule = Callable[[int | None, int], bool]
"""due(previous, now): whether something is due at `now` when it was last asked at `previous` (None: never)."""


class Clock(NamedTuple):
    """A moment of a monitor: the step of a computation, how many computations and how many tasks came before it."""

    step: int
    call: int = 0
    task: int = 0


@dataclass(frozen=True)
class Clocked:
    """A schedule that sees more than steps: due(previous, now) on clocks."""

    due: Callable[[Clock | None, Clock], bool]


Due = Schedule | Clocked | int
"""What a monitor takes as a schedule; an integer is every how many steps."""


def is_due(schedule: Due, previous: Clock | None, now: Clock) -> bool:
    """Whether any kind of schedule is due at `now` when it was last asked at `previous` (None: never)."""
    if isinstance(schedule, Clocked):
        return schedule.due(previous, now)
    schedule = every(schedule) if isinstance(schedule, int) else schedule
    return schedule(None if previous is None else previous.step, now.step)


def every(interval: int) -> Schedule:
    """Due in the first call at or past each multiple of `interval`, 0 included: the first call is always due."""
    if interval < 1:
        raise ValueError(f"an interval must be >= 1, got {interval}")
    return lambda previous, now: previous is None or now // interval > previous // interval


def over_steps(due: Due, name: str) -> Schedule:
    """A schedule that sees steps alone, from an integer or from such a schedule. Errors: ValueError with the setting's name."""
    if isinstance(due, Clocked):
        raise ValueError(f"{name} takes a number of steps or a schedule over steps, not calls(), at_tasks or any_of()")
    return every(due) if isinstance(due, int) else due


def log_spaced(per_decade: int = 10) -> Schedule:
    """Due in the first call at or past each 10^(k / per_decade), k = 0, 1, ...: often at first, then more seldom."""
    if per_decade < 1:
        raise ValueError(f"per_decade must be >= 1, got {per_decade}")
    boundaries = sorted({round(10 ** (k / per_decade)) for k in range(15 * per_decade)})

    def passed(step: int) -> int:
        return sum(boundary <= step for boundary in boundaries)

    return lambda previous, now: previous is None or passed(now) > passed(previous)


def always(previous: int | None, now: int) -> bool:
    return True


def never(previous: int | None, now: int) -> bool:
    """Never by itself: by hand only."""
    return False


def calls(schedule: Schedule | int) -> Clocked:
    """The same schedule over computations, 0, 1, 2, ..., in place of steps; calls(10): every tenth computation."""
    schedule = every(schedule) if isinstance(schedule, int) else schedule
    return Clocked(lambda previous, now: schedule(None if previous is None else previous.call, now.call))


at_tasks = Clocked(lambda previous, now: previous is None or now.task > previous.task)
"""Due in the first computation of all, and in the first one after each monitor.task(name)."""


def any_of(*schedules: Due) -> Clocked:
    """Due when one of them is."""
    return Clocked(lambda previous, now: any(is_due(schedule, previous, now) for schedule in schedules))
