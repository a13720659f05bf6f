"""When to compute: small schedules over steps or calls, without hidden state."""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[int | None, int], bool]
"""due(previous, now): whether something is due at `now` when it was last asked at `previous` (None: never)."""


def every(interval: int) -> Schedule:
    """Due in the first call at or past each multiple of `interval`, 0 included: the first call is always due."""
    if interval < 1:
        raise ValueError(f"an interval must be >= 1, got {interval}")
    return lambda previous, now: previous is None or now // interval > previous // interval


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
