from __future__ import annotations

import pytest

from lop.monitor import always, every, log_spaced, never


def due_steps(schedule, steps):
    previous, found = None, []
    for step in steps:
        if schedule(previous, step):
            found.append(step)
        previous = step
    return found


def test_every_is_due_in_the_first_call_at_or_past_each_multiple():
    updates = range(2048, 50_000, 2048)
    assert due_steps(every(10_000), updates) == [2048, 10_240, 20_480, 30_720, 40_960]
    assert due_steps(every(3), range(8)) == [0, 3, 6]


def test_log_spaced_grows_rarer():
    assert due_steps(log_spaced(1), range(1, 2000)) == [1, 10, 100, 1000]


def test_always_and_never():
    assert due_steps(always, range(3)) == [0, 1, 2]
    assert due_steps(never, range(3)) == []


def test_an_impossible_interval_is_refused():
    with pytest.raises(ValueError, match=">= 1"):
        every(0)
