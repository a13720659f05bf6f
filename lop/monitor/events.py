"""Deaths and revivals of units between two computations of their margins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Event(NamedTuple):
    """One unit crossed 0: kind "death" (margin to <= 0) or "revival" (margin back to > 0)."""

    layer: int
    unit: int
    kind: str
    margin_before: float
    margin_after: float


def crossings(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boolean masks (deaths, revivals) from margins of one shape. A NaN on either side is no crossing."""
    return (before > 0) & (after <= 0), (before <= 0) & (after > 0)


def events(layer: int, before: np.ndarray, after: np.ndarray) -> list[Event]:
    """The events of one layer of one network, by unit number; before and after are margins [H]."""
    deaths, revivals = crossings(before, after)
    return [
        Event(layer, int(unit), "death" if deaths[unit] else "revival", float(before[unit]), float(after[unit]))
        for unit in np.flatnonzero(deaths | revivals)
    ]


def latest_finite(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What the next comparison starts from: the margins after, or those before where they are not finite.

    So a dead unit that shows NaN for a while and then fires is still a revival.
    """
    return np.where(np.isfinite(after), after, before)
