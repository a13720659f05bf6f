"""`python -m lop.cancel` ends what was sent from a runs folder, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from lop.cancel import main
from lop.cluster import local
from lop.cluster.record import JobPlan, Process, Submission, new_submission
from lop.run.owner import process_space, process_start


def submission(runs_dir, kind: str, names: list[str]) -> Submission:
    plans = [JobPlan(i, [Process({"seeds": [0], "total_steps": 10}, [name])]) for i, name in enumerate(names)]
    return new_submission(runs_dir, kind, [], {}, plans)


@pytest.fixture
def on_slurm(slurm, monkeypatch):
    """Sends a submission whose jobs sleep; returns it with its ids."""
    for key, value in slurm.env.items():
        monkeypatch.setenv(key, value)

    def send(runs_dir, names: list[str], noted: bool = True) -> Submission:
        sent = submission(runs_dir, "slurm", names)
        array = f"--array=0-{len(names) - 1}%2"
        name = f"--job-name={sent.job_name}"
        job = slurm("sbatch", "--parsable", array, name, "-o", "/dev/null", "--wrap", "sleep 100")
        # a submitter that dies between sending and noting leaves no ids
        sent = sent.sent(job, [f"{job}_{i}" for i in range(len(names))]) if noted else sent
        sent.write()
        return sent

    return send


def queued(slurm, sent: Submission) -> int:
    return len(slurm("squeue", "-h", "-r", "-n", sent.job_name, "-t", "PD,R").splitlines())


def test_slurm_jobs_of_the_folder_are_ended_and_others_live(on_slurm, slurm, tmp_path, capsys, until):
    mine = on_slurm(tmp_path / "runs", ["ant/cbp/seed_0", "ant/cbp/seed_1", "ant/std/seed_0"])
    lost = on_slurm(tmp_path / "runs", ["ant/l2/seed_0", "ant/l2/seed_1"], noted=False)
    other = on_slurm(tmp_path / "others", ["ant/cbp/seed_0", "ant/cbp/seed_1"])
    runs = str(tmp_path / "runs")

    assert main([runs, "--dry-run"]) == 0
    assert "5 jobs would be ended" in capsys.readouterr().out
    assert main([runs, mine.id, "--match", "ant/std"]) == 0
    assert "asked 1 job to end" in capsys.readouterr().out
    until(lambda: queued(slurm, mine) == 2)
    assert main([runs]) == 0
    assert "asked 4 jobs to end" in capsys.readouterr().out
    until(lambda: queued(slurm, mine) == queued(slurm, lost) == 0)
    assert queued(slurm, other) == 2
    assert main([runs]) == 0
    assert "asked 0 jobs to end" in capsys.readouterr().out
    assert main([str(tmp_path / "others")]) == 0


@pytest.fixture
def sleepers():
    """Processes to end, and a note of them in the words of local.json."""
    running = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) for _ in range(3)]
    yield running
    for process in running:
        process.kill()
        process.wait()


def note(sent: Submission, supervisor, jobs: list[dict], space: str | None = None) -> None:
    me = {"pid": supervisor.pid, "process_start": process_start(supervisor.pid)}
    content = {"format": 1, **me, "process_space": space or process_space()}
    content["jobs"] = {str(i): job for i, job in enumerate(jobs)}
    (sent.folder / local.LOCAL_JSON).write_text(json.dumps(content))


def entry(process, start_off: int = 0) -> dict:
    return {"state": "running", "pid": process.pid, "process_start": process_start(process.pid) + start_off}


def test_local_jobs_are_ended_through_their_supervisor(sleepers, tmp_path, capsys):
    supervisor, first, bystander = sleepers
    sent = submission(tmp_path, "local", ["a/b/seed_0", "a/b/seed_1", "a/b/seed_2"])
    sent.write()
    note(sent, supervisor, [entry(first), {"state": "queued", "pid": None}, {"state": "ended", "exit_code": 0}])
    assert main([str(tmp_path)]) == 0
    assert "asked 2 jobs to end" in capsys.readouterr().out
    assert supervisor.wait(10) == -15
    assert first.poll() is None and bystander.poll() is None


def test_some_local_jobs_are_ended_by_themselves_and_waiting_ones_cannot_be(sleepers, tmp_path, capsys):
    supervisor, first, second = sleepers
    sent = submission(tmp_path, "local", ["a/b/seed_0", "a/b/seed_1", "a/b/seed_2"])
    sent.write()
    note(sent, supervisor, [entry(first), entry(second), {"state": "queued", "pid": None}])
    assert main([str(tmp_path), "--match", "a/b/seed_0"]) == 0
    assert first.wait(10) == -15 and second.poll() is None and supervisor.poll() is None
    assert main([str(tmp_path), "--match", "a/b/seed_2"]) == 1
    assert "can only be ended with all jobs" in capsys.readouterr().err


def test_a_pid_that_somebody_else_has_now_is_left_alone(sleepers, tmp_path):
    supervisor, first, _ = sleepers
    sent = submission(tmp_path, "local", ["a/b/seed_0"])
    sent.write()
    note(sent, supervisor, [entry(first, start_off=1)])
    supervisor.kill()
    supervisor.wait()
    assert main([str(tmp_path)]) == 0
    time.sleep(0.2)
    assert first.poll() is None


def test_processes_of_another_machine_are_left_to_it(sleepers, tmp_path, capsys):
    supervisor, first, _ = sleepers
    sent = submission(tmp_path, "local", ["a/b/seed_0"])
    sent.write()
    note(sent, supervisor, [entry(first)], space="another boot")
    assert main([str(tmp_path)]) == 1
    assert "cancel it there" in capsys.readouterr().err
    assert supervisor.poll() is None and first.poll() is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/nowhere/at/all"], "there is no such folder"),
        ([os.curdir, "2026"], "2026: no such submission in .; the last ones are: none"),
        (["--shiny"], "unrecognized arguments"),
    ],
)
def test_wrong_words_get_one_line(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert code == 2 and told in err and err.count("\n") == 1


def test_without_slurm_it_says_so_and_fails(tmp_path, monkeypatch, capsys):
    submission(tmp_path, "slurm", ["a/b/seed_0"]).write()
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([str(tmp_path)]) == 1
    assert "Slurm is not installed here" in capsys.readouterr().err
