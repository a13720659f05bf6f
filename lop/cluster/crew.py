"""The worker processes of one job: started together, stopped together, and started again if one dies.

    crew = Crew([Order(config, threads=4, gpu="0"), ...])
    codes = crew.work()          # returns when all have ended: 0 finished, 1 a run failed, 75 stopped, ...
    crew.stop                    # "" or the first signal that asked us to stop

Each worker is `python -m lop.cluster.worker`, with its order as JSON on stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from lop.run.signals import EXIT_UNFINISHED, SIGNALS

WORKER = ("-m", "lop.cluster.worker")
POLL_S = 0.1
MAX_DEATHS = 3  # a worker that died this often dies of something that stays


@dataclass(frozen=True)
class Order:
    """What one worker does. config: a TrainConfig as plain data; gpu: its CUDA_VISIBLE_DEVICES, None: as we see them."""

    config: dict[str, Any]
    gpu: str | None = None
    scratch_dir: str | None = None


class Crew:
    """Workers of one job. `work` handles SIGUSR2, SIGTERM and SIGINT; outside the main thread it cannot, and does not."""

    def __init__(self, orders: list[Order], stop_within_s: float = 60.0) -> None:
        """stop_within_s: after a stop request, workers that still live by then are killed."""
        self.orders, self.stop_within_s = orders, stop_within_s
        self.asked: list[str] = []
        self._asked_at = 0.0
        self._workers: list[subprocess.Popen[bytes] | None] = [None] * len(orders)
        self._deaths = [0] * len(orders)

    @property
    def stop(self) -> str:
        """The first stop signal's name, "" if there was none."""
        return self.asked[0] if self.asked else ""

    def work(self) -> list[int]:
        """Exit codes of the workers, in order; negative: killed by that signal."""
        with self.listening():
            try:
                while not self._all_ended():
                    self._pass_on_stop()
                    time.sleep(POLL_S)
            finally:
                self._kill()
        return [EXIT_UNFINISHED if worker is None else worker.returncode for worker in self._workers]

    def _all_ended(self) -> bool:
        """Looks after every worker; whether none is left to wait for."""
        ended = [self._has_ended(i) for i in range(len(self.orders))]
        return all(ended)

    def _has_ended(self, i: int) -> bool:
        worker = self._workers[i]
        if worker is not None and worker.poll() is None:
            return False
        if self.stop:
            return True
        if worker is not None:
            # a worker asked to stop by somebody else (75) is a death too: we were not
            if worker.returncode >= 0 and worker.returncode != EXIT_UNFINISHED:
                return True
            self._deaths[i] += 1
            if self._deaths[i] > MAX_DEATHS:
                return True
            say(f"worker {i} died ({ending(worker.returncode)}); its runs go on from their checkpoints")
        self._workers[i] = self._start(self.orders[i])
        return False

    def _start(self, order: Order) -> subprocess.Popen[bytes]:
        # the learner computes on one thread; without this, libraries start one per core of the node
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        environment.pop("WANDB_SERVICE", None)
        if order.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = order.gpu
        worker = subprocess.Popen([sys.executable, *WORKER], stdin=subprocess.PIPE, env=environment)
        # it may have died already: then it has no use for its order
        with contextlib.suppress(BrokenPipeError), worker.stdin as pipe:
            pipe.write(json.dumps({**asdict(order), "parent": os.getpid()}).encode())
        return worker

    def _pass_on_stop(self) -> None:
        """SIGTERM to all workers once, SIGKILL when their time is over."""
        if not self.asked:
            return
        if not self._asked_at:
            self._asked_at = time.monotonic()
            self._signal_all(signal.SIGTERM)
        elif time.monotonic() - self._asked_at > self.stop_within_s:
            self._kill()

    def _signal_all(self, number: int) -> None:
        for worker in self._workers:
            if worker is not None and worker.poll() is None:
                worker.send_signal(number)

    def _kill(self) -> None:
        self._signal_all(signal.SIGKILL)
        for worker in self._workers:
            if worker is not None:
                worker.wait()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Stop signals become an entry of `asked`; nothing else happens inside a handler."""

        def note(number: int, frame: FrameType | None) -> None:
            self.asked.append(signal.Signals(number).name)

        before: dict[int, Any] = {}
        with contextlib.suppress(ValueError):  # not the main thread
            before = {number: signal.signal(number, note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def say(text: str) -> None:
    """One line of the job's log."""
    print(f"lop job: {text}", flush=True)
