"""`python -m lop.submit` on a real Slurm: arrays, GPUs, refusals, and jobs that run what was submitted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from small_runs import small

from lop.cluster import slurm as asking
from lop.cluster.record import Submission, read_submissions
from lop.run import config as configuration
from lop.run.checkpoint import load_checkpoint
from lop.run.files import RunError
from lop.run.owner import read_owner
from lop.submit import main

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "submit_all_sant.sh"
QUICK = Path(__file__).parent / "quick_trainer"
SMALL = small("snapshots=2", "checkpoint_every_steps=128", "device=cpu", "total_steps=256")
PROFILE = """
defaults: [gpu, _self_]
cores_per_job: 1
memory_gb: 2
time_hours: 1
seeds_per_process: 4
steps_per_second: 100
"""


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "profile.yaml"
    path.write_text(PROFILE)
    return f"cluster={path}"


@pytest.fixture
def submit(slurm, tmp_path, monkeypatch, capsys):
    """submit(words) -> exit code, stdout, stderr; on the private cluster."""
    for key in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(key, slurm.env[key])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def run(*words: str):
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


def ended(slurm, submission) -> bool:
    return not slurm("squeue", "-h", "-r", f"--name={submission.job_name}")


def log(submission, job_id: str) -> str:
    return (submission.folder / f"{job_id}_0_log.out").read_text()


def test_five_variants_finish_on_gpus_of_their_own_and_a_second_call_submits_nothing(slurm, tmp_path, profile, until):
    environment = {**slurm.env, "SEEDS": "0-3", "PROFILE": profile.partition("=")[2], "PYTHON": sys.executable}

    def script(**more: str) -> str:
        command = [SCRIPT, *SMALL]
        done = subprocess.run(command, env=environment | more, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before = slurm("squeue", "-h", "-r", "-t", "all", "-o", "%i")
    out = script(DRY_RUN="1", SEEDS="0-29")
    # 30 seeds by fours are 8 populations, of 4 and of 3
    assert "30 jobs of 1 process x 4 seeds, 10 jobs of 1 process x 3 seeds (150 runs)" in out
    assert "1 core, 1 GPU, 2 GB, 1 h" in out and "(100 steps/s a seed from the profile)" in out and "note" not in out
    assert slurm("squeue", "-h", "-r", "-t", "all", "-o", "%i") == before and not (tmp_path / "runs").exists()

    out = script()
    assert "5 jobs of 1 process x 4 seeds (20 runs)" in out
    (submission,) = read_submissions(tmp_path / "runs")
    assert len(slurm("squeue", "-h", "-r", f"--name={submission.job_name}").splitlines()) == 5
    assert "nothing was submitted" in script()
    until(lambda: ended(slurm, submission), 240, "the five jobs end")

    for run in submission.runs:
        assert load_checkpoint(tmp_path / "runs" / run).meta["global_step"] == 256, run
    gpus = [re.search(r"CUDA_VISIBLE_DEVICES=(\S+)", log(submission, job.job_id))[1] for job in submission.jobs]
    assert len(set(gpus)) == 5 and all(gpu in "01234567" for gpu in gpus)
    assert len(read_submissions(tmp_path / "runs")) == 1


def test_of_a_hundred_jobs_the_poisoned_ones_fail_alone_and_are_named(submit, slurm, tmp_path, profile, until):
    rates = ",".join(f"{n}e-4" for n in range(1, 10))
    words = [*SMALL, f"ppo.learning_rate={rates},2.0", "name=r${ppo.learning_rate}", "seeds=0-9", profile]
    # one GPU a job would let no more than eight run anyway
    words += ["cluster.gpus_per_job=0", "cluster.seeds_per_job=1", "cluster.array_parallelism=8"]
    code, out, err = submit(*words, f"cluster.environment.PYTHONPATH={QUICK}")
    assert code == 0 and "100 jobs of 1 process x 1 seed (100 runs), 8 at once" in out, err
    (submission,) = read_submissions(tmp_path / "runs")
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, len(slurm("squeue", "-h", "-r", "-t", "R", f"--name={submission.job_name}").splitlines()))
        return ended(slurm, submission)

    until(all_ended, 400, "a hundred jobs end")
    assert 1 < most <= 8
    lines = slurm("squeue", "-h", "-r", "-t", "all", f"--name={submission.job_name}", "-o", "%i %T").splitlines()
    states = dict(line.split() for line in lines)
    assert len(states) == 100
    for job in submission.jobs:
        (run,) = job.runs
        poisoned = "-r2.0/" in run
        assert states[job.job_id] == ("FAILED" if poisoned else "COMPLETED"), run
        if poisoned:
            said = (submission.folder / f"{job.job_id}_0_log.err").read_text()
            assert f"1 of 1 runs failed: {run}: its weights are no longer finite" in said
        else:
            assert read_owner(tmp_path / "runs" / run)["status"] == "finished"


def test_a_job_that_waited_runs_what_was_submitted(submit, slurm, tmp_path, profile, until, monkeypatch):
    # a cfg/ of our own, so that nobody else meets the edit
    copy = shutil.copytree(configuration.config_dir(), tmp_path / "cfg")
    text = (copy / "train.yaml").read_text()
    monkeypatch.setattr(configuration, "config_dir", lambda: copy)
    (copy / "train.yaml").write_text(text.replace("clip_range: 0.2", "clip_range: 0.15"))
    code, _, err = submit(*SMALL, profile, "cluster.extra.hold=true")
    assert code == 0, err
    (submission,) = read_submissions(tmp_path / "runs")
    (copy / "train.yaml").write_text(text.replace("clip_range: 0.2", "clip_range: 0.25"))
    assert slurm.state(submission.jobs[0].job_id) == "PENDING"
    slurm("scontrol", "release", submission.jobs[0].job_id)
    until(lambda: ended(slurm, submission), 120, "the job ends")
    run = tmp_path / "runs" / "ant/std/seed_0"
    assert json.loads((run / "run.json").read_text())["configuration"]["ppo"]["clip_range"] == 0.15
    assert read_owner(run)["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gpus_per_job=9", "cores_per_job=9"], "nodes of this cluster have at most 8 GPUs"),
        (["partition=nowhere"], "cluster.partition=nowhere: no such partition; there are gpu"),
        (["cores_per_job=1000"], "Slurm refuses: Requested node configuration is not available (asked were 1000 cores"),
        (["memory_gb=100000"], "Slurm refuses: Requested node configuration is not available"),
        (["constraint=quantum"], "Slurm refuses: Invalid feature specification"),
        (["extra.nonsense=1"], "Slurm refuses: unrecognized option '--nonsense=1'"),
        (["seeds_per_process=1"], "2000 jobs: this Slurm allows arrays of 1000"),
    ],
)
def test_what_slurm_could_never_run_is_one_line_and_nothing_is_sent(words, told, submit, slurm, tmp_path, profile):
    before = slurm("squeue", "-h", "-r", "-t", "all", "-o", "%i")
    seeds = "seeds=0-1999" if "2000 jobs" in told else "seeds=0-3"
    code, out, err = submit(*SMALL, seeds, profile, *[f"cluster.{word}" for word in words])
    assert code == 1 and out == ""
    assert re.fullmatch(r"error: [^\n]+\n", err) and told in err
    assert slurm("squeue", "-h", "-r", "-t", "all", "-o", "%i") == before
    assert not (tmp_path / "runs").exists()


def test_what_only_sbatch_refuses_leaves_nothing_either(submit, slurm, tmp_path, profile, monkeypatch):
    monkeypatch.setattr(asking, "check", lambda *_: None)
    code, _, err = submit(*SMALL, "seeds=0-7", profile, "cluster.gpus_per_job=9", "cluster.cores_per_job=9")
    assert code == 1
    assert re.fullmatch(r"error: Slurm refuses: Requested node configuration is not available [^\n]+\n", err)
    assert not (tmp_path / "runs").exists()


def test_jobs_whose_ids_could_not_be_noted_are_taken_back(submit, slurm, tmp_path, profile, monkeypatch):
    def full(self) -> None:
        if self.array_job_id:
            raise RunError("cannot write: No space left on device")
        self.folder.mkdir(parents=True)

    monkeypatch.setattr(Submission, "write", full)
    code, _, err = submit(*SMALL, profile, "cluster.extra.hold=true")
    assert (code, err) == (1, "error: cannot write: No space left on device\n")
    assert not (tmp_path / "runs").exists()
    assert not slurm("squeue", "-h", "-r", "-t", "PD")


def test_a_controller_that_is_down_is_one_line(submit, slurm, tmp_path, profile, monkeypatch):
    text = (slurm.root / "etc/slurm.conf").read_text()
    dead = tmp_path / "slurm.conf"
    # nobody listens on port 1
    dead.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", text))
    monkeypatch.setenv("SLURM_CONF", str(dead))
    code, out, err = submit(*SMALL, profile)
    assert (code, out) == (1, "")
    assert err == "error: the Slurm controller does not answer; try again when `sinfo` works\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "sbatch: sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            "Slurm refuses: Invalid account or account/partition combination specified (no cluster.account given",
        ),
        ("sbatch: allocation failure: Invalid qos specification", "Invalid qos specification (cluster.qos=None)"),
    ],
)
def test_accounts_and_qos_are_explained(said, told, profile):
    from lop.cluster.profile import load_profile

    assert told in asking.explained(said, load_profile([profile]))


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [("gpu:8", 8), ("gpu:a100:4(S:0-1)", 4), ("gpu:a:2,gpu:b:1", 3), ("(null)", 0), ("gpu:8(S:0),nvme:2", 8)],
)
def test_gpus_of_a_node(gres, gpus):
    assert asking.gpus_of(gres) == gpus
