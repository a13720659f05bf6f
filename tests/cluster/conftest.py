"""A private Slurm for the tests: started by slurm/slurm_up.sh on free ports, ended by process id whatever happens."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SLURM = Path(__file__).resolve().parents[2] / "slurm"
PROGRAMS = ("munged", "slurmctld", "slurmd", "squeue")
ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb", "mariadb-install-db")
PORTS = 16  # a cluster's ports lie within this many


class Cluster:
    """One running development cluster; `env` points Slurm's commands at it."""

    def __init__(self, root: Path, **options: object) -> None:
        self.root, self.options = root, {"CRED_EXPIRE": 5, "GRACE": 1, "KILLWAIT": 30, **options}
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SQUEUE", "SBATCH"))
        }
        self.env |= {"SLURM_CONF": str(root / "etc/slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def up(self) -> None:
        """Starts it, or starts again what of it has died."""
        self.options.setdefault("PORT0", free_ports())
        knobs = {key: str(value) for key, value in self.options.items()}
        done = subprocess.run(
            [SLURM / "slurm_up.sh", self.root], env={**self.env, **knobs}, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stderr

    def down(self) -> None:
        subprocess.run([SLURM / "slurm_down.sh", self.root, "--wipe"], env=self.env, timeout=90, check=False)

    def __call__(self, *command: str | Path, check: bool = True, **options: object) -> str:
        """Runs a command of Slurm's, or any other, on this cluster; returns what it printed."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, **options)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def pid(self, name: str) -> int:
        """Of "slurmctld" or "slurmd.gpu0"."""
        return int((self.root / "run" / f"{name}.pid").read_text())

    def state(self, job: str) -> str:
        """squeue's word for one job."""
        return self("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%T")


def free_ports() -> int:
    """The first of PORTS free ports in a row, below those that the kernel gives to clients."""
    while True:
        first = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + PORTS):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def wait_for(condition: Callable[[], object], within_s: float = 60.0, what: str | Callable[[], object] = "") -> None:
    """Returns as soon as the condition holds; fails after `within_s`."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"not within {within_s:g} s: {what() if callable(what) else what or condition}"
        time.sleep(0.1)


def without(programs: tuple[str, ...]) -> list[str]:
    """Programs that this machine lacks."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [program for program in programs if not shutil.which(program, path=path)]


@contextlib.contextmanager
def cluster(**options: object) -> Iterator[Cluster]:
    """A cluster that lives as long as the block; the test is skipped where it cannot."""
    missing = without(PROGRAMS + (ACCOUNTING if options.get("ACCT") == "dbd" else ()))
    if missing:
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)}")
    # `timeout` and CI end tests with SIGTERM: what was started must end too
    before = signal.signal(signal.SIGTERM, lambda number, frame: pytest.exit("ended by SIGTERM", 128 + number))
    # sockets allow paths of some hundred characters only: pytest's own folders are too deep
    running = Cluster(Path(tempfile.mkdtemp(prefix="lop-slurm-", dir="/tmp")), **options)
    try:
        running.up()
        yield running
    finally:
        signal.signal(signal.SIGTERM, before)
        running.down()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """One node with 8 fake GPUs, no accounting; jobs of `urgent` preempt those of `gpu` with SIGTERM alone."""
    with cluster(PREEMPT="1") as running:
        yield running


@pytest.fixture(scope="session")
def slurm_two_nodes() -> Iterator[Cluster]:
    """Two nodes, and sacct answers. Jobs of `urgent` preempt the others, which get their user signal first."""
    with cluster(NODES=2, ACCT="dbd", PREEMPT="signal", NODE_TIMEOUT=5) as running:
        yield running


@pytest.fixture(scope="session")
def another_cluster() -> Callable[..., contextlib.AbstractContextManager[Cluster]]:
    """another_cluster(NODES=..., ...): one that lives as long as the block."""
    return cluster


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """until(condition, within_s, what)"""
    return wait_for
