"""Signals ask for an end at the next safe point, and get one in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lop.run.signals import EXIT_UNFINISHED, StopSignals

LOOP = """
import sys, time
from lop.run.signals import StopSignals
def tell(name):
    print("at once", name, flush=True)
with StopSignals(float(sys.argv[1]), tell) as stop:
    print("ready", flush=True)
    while not (stop.requested and sys.argv[2] == "prompt"):
        time.sleep(0.01)
    print("safe", stop.name, flush=True)
"""


def start(grace_s: float, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOOP, str(grace_s), mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_ends_the_loop_at_its_safe_point(number: signal.Signals) -> None:
    process = start(60, "prompt")
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == (f"safe {number.name}\n", 0)


def test_without_a_safe_point_in_time_it_ends_with_last_words() -> None:
    process = start(0.2, "busy")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == ("at once SIGTERM\n", EXIT_UNFINISHED)


def test_a_second_interrupt_ends_at_once_but_a_second_sigterm_does_not() -> None:
    process = start(60, "busy")
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == ("at once SIGTERM\n", EXIT_UNFINISHED)


def test_handlers_are_restored_and_the_timer_is_stopped() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)]
    with StopSignals(0.1) as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.requested and stop.name == "SIGUSR2"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)] == before
    time.sleep(0.2)  # had the timer gone on, the test process would be gone


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        with StopSignals(60) as stop:
            os.kill(os.getpid(), signal.SIGUSR2)
        assert not stop.requested
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_outside_the_main_thread_it_does_nothing() -> None:
    seen: list[bool] = []

    def work() -> None:
        with StopSignals(60) as stop:
            seen.append(stop.requested)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGTERM) is before
