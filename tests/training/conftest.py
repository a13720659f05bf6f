"""Small runs of lop.train, in this process or in one of their own, and their folders compared byte by byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_runs import BUSY_CBP, assert_same_run, small

SMALL = small(
    "ppo.steps_per_update=256", "monitor.ranks_every_steps=500", "checkpoint_every_steps=512", "total_steps=2048"
)
#: makes the rare things happen often
BUSY = {
    "cbp": BUSY_CBP,
    "redo": ["algo.period_minibatches=5", "algo.threshold=0.3"],
    "sant": ["env.task_steps=600"],
}


def words(env: str, algo: str, *more: str) -> list[str]:
    return [f"env={env}", f"algo={algo}", *SMALL, *BUSY.get(env, []), *BUSY.get(algo, []), *more]


def start(arguments: list[str], **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONWARNINGS": "default", "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "lop.train", *arguments], env=environment, **pipes, **options)


def run(arguments: list[str]) -> str:
    """Run lop.train in a process of its own; returns what it printed."""
    process = start(arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out + err


def run_here(arguments: list[str]) -> int:
    from lop.run.config import compose
    from lop.train import train

    return train(compose(arguments))


def kill_when(process: subprocess.Popen, metrics: Path, size: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal once `metrics` has `size` bytes; False if the process ended before."""
    while process.poll() is None:
        if metrics.is_file() and metrics.stat().st_size >= size:
            process.send_signal(number)
            process.communicate()
            return True
        time.sleep(0.002)
    return False


@pytest.fixture(scope="session")
def lop_train():
    return SimpleNamespace(
        words=words, start=start, run=run, run_here=run_here, kill_when=kill_when, assert_same_run=assert_same_run
    )
