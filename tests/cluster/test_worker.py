"""A worker waits for runs that somebody else still owns, and not for ever."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from lop.cluster.worker import train_when_free
from lop.run.config import compose
from lop.run.owner import OwnedElsewhere, claim


@pytest.fixture
def config(tmp_path):
    return compose(["seeds=0-2", f"runs_dir={tmp_path}"])


class Trainer:
    """Claims what it trains, like lop.train; lets go of it at once."""

    def __init__(self, runs_dir):
        self.runs_dir, self.trained, self.calls = runs_dir, [], 0

    def __call__(self, config):
        self.calls += 1
        folders = [self.runs_dir / f"ant/std/seed_{seed}" for seed in config.seeds]
        owners = []
        try:
            for folder in folders:
                owners.append(claim(folder))
        finally:
            for owner in owners:
                owner.release("finished")
        self.trained = config.seeds
        return 0


def test_it_waits_until_the_other_has_let_go(config, tmp_path):
    train, other = Trainer(tmp_path), claim(tmp_path / "ant/std/seed_1")
    calls = []

    def watched(given):
        calls.append(given)
        if len(calls) == 3:
            other.release("stopped")
        return train(given)

    assert train_when_free(config, watched, patience_s=60, retry_s=0.01) == 0
    assert (len(calls), train.trained) == (3, [0, 1, 2])


def test_those_that_stay_owned_are_left_out_and_named(config, tmp_path, capsys):
    train, other = Trainer(tmp_path), claim(tmp_path / "ant/std/seed_1")
    assert train_when_free(config, train, patience_s=0.0, retry_s=0.01) == 1
    other.abandon()
    assert train.trained == [0, 2]
    assert "seed_1 is still owned by another process" in capsys.readouterr().err


def test_an_order_that_cannot_be_carried_out_is_one_line(tmp_path):
    plain = dataclasses.asdict(compose([f"runs_dir={tmp_path}"])) | {"num_envs": 3}
    order = {"config": plain, "parent": os.getpid()}
    done = subprocess.run(
        [sys.executable, "-m", "lop.cluster.worker"], input=json.dumps(order), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "error: num_envs=3 does not divide ppo.steps_per_update=2048\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal for a parent's death is Linux's")
def test_a_worker_whose_job_has_died_does_not_begin(tmp_path):
    order = {"config": {}, "parent": os.getpid() + 1}
    done = subprocess.run(
        [sys.executable, "-m", "lop.cluster.worker"], input=json.dumps(order), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "the job's process has died\n")


def test_who_owns_a_run_is_said_while_waiting(config, capsys):
    answers = iter([OwnedElsewhere("somebody has it"), KeyboardInterrupt()])

    def train(given):
        raise next(answers)

    with pytest.raises(KeyboardInterrupt):
        train_when_free(config, train, patience_s=60, retry_s=0.0)
    assert "waiting: somebody has it" in capsys.readouterr().out
