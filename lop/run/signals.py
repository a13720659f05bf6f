"""Stop requests: SIGINT, SIGTERM and SIGUSR2 ask for an end at the next safe point, and get one in time.

    with StopSignals(grace_s=90, at_once=tell) as stop:
        while not done and not stop.requested:
            update()

If the loop does not come to its safe point within `grace_s`, or SIGINT comes again, the process ends on the last
checkpoint: `at_once(name)` is called, then os._exit(75). 75 (EX_TEMPFAIL) says: unfinished, may be resumed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

EXIT_UNFINISHED = 75
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))


class StopSignals:
    """A context that turns signals into a flag. Outside the main thread it does nothing: Python allows no handlers.

    requested: whether to stop; name: the first signal's name, "" before. A signal that was ignored when the block
    began (nohup, a background job of a shell) stays ignored.
    """

    def __init__(self, grace_s: float, at_once: Callable[[str], None] = lambda name: None) -> None:
        self.grace_s, self.at_once = grace_s, at_once
        self.requested, self.name = False, ""
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        for number, handler in self._before.items():
            # None: a handler that was not set from Python and cannot be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            # schedulers repeat SIGTERM; only a person at the keyboard means "now" by the second one
            if number == signal.SIGINT:
                self._end()
            return
        self.requested, self.name = True, signal.Signals(number).name
        self._timer = threading.Timer(self.grace_s, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        with contextlib.suppress(Exception):
            self.at_once(self.name)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(EXIT_UNFINISHED)
