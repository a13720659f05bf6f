"""`python -m lop.submit` without Slurm: what it refuses, what it says, and the jobs that it runs on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import warnings
from pathlib import Path

import pytest
from small_runs import small

from lop.cluster.local import active_jobs, lives, read_local
from lop.cluster.plan import sent_before
from lop.cluster.record import read_submissions
from lop.run.checkpoint import load_checkpoint
from lop.run.owner import claim, read_owner
from lop.submit import main

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SMALL = small("env=ant", "snapshots=2", "checkpoint_every_steps=256")


@pytest.fixture
def submit(tmp_path, monkeypatch, capsys):
    """submit(words) -> exit code, stdout, stderr; where neither Slurm nor earlier runs are."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "bash", "sh"):
        (programs / name).symlink_to(next(p for p in ("/usr/bin", "/bin") if Path(p, name).exists()) + f"/{name}")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def run(*words: str):
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


def made(tmp_path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "bin")


def wait_for(condition, within_s=90.0):
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def supervised(submission) -> bool:
    state = read_local(submission.folder)
    return lives(state, state["process_space"])


def test_a_dry_run_of_the_paper_says_jobs_resources_hours_and_disk(submit, tmp_path):
    code, out, _ = submit("env=sant", "algo=std,ns,l2,cbp,redo", "seeds=0-29", "cluster=cpu", "dry_run=true")
    assert code == 0
    assert len(re.findall(r"^sant/\w+ +30 +20M +30  -$", out, re.MULTILINE)) == 5
    assert "10 jobs of 15 processes x 1 seed (150 runs)" in out
    assert "15 cores, 30 GB, 24 h" in out
    # 20 M steps at 1900 a second: 2.9 hours
    assert "2.9 h for the longest job (1,900 steps/s a seed from the profile)" in out
    assert re.search(r"^disk +\d+\.\d GB", out, re.MULTILINE)
    assert "note: Slurm is not on this machine (sbatch not found)" in out
    assert out.endswith("dry run: nothing was submitted\n")
    assert made(tmp_path) == []


@pytest.mark.parametrize("name", ["sant", "ant"])
def test_the_scripts_explain_themselves(name):
    told = subprocess.run([SCRIPTS / f"submit_all_{name}.sh", "--help"], capture_output=True, text=True).stdout
    assert all(word in told for word in ("DRY_RUN", "SEEDS", "PROFILE")) and "set -" not in told


def test_the_scripts_send_everything(tmp_path):
    name = "ant"
    environment = {**os.environ, "DRY_RUN": "1", "SEEDS": "0-3", "PROFILE": "local", "PYTHON": os.sys.executable}
    done = subprocess.run(
        [SCRIPTS / f"submit_all_{name}.sh", "total_steps=1e6"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\S+/\S+) +4 +1M +4", done.stdout, re.MULTILINE) == [
        f"{name}/{algo}" for algo in ("std", "ns", "l2", "cbp", "redo")
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ["cluster=gpu"],
            1,
            "Slurm is not on this machine (sbatch not found): submit from a login node, or use cluster=l",
        ),
        (["algo=std"], 2, "cluster=...: say where to"),
        (["cluster=gpuu"], 2, "no such profile"),
        (["cluster=local", "cluster.cores=2"], 2, "cluster.cores: no such setting"),
        (["cluster=local", "algo=std,sdt"], 2, "algo=sdt: algo=sdt: must be one of"),
        (["cluster=local", "runs_dir=file/runs"], 1, "file is not a folder"),
        (["cluster=local", "runs_dir=/proc/runs"], 1, "/proc/runs"),
        (["cluster=local", "runs_dir=a,b"], 2, "one folder for all runs"),
        (["cluster=local", "dry_run=maybe"], 2, "dry_run=maybe: must be true or false"),
        (["cluster=local", "--resubmitt"], 2, "no such option"),
        (["--resubmit"], 2, "nothing was ever submitted from"),
        (["--resubmit", "algo=std"], 2, "runs what was recorded"),
        (["cluster=cpu", "cluster.memory_gb=0.1"], 1, "one seed needs"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(words, code, told, submit, tmp_path):
    (tmp_path / "file").write_text("")
    given, out, err = submit(*words)
    assert given == code
    assert re.fullmatch(r"error: [^\n]+\n", err) and told in err
    assert out == ""
    assert made(tmp_path) == ["file"]


def test_help_names_the_profiles(submit):
    code, out, _ = submit("--help")
    assert code == 0
    assert "cpu, debug, gpu, local, preemptible" in out and "--resubmit" in out


def test_jobs_of_this_machine_from_the_first_to_the_last(submit, tmp_path):
    words = [*SMALL, "algo=std,cbp", "seeds=0-1", "cluster=local", "cluster.seeds_per_process=2", "total_steps=4096"]
    began = time.monotonic()
    code, out, _ = submit(*words)
    assert code == 0 and "2 jobs of 1 process x 2 seeds (4 runs)" in out
    (first,) = read_submissions("runs")
    assert f"python -m lop.cancel runs {first.id}" in out
    # it came back while the jobs were at work
    assert active_jobs(first.folder) == {0, 1} and time.monotonic() - began < 60
    assert sent_before(tmp_path / "runs").queued == set(first.runs)
    code, out, _ = submit(*words)
    assert code == 0 and "nothing was submitted" in out and len(read_submissions("runs")) == 1

    runs = [tmp_path / "runs" / run for run in first.runs]
    wait_for(lambda: all((run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size for run in runs))
    os.kill(read_local(first.folder)["pid"], signal.SIGTERM)
    wait_for(lambda: not supervised(first))
    assert [entry["exit_code"] for entry in read_local(first.folder)["jobs"].values()] == [75, 75]
    assert {read_owner(run)["status"] for run in runs} == {"stopped"}
    assert all(0 < load_checkpoint(run).meta["global_step"] < 4096 for run in runs)

    code, out, _ = submit("--resubmit")
    assert code == 0 and "(4 runs)" in out, out
    second = read_submissions("runs")[1]
    wait_for(lambda: not supervised(second))
    assert [entry["exit_code"] for entry in read_local(second.folder)["jobs"].values()] == [0, 0]
    assert {load_checkpoint(run).meta["global_step"] for run in runs} == {4096}
    code, out, _ = submit(*words)
    assert code == 0 and out.count("2 finished") == 2 and "nothing was submitted" in out
    # hours of what is to come are those of what has been
    _, out, _ = submit(*words[:-1], "total_steps=1e6", "dry_run=true")
    assert re.search(r"steps/s a seed measured in ant/std/seed_[01]\)", out)


def test_debug_runs_everything_here_and_fails_by_name(submit, tmp_path):
    words = [*SMALL, "ppo.learning_rate=1e-4,1e30", "name=r${ppo.learning_rate}", "cluster=debug", "total_steps=256"]
    code, _, err = submit(*words)
    assert code == 1
    assert "1 of 1 runs failed: ant/std-r1e+30/seed_0: seed 0: its weights are no longer finite" in err
    assert read_owner(tmp_path / "runs/ant/std-r0.0001/seed_0")["status"] == "finished"
    # the tag by which wandb finds the runs of a submission is no part of what was recorded
    (submission,) = read_submissions("runs")
    run = json.loads((tmp_path / "runs/ant/std-r0.0001/seed_0/run.json").read_text())
    assert run["configuration"]["wandb"]["tags"] == [submission.id]
    assert submission.jobs[0].processes[0].config["wandb"]["tags"] == []


def test_a_run_at_work_is_left_out_and_a_requeue_may_follow_resume_never(submit, tmp_path):
    other = claim(tmp_path / "runs/ant/std/seed_1")
    words = [*SMALL, "seeds=0-1", "cluster=debug", "total_steps=256", "resume=never"]
    code, out, _ = submit(*words)
    other.abandon()
    assert code == 0 and "1 running" in out
    (submission,) = read_submissions("runs")
    assert submission.runs == ["ant/std/seed_0"]
    assert submission.jobs[0].processes[0].config["resume"] == "auto"
    code, _, err = submit(*words)
    assert code == 2 and "resume=never" in err


def test_a_run_of_another_configuration_is_refused_before_anything_is_sent(submit):
    words = [*SMALL, "cluster=debug", "total_steps=256"]
    assert submit(*words)[0] == 0
    code, _, err = submit(*words, "ppo.clip_range=0.3", "seeds=0-1")
    assert code == 2 and "another configuration: ppo.clip_range: 0.2 before, 0.3 now" in err
    assert len(read_submissions("runs")) == 1
