"""What the bits depend on, and which settings differ."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from lop.run.versions import git_revision, same_configuration, versions


def test_versions_are_json_and_name_what_is_installed() -> None:
    found = json.loads(json.dumps(versions(threads=2)))
    assert found["numpy"] == np.__version__
    assert found["torch"] == torch.__version__
    assert found["threads"] == 2
    assert found["cpu"]


def test_equal_configurations_differ_in_nothing() -> None:
    settings = {"ppo": {"lr": 1e-4, "hidden": [256, 256]}, "name": None, "empty": {}}
    assert same_configuration(settings, {"empty": {}, "name": None, "ppo": {"hidden": (256, 256), "lr": 1e-4}}) == []


def test_every_difference_is_named_with_both_values() -> None:
    stored = {"ppo": {"lr": 1e-4, "gone": 1}, "flag": True, "same": 1}
    current = {"ppo": {"lr": 3e-4, "new": None}, "flag": 1, "same": 1.0}
    assert same_configuration(stored, current) == [
        "flag: True before, 1 now",
        "ppo.gone: 1 before, (absent) now",
        "ppo.lr: 0.0001 before, 0.0003 now",
        "ppo.new: (absent) before, None now",
    ]


def test_excused_keys_excuse_what_is_below_them_but_no_namesake() -> None:
    stored = {"wandb": {"mode": "online", "tags": []}, "wandb_like": 1}
    current = {"wandb": {"mode": "offline", "tags": ["a"]}, "wandb_like": 2}
    assert same_configuration(stored, current, may_differ=["wandb"]) == ["wandb_like: 1 before, 2 now"]


@pytest.mark.parametrize(("now", "differs"), [(2e6, False), (1_000_000, False), (999_999, True), ("many", True)])
def test_total_steps_may_grow_but_not_shrink(now: object, differs: bool) -> None:
    found = same_configuration({"total_steps": 1_000_000}, {"total_steps": now}, may_grow=["total_steps"])
    assert bool(found) == differs


def test_revision_is_that_of_the_checkout_that_tracks_the_file(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    tracked, untracked = tmp_path / "tracked.py", tmp_path / "installed.py"
    tracked.write_text("a")
    untracked.write_text("a")
    assert git_revision(tracked) is None
    git("init", "-q")
    git("add", "tracked.py")
    git("commit", "-q", "-m", "first")
    assert git_revision(tracked) == git("rev-parse", "HEAD")
    assert git_revision(untracked) is None
    tracked.write_text("b")
    assert git_revision(tracked) == git("rev-parse", "HEAD") + "-dirty"
