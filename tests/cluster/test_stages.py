"""lop.status on a real Slurm, stage by stage, with and without accounting, and without a controller."""

from __future__ import annotations

import json
import os
import signal

import pytest

from lop.cluster.record import JobPlan, Process, new_submission
from lop.cluster.survey import look

PENDING, CANCELLED, RUNNING, FAILED = range(4)


@pytest.fixture(params=["slurm", "slurm_two_nodes"])
def site(request, monkeypatch):
    cluster = request.getfixturevalue(request.param)
    for key, value in cluster.env.items():
        monkeypatch.setenv(key, value)
    return cluster


def send(cluster, runs_dir) -> list[str]:
    """Four held jobs of one run each, that never come to train: the last one fails; returns their ids."""
    config = {"seeds": [0], "total_steps": 1000, "ppo": {"steps_per_update": 100}}
    plans = [JobPlan(i, [Process(config, [f"a/b/seed_{i}"])]) for i in range(4)]
    sent = new_submission(runs_dir, "slurm", [], {}, plans)
    script = f"[ $SLURM_ARRAY_TASK_ID = {FAILED} ] && exit 1; sleep 100"
    words = ["--parsable", "--hold", "--array=0-3", f"--job-name={sent.job_name}", "-o", "/dev/null", "--wrap", script]
    job = cluster("sbatch", *words)
    ids = [f"{job}_{i}" for i in range(4)]
    sent.sent(job, ids).write()
    return ids


def states(runs_dir) -> list[tuple[str, str]]:
    return [(run.state, run.note) for run in look(runs_dir).runs]


def test_a_run_that_never_trained_is_followed_through_the_queue(site, tmp_path, until):
    ids = send(site, tmp_path)
    assert states(tmp_path) == [("queued", "JobHeldUser")] * 4
    site("scancel", ids[CANCELLED])
    for i in (RUNNING, FAILED):
        site("scontrol", "release", ids[i])
    failed = ("failed", "its job ended before it began (failed)")
    # neither squeue nor sacct keeps a task that was cancelled before it became a job of its own
    gone = ("missing", "its job is gone and left nothing: cancelled while it waited?")
    until(
        lambda: states(tmp_path) == [("queued", "JobHeldUser"), gone, ("starting", ""), failed],
        60,
        lambda: states(tmp_path),
    )

    site("scontrol", "requeuehold", ids[RUNNING])
    until(lambda: states(tmp_path)[RUNNING][0] == "preempted", 60, "it waits again")
    assert "waits to go on; " in states(tmp_path)[RUNNING][1]
    site("scancel", *ids)
    until(lambda: states(tmp_path)[RUNNING] == ("stopped", "cancelled before it began"), 60, lambda: states(tmp_path))


def test_with_the_controller_down_the_folders_tell(slurm, tmp_path, monkeypatch):
    for key, value in slurm.env.items():
        monkeypatch.setenv(key, value)
    send(slurm, tmp_path)
    folder = tmp_path / "a/b/seed_0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format": 1, "layers": [3], "configuration": {}}))
    os.kill(slurm.pid("slurmctld"), signal.SIGKILL)
    try:
        survey = look(tmp_path)
    finally:
        slurm.up()
    assert [run.state for run in survey.runs] == ["queued"] * 4
    assert survey.runs[3].note == "sent, and Slurm cannot be asked"
    (problem,) = survey.problems
    assert problem.startswith("squeue: ") and problem.endswith("states are from the run folders")
    # a controller that is killed may have forgotten what it was told last
    assert look(tmp_path).problems == []
    slurm("scancel", f"--user={os.getuid()}", check=False)
