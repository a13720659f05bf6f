"""What a job makes of its workers' ends: results, requeues, failures by name, and its share of the machine."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess

import pytest

from lop.cluster import job as jobs
from lop.cluster.job import Job, RunsFailed, failures, granted_cores, threads_for
from lop.run.owner import claim

PLAIN = {"config": {"seeds": [0, 1], "num_envs": 1, "threads": 1}, "runs": ["ant/std/seed_0", "ant/std/seed_1"]}


class FakeCrew:
    """Ends at once, as told."""

    codes, asked = [0], []

    def __init__(self, orders, stop_within_s):
        type(self).orders = orders

    @property
    def stop(self):
        return self.asked[0] if self.asked else ""

    def work(self):
        return self.codes

    def listening(self):
        return contextlib.nullcontext()


@pytest.fixture
def crew(monkeypatch):
    monkeypatch.setattr(jobs, "Crew", FakeCrew)
    monkeypatch.setattr(jobs, "USER_SIGNAL_WAIT_S", 0.1)
    monkeypatch.setattr(jobs, "REQUEUE_RETRY_S", 0.0)

    def ending(codes, *asked):
        monkeypatch.setattr(FakeCrew, "codes", list(codes))
        monkeypatch.setattr(FakeCrew, "asked", list(asked))

    return ending


@pytest.fixture
def requeue():
    """submitit's handler of SIGUSR2, which requeues and ends the process."""
    calls = []

    def handler(number, frame):
        calls.append(number)
        if len(calls) < 3:
            raise subprocess.CalledProcessError(1, "scontrol")
        raise SystemExit(255)

    before = signal.signal(signal.SIGUSR2, handler)
    yield calls
    signal.signal(signal.SIGUSR2, before)


def test_a_job_whose_workers_finished_says_so(crew, tmp_path):
    crew([0])
    assert Job(str(tmp_path), [PLAIN])() == "2 runs finished"


def test_the_user_signal_requeues_also_when_the_controller_is_away_for_a_moment(crew, tmp_path, requeue):
    crew([75], "SIGTERM", "SIGUSR2")
    with pytest.raises(SystemExit) as ended:
        Job(str(tmp_path), [PLAIN])()
    assert (ended.value.code, len(requeue)) == (255, 3)


def test_a_plain_sigterm_leaves_requeueing_to_slurm(crew, tmp_path, requeue):
    crew([75], "SIGTERM")
    with pytest.raises(SystemExit) as ended:
        Job(str(tmp_path), [PLAIN])()
    assert (ended.value.code, requeue) == (75, [])


def test_a_job_that_was_done_when_the_signal_came_is_not_requeued(crew, tmp_path, requeue):
    crew([0], "SIGUSR2")
    assert Job(str(tmp_path), [PLAIN])() == "2 runs finished"
    assert requeue == []


def test_failed_runs_are_named_and_their_companions_are_not(crew, tmp_path):
    for seed, status in ((0, "finished"), (1, "failed")):
        claim(tmp_path / f"ant/std/seed_{seed}").release(status, "weights are no longer finite")
    crew([1])
    with pytest.raises(RunsFailed, match=r"^1 of 2 runs failed: ant/std/seed_1: weights are no longer finite$"):
        Job(str(tmp_path), [PLAIN])()


def test_a_process_that_left_no_word_is_named_by_its_end(tmp_path):
    found = failures(str(tmp_path), [PLAIN, PLAIN], [0, -9])
    assert found == [f"ant/std/seed_{seed}: its process: killed by SIGKILL" for seed in (0, 1)]


def test_a_job_is_plain_data_and_survives_its_pickle(tmp_path):
    job = Job(str(tmp_path), [PLAIN], scratch_dir="$TMPDIR")
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.checkpoint().function == job


def test_processes_share_cores_and_gpus(crew, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(jobs, "granted_cores", lambda otherwise: 6)
    crew([0, 0, 0])
    Job(str(tmp_path), [PLAIN] * 3)()
    assert [order.gpu for order in FakeCrew.orders] == ["4", "6", "4"]
    assert [order.config["threads"] for order in FakeCrew.orders] == [2, 2, 2]


@pytest.mark.parametrize(
    ("threads", "share", "seeds", "used"),
    [
        (1, 8, 4, 4),  # not more than environments
        (1, 2, 4, 2),
        (3, 8, 10, 3),  # a number above 1 is a limit
        (3, 2, 10, 2),
        (1, 0, 4, 1),  # more processes than cores
    ],
)
def test_threads_of_a_process(threads, share, seeds, used):
    assert threads_for({"threads": threads, "num_envs": 1, "seeds": list(range(seeds))}, share) == used


def test_cores_are_what_slurm_granted_and_the_kernel_allows(monkeypatch):
    monkeypatch.setattr(jobs.os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    assert (granted_cores(), granted_cores(2), granted_cores(16)) == (4, 2, 4)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    assert granted_cores(1) == 3
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert granted_cores() == 2
