"""What Slurm says, from programs that answer as squeue and sacct do, or not at all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lop.cluster import queue as module
from lop.cluster.queue import COLUMNS, expand, parse_sacct, parse_squeue, read_queue

NAME = "lop-20260102-030405-ab12"


def line(
    job_id: str, raw: str, state: str, restarts: int = 0, nodes: str = "", name: str = NAME, reason: str = "None"
) -> str:
    values = (job_id, raw, state, str(restarts), nodes, name, reason)
    return "".join(value.ljust(width) for value, width in zip(values, COLUMNS.values(), strict=True))


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts a shell script of that name first on PATH; it notes each call in <name>.calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name: str, body: str) -> Path:
        path, calls = folder / name, tmp_path / f"{name}.calls"
        path.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{body}\n')
        path.chmod(0o755)
        return calls

    return make


def printing(*lines: str) -> str:
    return "cat <<'END'\n" + "\n".join(lines) + "\nEND"


def test_squeue_alone_is_asked_while_it_knows_every_job(programs):
    programs(
        "squeue", printing(line("7_0", "8", "RUNNING", nodes="gpu0"), line("7_1", "7", "PENDING", reason="Priority"))
    )
    sacct = programs("sacct", "exit 1")
    queue = read_queue([NAME], wanted=["7_0", "7_1"])
    assert queue.problem == "" and list(queue.jobs) == ["7_0", "7_1"]
    assert (queue.jobs["7_0"].raw_id, queue.jobs["7_0"].nodes, queue.jobs["7_0"].reason) == ("8", "gpu0", "")
    assert queue.jobs["7_1"].is_waiting and queue.jobs["7_1"].reason == "Priority"
    assert not sacct.exists()


def test_accounting_tells_of_jobs_that_squeue_has_forgotten_and_of_earlier_starts(programs):
    programs("squeue", printing(line("7_1", "9", "PENDING", restarts=1, reason="BeginTime")))
    programs(
        "sacct", printing(f"7_0|8|CANCELLED by 0|gpu0|{NAME}", f"7_1|9|PREEMPTED|gpu0|{NAME}", f"7_1|9|PENDING||{NAME}")
    )
    queue = read_queue([NAME], wanted=["7_0", "7_1"])
    assert queue.jobs["7_0"].state == "CANCELLED" and queue.jobs["7_0"].has_ended
    assert (queue.jobs["7_1"].state, queue.jobs["7_1"].before) == ("PENDING", "PREEMPTED")


def test_without_accounting_squeue_has_to_do(programs):
    programs("squeue", printing(line("7_1", "9", "PENDING")))
    programs("sacct", 'echo "Slurm accounting storage is disabled" >&2; exit 1')
    queue = read_queue([NAME], wanted=["7_0", "7_1"])
    assert list(queue.jobs) == ["7_1"] and queue.problem == ""


def test_a_silent_controller_is_one_line_and_accounting_still_answers(programs):
    programs("squeue", 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1')
    programs("sacct", printing(f"7_0|8|RUNNING|gpu0|{NAME}"))
    queue = read_queue([NAME], wanted=["7_0"])
    assert queue.problem.startswith("squeue: Unable to contact slurm controller") and "sacct" in queue.problem
    assert queue.jobs["7_0"].state == "RUNNING"


def test_a_program_that_hangs_is_not_waited_for(programs, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    programs("squeue", "exec sleep 30")
    began = time.monotonic()
    queue = read_queue([NAME])
    assert "did not answer" in queue.problem and time.monotonic() - began < 5


def test_no_slurm_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in read_queue([NAME]).problem
    assert read_queue([]).problem == ""


def test_jobs_of_another_name_are_not_ours_though_their_id_is(programs):
    programs("squeue", printing(line("7_0", "8", "RUNNING", name="someone-else"), "", "short line"))
    programs("sacct", printing("7_0|8|RUNNING|gpu0|someone-else", "torn|"))
    assert read_queue([NAME], wanted=["7_0"]).jobs == {}


def test_a_users_own_format_does_not_change_the_question(programs, monkeypatch):
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SQUEUE_STATES", "PD")
    programs("squeue", 'test -z "$SQUEUE_FORMAT$SQUEUE_STATES" || exit 3')
    assert read_queue([NAME]).problem == ""
    assert "SQUEUE_FORMAT" in os.environ


@pytest.mark.parametrize(
    ("job_ids", "expanded"),
    [
        ("7", ["7"]),
        ("7_3", ["7_3"]),
        ("7_[0-2,5%2]", ["7_0", "7_1", "7_2", "7_5"]),
        ("7_[0-6:3]", ["7_0", "7_3", "7_6"]),
        ("7_[0-]", ["7_[0-]"]),
    ],
)
def test_arrays_that_wait_in_one_piece_are_taken_apart(job_ids, expanded):
    assert expand(job_ids) == expanded


def test_columns_may_be_empty_and_names_may_hold_anything():
    (job,) = parse_squeue(line("7", "7", "COMPLETED", name="a | b  c") + "\n")
    assert job.name == "a | b  c" and job.has_ended and not job.is_waiting
    assert parse_sacct("7_[0-1]|7|PENDING|None assigned|a|b")["7_1"].name == "a|b"


def test_real_slurm_answers_as_expected(slurm, monkeypatch, until):
    for key, value in slurm.env.items():
        monkeypatch.setenv(key, value)
    held = slurm(
        "sbatch", "--parsable", "--hold", "--array=0-2", f"--job-name={NAME}", "-o", "/dev/null", "--wrap", "true"
    )
    other = slurm("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "true")
    jobs = read_queue([NAME]).jobs
    assert list(jobs) == [f"{held}_0", f"{held}_1", f"{held}_2"] and other not in jobs
    assert {job.reason for job in jobs.values()} == {"JobHeldUser"} and all(job.is_waiting for job in jobs.values())
    # a task that is cancelled before it began leaves no trace in squeue
    slurm("scancel", f"{held}_1")
    slurm("scontrol", "release", held)
    until(lambda: {job.state for job in read_queue([NAME]).jobs.values()} == {"COMPLETED"})
    jobs = read_queue([NAME]).jobs
    assert list(jobs) == [f"{held}_0", f"{held}_2"] and jobs[f"{held}_0"].restarts == 0
