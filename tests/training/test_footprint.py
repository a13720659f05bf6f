"""What a run costs in memory and on the disk, and that it does not grow where it must not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lop.run.config import compose
from lop.run.progress import Progress
from lop.run.signals import StopSignals
from lop.train import advance
from lop.training.members import open_members
from lop.training.population import Population

UPDATES_OF_100M_STEPS = 48_828


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def training(tmp_path, lop_train):
    """advance(number of updates) of one member, and its folder."""

    def begin(*words):
        config = compose([*words, f"runs_dir={tmp_path}"])
        members = open_members(config)
        members[0].start_tracking()
        with torch.inference_mode():
            population = Population(config, config.seeds)

        def go_on(updates):
            with torch.inference_mode(), StopSignals(0) as stop, Progress(1, interval_s=1e9) as progress:
                advance(population, members, population.update + updates, stop, progress)
            return members[0]

        go_on.member, go_on.population = members[0], population
        return go_on

    return begin


def test_a_run_of_100m_steps_stays_under_one_and_a_half_gigabytes(training):
    go_on = training("env=ant", "algo=cbp", "wandb.mode=offline", "ppo.num_epochs=1", "ppo.num_minibatches=2")
    folder = go_on(5).folder
    before = folder_bytes(folder)
    go_on(10)  # ranks come in every fifth update, so this is a whole number of their periods
    per_update = (folder_bytes(folder) - before) / 10
    go_on.member.snapshot(0, go_on.population.snapshot(0))
    go_on.member.save(go_on.population.member_state(0), 15)
    snapshot, checkpoint = folder_bytes(folder / "snapshots"), (folder / "checkpoint").stat().st_size
    assert snapshot > 5e5
    assert per_update * UPDATES_OF_100M_STEPS + 101 * snapshot + 2 * checkpoint < 1.5e9


def test_memory_is_flat_and_checkpoints_do_not_grow(training, lop_train):
    go_on = training(*lop_train.words("ant", "cbp", "total_steps=1e6", "snapshots=0"))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    member = go_on(40)
    size, memory = (member.folder / "checkpoint").stat().st_size, resident()
    go_on(120)
    assert (member.folder / "checkpoint").stat().st_size < 1.05 * size
    assert resident() - memory < 8e6
