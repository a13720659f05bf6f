from __future__ import annotations

import numpy as np

from lop.monitor.events import Event, crossings, events, latest_finite

NAN = float("nan")


def test_deaths_and_revivals_are_crossings_of_zero():
    before = np.array([1.0, 1.0, -1.0, 0.0, 0.5, -2.0])
    after = np.array([0.0, 0.5, 0.2, 0.1, -3.0, -1.0])
    assert events(3, before, after) == [
        Event(3, 0, "death", 1.0, 0.0),
        Event(3, 2, "revival", -1.0, 0.2),
        Event(3, 3, "revival", 0.0, 0.1),
        Event(3, 4, "death", 0.5, -3.0),
    ]


def test_no_event_from_or_to_nan_and_none_before_a_first_look():
    deaths, revivals = crossings(np.array([NAN, 1.0, -1.0]), np.array([-1.0, NAN, NAN]))
    assert not deaths.any()
    assert not revivals.any()


def test_a_dead_unit_that_shows_nan_and_then_fires_is_a_revival():
    known = latest_finite(np.array([-1.0]), np.array([NAN]))
    assert events(0, known, np.array([1.0])) == [Event(0, 0, "revival", -1.0, 1.0)]
