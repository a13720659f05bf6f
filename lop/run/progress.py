"""Progress: one live line on a terminal, otherwise one plain line an interval.

    1.25M/100M 1.2% | 1,180 steps/s | ETA 23 h 15 min | return 2,410 | dead 3/12 | at-risk 5/9

"dead 3/12" counts units layer by layer; with several members every number is their mean.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Sequence
from typing import Self, TextIO

import tqdm


def format_line(
    step: int,
    total_steps: int,
    steps_per_s: float,
    episode_return: float = math.nan,
    dead: Sequence[float] = (),
    at_risk: Sequence[float] = (),
) -> str:
    """The progress line. Steps of one member; dead, at_risk: units per layer; NaN: not known yet, shown as "-"."""
    eta_s = (total_steps - step) / steps_per_s if steps_per_s > 0 else math.nan
    parts = [
        f"{short(step)}/{short(total_steps)} {100 * step / max(total_steps, 1):.1f}%",
        f"{number(steps_per_s)} steps/s",
        f"ETA {duration(eta_s)}",
        f"return {number(episode_return)}",
    ]
    if dead:
        parts.append("dead " + "/".join(map(number, dead)))
    if at_risk:
        parts.append("at-risk " + "/".join(map(number, at_risk)))
    return " | ".join(parts)


def short(count: float) -> str:
    """A count with three digits and k, M or G: 999, 2.05k, 1.25M, 100M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 would read 1000k
        if abs(count) >= size * 0.9995:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def number(value: float) -> str:
    """A number for reading: "1,180", "3", "3.4" (below 100 with one decimal if it has any), "-" if not finite."""
    if not math.isfinite(value):
        return "-"
    rounded = round(value, 1)
    return f"{value:z,.0f}" if abs(value) >= 100 or rounded == int(rounded) else f"{rounded:.1f}"


def duration(seconds: float) -> str:
    """A time in its two largest units: 42 s, 3 min 5 s, 23 h 15 min, 4 d 2 h; "-" if not finite."""
    if not math.isfinite(seconds):
        return "-"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    whole = max(0, round(seconds))
    large = next((i for i, (_, size) in enumerate(units) if whole >= size), len(units) - 1)
    count, rest = divmod(whole, units[large][1])
    text = f"{count} {units[large][0]}"
    if large + 1 < len(units) and rest >= units[large + 1][1]:
        text += f" {rest // units[large + 1][1]} {units[large + 1][0]}"
    return text


def mean(values: Sequence[float]) -> float:
    """The mean of the finite values; NaN if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


class Progress:
    """Shows how far a run is. A context; `update` may be called as often as one likes."""

    def __init__(
        self,
        total_steps: int,
        start_step: int = 0,
        interval_s: float = 30.0,
        members: int = 1,
        stream: TextIO | None = None,
    ) -> None:
        """total_steps, start_step: of one member; interval_s: between plain lines; stream: sys.stderr by default."""
        self.total_steps, self.interval_s, self.members = total_steps, interval_s, members
        self.stream = stream or sys.stderr
        self._started = (time.monotonic(), start_step)
        self._shown_s = -math.inf
        self._line = ""
        self._bar = None
        if self.stream.isatty():
            self._bar = tqdm.tqdm(file=self.stream, bar_format="{desc}", dynamic_ncols=True, leave=True)

    def update(
        self,
        step: int,
        episode_return: float | Sequence[float] = math.nan,
        dead: Sequence[float] = (),
        at_risk: Sequence[float] = (),
    ) -> None:
        """Shows the state after `step` (of one member). episode_return: one, or one a member; dead, at_risk: [layers],
        means over the members. Speed: env steps of one member, since the start."""
        now = time.monotonic()
        began_s, start_step = self._started
        per_member = (step - start_step) / max(now - began_s, 1e-9)
        returns = [episode_return] if isinstance(episode_return, (int, float)) else episode_return
        self._line = format_line(step, self.total_steps, per_member, mean(returns), dead, at_risk)
        if self.members > 1:
            self._line = f"{self.members} members | {self._line}"
        if self._bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self._bar.set_description_str(self._line)
        elif now - self._shown_s >= self.interval_s:
            self._shown_s = now
            self.note(self._line)

    def note(self, text: str) -> None:
        """Prints a line of its own, without breaking the live one."""
        # a reader who has gone away (`| head`) or a closed terminal is no reason to stop a run
        with contextlib.suppress(OSError, ValueError):
            if self._bar is not None:
                self._bar.write(text, file=self.stream)
            else:
                print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Leaves the last line standing."""
        if self._bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
