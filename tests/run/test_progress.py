"""The progress line says what is known, briefly."""

from __future__ import annotations

import io
import math

import pytest

from lop.run.progress import Progress, duration, format_line, mean, number, short


def test_the_line_holds_steps_speed_time_left_return_and_units() -> None:
    # (100e6 - 1.25e6) / 1180 = 83,686 s = 23 h 14 min 46 s
    line = format_line(1_250_000, 100_000_000, 1180, 2409.6, [3, 12], [5, 9.25])
    assert line == "1.25M/100M 1.2% | 1,180 steps/s | ETA 23 h 14 min | return 2,410 | dead 3/12 | at-risk 5/9.2"


def test_what_is_not_known_yet_is_a_dash() -> None:
    assert format_line(0, 200_000, 0.0) == "0/200k 0.0% | 0 steps/s | ETA - | return -"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (2048, "2.05k"), (999_400, "999k"), (999_950, "1M"), (1e8, "100M"), (2.5e9, "2.5G")],
)
def test_counts_have_three_digits_and_a_letter(count: float, text: str) -> None:
    assert short(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (3.44, "3.4"), (-0.04, "0"), (-12.5, "-12.5"), (1180.4, "1,180"), (math.inf, "-"), (99.96, "100")],
)
def test_numbers_are_read_at_a_glance(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (3659, "1 h"),
        (83_700, "23 h 15 min"),
        (4 * 86400 + 7300, "4 d 2 h"),
        (math.nan, "-"),
    ],
)
def test_a_duration_is_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_mean_passes_over_members_without_an_episode_yet() -> None:
    assert mean([1.0, math.nan, 3.0]) == 2.0
    assert math.isnan(mean([math.nan]))


def test_without_a_terminal_there_is_one_plain_line_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    with Progress(1000, start_step=200, interval_s=30, members=2, stream=stream) as progress:
        for step in range(210, 1001, 10):
            clock[0] += 1
            progress.update(step, [1.0, math.nan], dead=[0, 1])
        progress.note("done")
    lines = stream.getvalue().splitlines()
    # at 1, 31 and 61 s of 79; 10 steps/s from step 200, not from 0
    assert lines == [
        "2 members | 210/1k 21.0% | 10 steps/s | ETA 1 min 19 s | return 1 | dead 0/1",
        "2 members | 510/1k 51.0% | 10 steps/s | ETA 49 s | return 1 | dead 0/1",
        "2 members | 810/1k 81.0% | 10 steps/s | ETA 19 s | return 1 | dead 0/1",
        "done",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_one_live_line_and_notes_stand_above_it() -> None:
    stream = Terminal()
    with Progress(1000, stream=stream) as progress:
        progress.update(500, 12.0, dead=[3, 12], at_risk=[5, 9])
        progress.note("resumed at 400")
        progress.update(600, 13.0)
    text = stream.getvalue()
    assert "dead 3/12 | at-risk 5/9" in text
    assert "resumed at 400\n" in text
    # the bar's own lines end in a return, not in a newline: one for the note, one when it closes
    assert text.count("\n") == 2
    assert text.rstrip("\n").rsplit("\r", 1)[1].startswith("600/1k 60.0%")


class Gone(io.StringIO):
    """A stream whose reader goes away."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal, self.is_gone = terminal, False

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        if self.is_gone:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_who_has_gone_away_stops_nothing(terminal: bool) -> None:
    stream = Gone(terminal)
    with Progress(10, stream=stream) as progress:
        stream.is_gone = True
        progress.update(1)
        progress.note("still here")
