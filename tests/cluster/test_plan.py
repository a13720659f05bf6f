"""Which runs are sent, and what the table says: run folders, earlier submissions and the queue are made by hand."""

from __future__ import annotations

import dataclasses
import json

import pytest

from lop.cluster import plan as planning
from lop.cluster.estimate import disk_bytes, run_rate
from lop.cluster.plan import make_plan, sent_before, table
from lop.cluster.profile import load_profile
from lop.cluster.queue import Queue, QueuedJob
from lop.cluster.record import JobPlan, Process, new_submission
from lop.cluster.send import unfinished_points
from lop.cluster.sweep import Point
from lop.run.checkpoint import save_checkpoint
from lop.run.config import ConfigError, compose
from lop.run.owner import claim


@pytest.fixture
def runs(tmp_path):
    """points(words) with runs below tmp_path."""

    def points(*words: str) -> list[Point]:
        return [Point((), compose([*words, "total_steps=20480", f"runs_dir={tmp_path}"]))]

    return points


@pytest.fixture
def queue(monkeypatch):
    """Sets what Slurm says."""

    def says(*jobs: QueuedJob, problem: str = "") -> None:
        monkeypatch.setattr(planning, "read_queue", lambda names: Queue({job.id: job for job in jobs}, problem))

    says()
    return says


def saved(folder, update: int) -> None:
    save_checkpoint(folder, {}, {"update": update, "global_step": 2048 * update, "offsets": {}})


def sent(points, tmp_path, jobs):
    config = dataclasses.asdict(points[0].config)
    plans = [
        JobPlan(i, [Process(config | {"seeds": seeds}, [points[0].run(seed) for seed in seeds])])
        for i, seeds in enumerate(jobs)
    ]
    submission = new_submission(tmp_path, "slurm", [], {}, plans)
    submission.write()
    return submission


def test_only_what_is_left_is_sent(runs, queue, tmp_path):
    points = runs("seeds=0-5")
    folders = [points[0].folder(seed) for seed in range(6)]
    for seed, status, update in ((0, "finished", 10), (1, "stopped", 4), (2, "failed", 2)):
        owner = claim(folders[seed])
        saved(folders[seed], update)
        owner.release(status, "not finite")
    working = claim(folders[3])
    folders[4].mkdir()
    (folders[4] / "checkpoint").write_bytes(b"torn")
    plan = make_plan(points, load_profile(["cluster=cpu"]), tmp_path)
    working.abandon()
    assert {run.rpartition("_")[2]: why for run, why in plan.skipped.items()} == {
        "0": "finished",
        "3": "running",
        "4": "damaged",
    }
    # 10 updates of 2048 steps; seed 1 has done 4, seed 2 has done 2
    assert {run.rpartition("_")[2]: steps for run, steps in plan.left.items()} == {
        "1": 6 * 2048.0,
        "2": 8 * 2048.0,
        "5": 10 * 2048.0,
    }
    assert sorted(seed for job in plan.jobs for p in job.processes for seed in p.seeds) == [1, 2, 5]
    told = table(plan, load_profile(["cluster=cpu"]), tmp_path)
    assert "1 finished, 1 running, 1 damaged" in told
    assert "seed_2: failed before and is sent again: not finite" in told
    assert "seed_4: left out: no usable checkpoint" in told


def test_a_longer_run_is_not_finished(runs, queue, tmp_path):
    points = runs("seeds=0")
    owner = claim(points[0].folder(0))
    saved(points[0].folder(0), 5)
    owner.release("finished")
    assert list(make_plan(points, load_profile(["cluster=cpu"]), tmp_path).left.values()) == [5 * 2048.0]


def test_what_waits_in_slurm_is_left_out_even_if_its_job_id_was_never_noted(runs, queue, tmp_path):
    points = runs("seeds=0-2")
    submission = sent(points, tmp_path, [[0], [1], [2]])
    queue(
        QueuedJob("7_0", "8", submission.job_name, "COMPLETED"),
        QueuedJob("7_1", "9", submission.job_name, "PENDING"),
        QueuedJob("7_2", "7", submission.job_name, "RUNNING"),
    )
    plan = make_plan(points, load_profile(["cluster=cpu"]), tmp_path)
    assert plan.skipped == {"ant/std/seed_1": "queued", "ant/std/seed_2": "queued"}
    assert list(plan.left) == ["ant/std/seed_0"]


def test_an_owner_whose_job_slurm_knows_to_have_ended_is_not_waited_for(runs, queue, tmp_path, monkeypatch):
    points = runs("seeds=0")
    submission = sent(points, tmp_path, [[0]])
    monkeypatch.setenv("SLURM_JOB_ID", "31")
    owner = claim(points[0].folder(0))  # it never says that it stopped, and its heart beats
    queue(QueuedJob("31", "31", submission.job_name, "NODE_FAIL"))
    plan = make_plan(points, load_profile(["cluster=cpu"]), tmp_path)
    owner.abandon()
    assert plan.skipped == {} and plan.num_runs == 1


def test_a_silent_slurm_is_said(runs, queue, tmp_path):
    sent(runs("seeds=0"), tmp_path, [[0]])
    queue(problem="squeue did not answer")
    assert sent_before(tmp_path).problem == "what is queued in Slurm is unknown: squeue did not answer"


def test_what_is_sent_again_is_what_was_recorded_last(runs, tmp_path):
    first, second = runs("seeds=0-2"), runs("seeds=1", "ppo.clip_range=0.3")
    one = sent(first, tmp_path, [[0, 2], [1]])
    sent(second, tmp_path, [[1]])
    found = {tuple(point.config.seeds): point.config.ppo.clip_range for point in unfinished_points(tmp_path)}
    assert found == {(0, 2): 0.2, (1,): 0.3}
    found = {tuple(point.config.seeds): point.config.ppo.clip_range for point in unfinished_points(tmp_path, [one.id])}
    assert found == {(0, 1, 2): 0.2}
    with pytest.raises(ConfigError, match=f"no submission nonsense below .*; there are: {one.id}, "):
        unfinished_points(tmp_path, ["nonsense"])


def test_hours_and_waves(runs, queue, tmp_path):
    # 4 seeds of 20480 steps in 4 jobs, two at once, at 1 step a second: 5.7 h each, 11.4 h in all
    words = ["cluster=local", "cluster.array_parallelism=2", "cluster.steps_per_second=1"]
    plan = make_plan(runs("seeds=0-3"), load_profile(words), tmp_path)
    told = table(plan, load_profile(words), tmp_path)
    assert "4 jobs of 1 process x 1 seed (4 runs), 2 at once" in told
    assert "5.7 h for the longest job; 11.4 h for all" in told


def test_a_job_longer_than_its_limit_is_requeued(runs, queue, tmp_path):
    words = ["cluster=cpu", "cluster.time_hours=2", "cluster.steps_per_second=1"]
    told = table(make_plan(runs("seeds=0"), load_profile(words), tmp_path), load_profile(words), tmp_path)
    # 5.7 hours are three stretches of two: two requeues
    assert "requeued 2 times at its limit of 2 h" in told


def test_unknown_rates_are_said_to_be_unknown(runs, queue, tmp_path):
    plan = make_plan(runs("seeds=0"), load_profile(["cluster=gpu"]), tmp_path)
    assert plan.hours is None and "unknown: no earlier run" in table(plan, load_profile(["cluster=gpu"]), tmp_path)


def test_a_runs_rate_is_that_of_its_last_updates_on_that_device(tmp_path):
    rows = [{"event": "stretch", "global_step": 0, "versions": {"device": "cpu"}}]
    rows += [{"global_step": 2048 * u, "update": u, "collect_s": 1.0, "learn_s": 0.5, "observe_s": 0.5} for u in (1, 2)]
    (tmp_path / "timing.jsonl").write_text("".join(json.dumps({"format": 1, **row}) + "\n" for row in rows))
    assert run_rate(tmp_path, "cpu") == 1024.0  # 2048 steps in 2 s
    assert run_rate(tmp_path, "cuda:0") is None
    assert run_rate(tmp_path / "nothing", "cpu") is None


def test_disk_is_mostly_units_and_snapshots():
    # 48,828 updates x 7 fields x 512 units x 2 bytes = 350 MB; 101 x 873 kB = 88 MB; rows 120 MB; firing 104 MB
    assert disk_bytes(compose(["env=ant"])) == pytest.approx(350e6 + 88e6 + 120e6 + 104e6, rel=0.03)
    fewer = compose(["env=ant", "monitor.units=false", "snapshots=0"])
    assert disk_bytes(fewer) == pytest.approx(120e6 + 104e6, rel=0.05)
