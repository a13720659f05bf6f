"""The state of a run, case by case, and of a whole folder of runs."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from lop.cluster import survey as module
from lop.cluster.judge import judge
from lop.cluster.queue import Queue, QueuedJob
from lop.cluster.record import JobPlan, Process, new_submission
from lop.cluster.standing import Standing
from lop.cluster.survey import find, look
from lop.run.files import RunError
from lop.run.owner import claim, read_owner
from lop.run.store import RunStore

NOW = 2_000_000_000.0


def job(state: str, restarts: int = 0, **more) -> QueuedJob:
    return QueuedJob("7_0", "8", "lop-x", state, restarts=restarts, **more)


def standing(status: str | None = None, alive: bool = False, message: str = "", restarts: int = 0, **more) -> Standing:
    """status: of owner.json, None for none; its job is number 8."""
    owner = None
    if status:
        owner = {"status": status, "message": message, "host": "node1", "pid": 4711, "process_start": 1}
        # processes of another machine are judged by their heartbeat
        owner |= {"process_space": "elsewhere", "heartbeat": NOW - (10 if alive else 5000), "since": NOW - 6000}
        owner |= {"slurm_job": "8", "slurm_restarts": restarts}
    return Standing(Path("runs/x"), exists=True, owner=owner, changed=NOW - 20, **more)


CASES = {
    "it was sent and waits": (standing(), job("PENDING", reason="Priority"), "queued", ""),
    "it is held": (standing(), job("PENDING", reason="JobHeldUser"), "queued", "JobHeldUser"),
    "its job has begun": (standing(), job("RUNNING"), "starting", ""),
    "its job is being set up": (standing(), job("CONFIGURING"), "starting", "configuring"),
    "it trains": (standing("running", alive=True), job("RUNNING"), "running", ""),
    "it trains and nobody can be asked": (standing("running", alive=True), None, "running", ""),
    "it trains while a twin waits": (standing("running", alive=True), job("PENDING"), "running", ""),
    "it was stopped and waits again": (
        standing("stopped", message="SIGUSR2"),
        job("PENDING", restarts=1, reason="BeginTime"),
        "preempted",
        "stopped by SIGUSR2, waits to go on",
    ),
    "accounting says why": (
        standing("stopped", message="SIGTERM"),
        job("PENDING", restarts=1, before="PREEMPTED"),
        "preempted",
        "preempted, waits to go on",
    ),
    "its node died": (
        standing("running"),
        job("PENDING", 1, before="NODE_FAIL"),
        "preempted",
        "its node failed, waits to go on",
    ),
    "it was killed and waits": (standing("running"), job("PENDING", 1), "preempted", "interrupted, waits to go on"),
    "it was stopped by hand and sent again": (
        standing("stopped", message="SIGINT"),
        QueuedJob("9_0", "10", "lop-y", "PENDING", restarts=0),
        "queued",
        "",
    ),
    "its job has started again": (standing("stopped", message="SIGTERM"), job("RUNNING", restarts=1), "starting", ""),
    "its worker died while its job runs": (
        standing("running", restarts=1),
        job("RUNNING", restarts=1),
        "dead",
        "pid 4711 on node1 is gone",
    ),
    "it failed and its companions go on": (
        standing("failed", message="disk\nfull"),
        job("RUNNING"),
        "failed",
        "disk full",
    ),
    "it failed": (standing("failed", message="no memory"), job("FAILED"), "failed", "no memory"),
    "it was cancelled": (
        standing("stopped", message="SIGTERM"),
        job("CANCELLED"),
        "stopped",
        "by SIGTERM; Slurm: cancelled",
    ),
    "it was killed": (
        standing("running"),
        job("OUT_OF_MEMORY"),
        "dead",
        "pid 4711 on node1 is gone; Slurm: out_of_memory",
    ),
    "it was killed and Slurm has forgotten": (standing("running"), None, "dead", "pid 4711 on node1 is gone"),
    "cancelled before it began": (standing(), job("CANCELLED"), "stopped", "cancelled before it began"),
    "its job could not begin": (standing(), job("NODE_FAIL"), "failed", "its job ended before it began (node_fail)"),
    "its job has vanished": (
        standing(),
        None,
        "missing",
        "its job is gone and left nothing: cancelled while it waited?",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_state_is_right_when(case):
    files, queued, state, note = CASES[case]
    assert judge(files, queued, finished=False, sent=True, asked=True, now=NOW) == (state, note)


def test_a_finished_run_is_finished_whatever_the_queue_says():
    for status in ("finished", "stopped", "running"):
        assert judge(standing(status), job("FAILED"), finished=True, sent=True, asked=True, now=NOW)[0] == "finished"


def test_what_cannot_be_asked_about_is_not_called_missing():
    assert judge(standing(), None, finished=False, sent=True, asked=False, now=NOW)[0] == "queued"
    assert judge(standing(), None, finished=False, sent=False, asked=False, now=NOW)[0] == "missing"


def test_a_silent_or_stuck_process_is_stale():
    files = standing("running", alive=True)
    files.owner["heartbeat"] = NOW - 200
    assert judge(files, None, finished=False, sent=False, asked=True, now=NOW) == ("stale", "no heartbeat for 200 s")
    files.owner["heartbeat"], files.changed = NOW - 10, NOW - 1000
    assert judge(files, None, finished=False, sent=False, asked=True, now=NOW) == ("stale", "no update for 1000 s")
    # updates of 100 s are no cause for alarm after ten of them
    files.steps_per_update, files.steps_per_s = 2000, 20.0
    assert judge(files, None, finished=False, sent=False, asked=True, now=NOW) == ("running", "")


def test_a_local_job_is_known_by_the_time_it_was_sent():
    files = standing("stopped", message="SIGTERM")
    files.owner["slurm_job"] = None
    local = QueuedJob("local-x_0", "", "lop-x", "RUNNING", since=NOW - 100)
    assert judge(files, local, finished=False, sent=True, asked=True, now=NOW)[0] == "starting"
    files.owner["since"] = NOW - 50
    assert judge(files, local, finished=False, sent=True, asked=True, now=NOW)[0] == "stopped"


def config(seeds: list[int], total_steps: int = 1000) -> dict:
    return {"seeds": seeds, "total_steps": total_steps, "ppo": {"steps_per_update": 100}}


def make_run(folder: Path, updates: int, status: str, total_steps: int = 1000, message: str = "") -> None:
    """A run of updates of 100 steps, by a process that has ended."""
    owner = claim(folder)
    store = RunStore(folder, layers=[3], info={"configuration": config([0], total_steps)}, fence=owner.check)
    for update in range(updates):
        store.append_metrics({"global_step": 100 * (update + 1), "update": update, "return": 5.0})
        store.append_timing({"collect_s": 0.5, "learn_s": 0.4, "observe_s": 0.1})
    if updates:
        store.save_checkpoint({"w": np.ones(3)}, {"update": updates, "global_step": 100 * updates})
    store.close()
    owner.release(status, message)


def test_a_folder_of_runs_is_put_together_with_its_submissions(tmp_path, monkeypatch):
    make_run(tmp_path / "ant/cbp/seed_0", 10, "finished")
    make_run(tmp_path / "ant/cbp/seed_1", 4, "stopped", message="SIGUSR2")
    make_run(tmp_path / "by/hand/seed_3", 7, "failed", message="boom")
    runs = [f"ant/cbp/seed_{seed}" for seed in range(3)]
    jobs = [JobPlan(i, [Process(config([i]), [run])]) for i, run in enumerate(runs)]
    sent = new_submission(tmp_path, "slurm", ["env=ant"], {}, jobs).sent("7", ["7_0", "7_1", "7_2"])
    sent.write()
    (tmp_path / ".submissions" / "foreign").mkdir()
    (tmp_path / ".submissions" / "foreign" / "submission.json").write_text('{"format": 1, "jo')
    asked = {}

    def answer(names, wanted, since):
        asked.update(names=set(names), wanted=list(wanted))
        found = [QueuedJob("7_1", "9", sent.job_name, "PENDING", restarts=1, reason="BeginTime")]
        return Queue({j.id: j for j in [*found, QueuedJob("7_2", "7", sent.job_name, "PENDING", reason="Resources")]})

    monkeypatch.setattr(module, "read_queue", answer)
    survey = look(tmp_path)
    assert [(run.run, run.state) for run in survey.runs] == [
        ("ant/cbp/seed_0", "finished"),
        ("ant/cbp/seed_1", "preempted"),
        ("ant/cbp/seed_2", "queued"),
        ("by/hand/seed_3", "failed"),
    ]
    # nobody asks accounting about what is finished
    assert asked == {"names": {sent.job_name}, "wanted": ["7_1", "7_2"]}
    totals = survey.totals()
    assert (totals["step"], totals["total_steps"]) == (1000 + 400 + 0 + 700, 4000)
    assert totals["states"] == {"queued": 1, "preempted": 1, "finished": 1, "failed": 1}
    assert survey.runs[3].note == "boom" and survey.runs[1].submission == sent.id
    assert json.loads(json.dumps(survey.runs[2].as_json(), allow_nan=False))["last_return"] is None


def test_a_run_that_works_has_a_rate_and_an_end(tmp_path, monkeypatch):
    folder = tmp_path / "ant/std/seed_0"
    make_run(folder, 4, "stopped")
    owner = claim(folder)
    (run,) = look(tmp_path).runs
    assert (run.state, run.steps_per_s, run.eta_s) == ("running", pytest.approx(100), pytest.approx(6))
    assert run.job == f"pid {os.getpid()}" and read_owner(folder)["status"] == "running"
    owner.release("stopped")
    assert math.isnan(look(tmp_path).runs[0].eta_s)


def test_a_longer_second_submission_sets_the_aim(tmp_path, monkeypatch):
    make_run(tmp_path / "a/b/seed_0", 10, "finished")
    assert look(tmp_path).runs[0].state == "finished"
    longer = new_submission(tmp_path, "slurm", [], {}, [JobPlan(0, [Process(config([0], 2000), ["a/b/seed_0"])])])
    longer.sent("9", ["9_0"]).write()
    monkeypatch.setattr(module, "read_queue", lambda *_: Queue())
    (run,) = look(tmp_path).runs
    assert (run.state, run.total_steps) == ("stopped", 2000)


def test_a_run_extended_by_hand_is_finished_when_its_owner_says_so(tmp_path):
    make_run(tmp_path / "a/b/seed_0", 15, "finished")
    make_run(tmp_path / "a/b/seed_1", 15, "stopped")
    assert [run.state for run in look(tmp_path).runs] == ["finished", "stopped"]


def test_a_job_is_found_by_name_if_its_id_was_never_noted(tmp_path):
    plans = [JobPlan(i, []) for i in range(12)]
    submission = new_submission(tmp_path, "slurm", [], {}, plans)
    queue = Queue({f"7_{i}": QueuedJob(f"7_{i}", "7", submission.job_name, "PENDING") for i in range(12)})
    assert find(submission, plans[1], queue).id == "7_1" and find(submission, plans[11], queue).id == "7_11"
    alone = new_submission(tmp_path, "slurm", [], {}, plans[:1])
    queue = Queue({"8": QueuedJob("8", "8", alone.job_name, "PENDING"), "9": QueuedJob("9", "9", "other", "PENDING")})
    assert find(alone, plans[0], queue).id == "8"
    assert find(submission, plans[0], queue) is None


def test_no_folder_is_one_line(tmp_path):
    with pytest.raises(RunError, match="there is no such folder"):
        look(tmp_path / "none")
    assert look(tmp_path).runs == []
