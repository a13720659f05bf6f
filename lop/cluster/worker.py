"""One population of a job: `python -m lop.cluster.worker`, started by lop.cluster.crew with its order on stdin.

The trainer is started by name. A run that somebody who lives still owns (a twin of an earlier submission, on a node that
Slurm lost) is waited for: its heart stops, or it does not, and then the others go on without it.

Exit codes are those of lop.train.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lop.run.command import shorten_warnings, wrong
from lop.run.config import ConfigError, TrainConfig, from_plain
from lop.run.files import RunError
from lop.run.owner import STALE_S, OwnedElsewhere, is_alive, read_owner
from lop.run.store import folder_for

PATIENCE_S = STALE_S + 60.0
RETRY_S = 10.0
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def work(order: dict[str, Any]) -> int:
    """Trains the population of an order; returns the exit code."""
    config = from_plain(order["config"])
    if order.get("scratch_dir"):
        from lop.cluster.scratch import train_on_scratch

        return train_when_free(config, lambda part: train_on_scratch(part, order["scratch_dir"]))
    return train_when_free(config, importlib.import_module("lop.train").train)


def train_when_free(config: TrainConfig, train: Any, patience_s: float = PATIENCE_S, retry_s: float = RETRY_S) -> int:
    """Trains as soon as nobody else owns a run of the population; after `patience_s` without those that are owned."""
    until = time.monotonic() + patience_s
    while True:
        try:
            return train(config)
        except OwnedElsewhere as error:
            if time.monotonic() > until:
                return train_those_free(config, train)
            print(f"waiting: {error}", flush=True)
            time.sleep(retry_s)


def train_those_free(config: TrainConfig, train: Any) -> int:
    """Trains the members that nobody else owns; 1 if all goes well, since the others are missing."""
    owners = {seed: read_owner(_folder(config, seed)) for seed in config.seeds}
    taken = [seed for seed, owner in owners.items() if owner and is_alive(owner)]
    for seed in taken:
        print(f"error: {_folder(config, seed)} is still owned by another process and is left out", file=sys.stderr)
    free = [seed for seed in config.seeds if seed not in taken]
    code = train(dataclasses.replace(config, seeds=free)) if free else 1
    return code or int(bool(taken))


def die_with(parent: int) -> None:
    """Has the kernel send us SIGTERM when the job's process dies, so that no run goes on unseen. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the job's process has died")


def _folder(config: TrainConfig, seed: int) -> Path:
    return folder_for(config.runs_dir, config.env.name, config.algo.name, config.name, seed)


def main() -> int:
    order = json.load(sys.stdin)
    die_with(order["parent"])
    shorten_warnings()
    try:
        return work(order)
    except (ConfigError, RunError) as error:
        return wrong(error, 2 if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    sys.exit(main())
