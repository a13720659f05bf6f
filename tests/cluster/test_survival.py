"""Runs interrupted in every way that Slurm knows end complete, and byte for byte as if nobody had touched them.

All interruptions happen at the same time, on two real clusters: most of them wait for Slurm, and two cores have to do.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from small_runs import BUSY_CBP, assert_same_run, small

from lop.run.owner import process_start
from lop.submit import main as submit

SMALL = small(
    "env=ant", "monitor.ranks_every_steps=500", "checkpoint_every_steps=128", "algo=cbp", "total_steps=3072", *BUSY_CBP
)
PROFILE = """
defaults: [cpu, _self_]
cores_per_job: 1
memory_gb: 2
seeds_per_process: 1
time_hours: 1
signal_lead_s: 40
"""
BEGUN_ROWS = 3
PATIENCE_S = 300.0


class Site:
    """One cluster, its runs, and what a user does with them."""

    def __init__(self, cluster, folder: Path, until: Callable[..., None]) -> None:
        self.cluster, self.until, self.runs_dir = cluster, until, folder / "runs"
        self.profile = folder / "profile.yaml"
        self.profile.parent.mkdir(parents=True, exist_ok=True)
        self.profile.write_text(PROFILE)
        self.workers: list[tuple[int, int | None]] = []
        self.undisturbed = threading.Event()
        self.undisturbed.set()

    def environment(self, fsync_s: float = 0.15) -> dict[str, str]:
        """Of a user at this cluster, where disks are slow."""
        slow = {"PYTHONPATH": str(Path(__file__).parent / "slow_disk"), "LOP_TEST_FSYNC_S": str(fsync_s)}
        return {**self.cluster.env, **slow, "OMP_NUM_THREADS": "1"}

    def python(self, *words: str | Path) -> str:
        """What a command of lop prints."""
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, seeds: str, *more: str, fsync_s: float = 0.15) -> dict[int, str]:
        """Sends one job a seed; returns their ids. In this process, for the seconds that importing takes."""
        words = [*SMALL, f"runs_dir={self.runs_dir}", f"cluster={self.profile}", f"seeds={seeds}", *more]
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as told:
            for key, value in self.environment(fsync_s).items():
                patch.setenv(key, value)
            patch.setattr(warnings, "showwarning", warnings.showwarning)
            assert submit(words) == 0, told.getvalue()
        (submission,) = re.findall(r"^submitted ([\w-]+)", told.getvalue(), re.MULTILINE)
        jobs = json.loads((self.runs_dir / ".submissions" / submission / "submission.json").read_text())["jobs"]
        return {
            seed: job["job_id"] for job in jobs for process in job["processes"] for seed in process["config"]["seeds"]
        }

    def sbatch_array(self, seed: int) -> str:
        """Sends one seed with slurm/array.sbatch; returns its job's id."""
        script = Path(__file__).resolve().parents[2] / "slurm" / "array.sbatch"
        command = [
            "sbatch",
            "--parsable",
            f"--array={seed}",
            "-o",
            "/dev/null",
            script,
            *SMALL,
            f"runs_dir={self.runs_dir}",
        ]
        environment = self.environment() | {"PYTHON": sys.executable}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return f"{done.stdout.strip()}_{seed}"

    def folder(self, seed: int) -> Path:
        return self.runs_dir / "ant" / "cbp" / f"seed_{seed}"

    def owner(self, seed: int) -> dict:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.folder(seed) / "owner.json").read_text())
        return {}

    def begun(self, seed: int) -> int:
        """Waits until the run is well on its way and all daemons live; returns the pid of its worker."""
        self.writes(seed)
        assert self.undisturbed.wait(PATIENCE_S)
        return self.note_worker(seed)

    def writes(self, seed: int) -> None:
        metrics = self.folder(seed) / "metrics.jsonl"
        self.until(
            lambda: metrics.is_file() and metrics.read_bytes().count(b"\n") >= BEGUN_ROWS,
            PATIENCE_S,
            f"seed {seed} begins",
        )

    def note_worker(self, seed: int) -> int:
        owner = self.owner(seed)
        assert owner["status"] == "running", owner
        self.workers.append((owner["pid"], owner["process_start"]))
        return owner["pid"]

    def goes_on(self, seed: int, job: str) -> None:
        """Waits until the job has been started again and somebody else works on the run."""

        def again() -> bool:
            owner = self.owner(seed)
            return owner.get("slurm_restarts", 0) >= 1 and owner["status"] in ("running", "finished")

        self.until(again, PATIENCE_S, f"{job} starts again")

    def finished(self, seed: int) -> None:
        self.until(lambda: self.owner(seed).get("status") == "finished", PATIENCE_S, f"seed {seed} ends")

    def states(self) -> dict[int, str]:
        """lop.status's word for every seed."""
        survey = json.loads(self.python("lop.status", self.runs_dir, "--json"))
        assert survey["problems"] == []
        return {int(run["run"].rpartition("_")[2]): run["state"] for run in survey["runs"]}


def in_background(function: Callable[..., None], *arguments: object) -> Future:
    """Runs it in a thread that does not keep the tests from ending."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def ancestors(pid: int) -> Iterator[tuple[int, str]]:
    """pid and name of the parents of a process."""
    while pid > 1:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pid = int(fields[1])
        yield pid, Path(f"/proc/{pid}/comm").read_text().strip()


def requeue(site: Site, seed: int, job: str) -> None:
    site.begun(seed)
    site.cluster("scontrol", "requeue", job)
    site.goes_on(seed, job)


def user_signal(site: Site, seed: int, job: str) -> None:
    """What submitit's job._interrupt() sends, and Slurm ahead of a time limit."""
    site.begun(seed)
    site.cluster("scancel", "--signal=USR2", job)
    site.goes_on(seed, job)


def kill_worker(site: Site, seed: int, job: str) -> None:
    pid = site.begun(seed)
    os.kill(pid, signal.SIGKILL)
    site.until(lambda: site.owner(seed)["pid"] != pid, PATIENCE_S, "another worker")
    assert site.owner(seed)["slurm_restarts"] == 0


def kill_task(site: Site, seed: int, job: str) -> None:
    task, _ = next(ancestors(site.begun(seed)))
    os.kill(task, signal.SIGKILL)
    site.goes_on(seed, job)


def kill_stepd(site: Site, seed: int, job: str) -> None:
    stepd = next(pid for pid, name in ancestors(site.begun(seed)) if name == "slurmstepd")
    os.kill(stepd, signal.SIGKILL)
    # Slurm notices late, or not at all; until then the orphans work on, and may come to the end
    site.finished(seed)


def cancel_and_resubmit(site: Site, seed: int, job: str) -> None:
    pid = site.begun(seed)
    site.cluster("scancel", job)
    site.until(lambda: site.states()[seed] == "stopped", PATIENCE_S, "lop.status says that it stopped")
    site.python("lop.submit", "--resubmit", f"runs_dir={site.runs_dir}", f"cluster={site.profile}")
    site.until(lambda: site.owner(seed)["pid"] != pid, PATIENCE_S, "the run goes on")


def preempt(site: Site, seed: int, job: str) -> None:
    """The run's job holds all GPUs of a node, though it needs none; a job of `urgent` wants one."""
    site.begun(seed)
    node = site.cluster("squeue", "-h", "-r", "-j", job, "-o", "%N")
    urgent = site.cluster(
        "sbatch",
        "--parsable",
        "-p",
        "urgent",
        "-w",
        node,
        "--gpus=1",
        "--mem=100",
        "-o",
        "/dev/null",
        "--wrap",
        "sleep 2",
    )
    site.until(lambda: site.cluster.state(urgent) in ("RUNNING", "COMPLETED"), PATIENCE_S, "the urgent job runs")
    site.goes_on(seed, job)


def time_limit(site: Site, seed: int, job: str) -> None:
    site.begun(seed)
    site.goes_on(seed, job)


def node_down(site: Site, seed: int, job: str) -> None:
    """slurmd dies for good: Slurm starts the job on the other node, while the worker lives on here."""
    pid = site.begun(seed)
    assert site.cluster("squeue", "-h", "-r", "-j", job, "-o", "%N") == "gpu0"
    os.kill(site.cluster.pid("slurmd.gpu0"), signal.SIGKILL)
    site.until(lambda: site.cluster.state(job) == "PENDING", PATIENCE_S, "Slurm notices")
    site.cluster("scontrol", "update", f"JobId={job}", "ExcNodeList=")
    site.goes_on(seed, job)
    assert site.owner(seed)["pid"] != pid
    assert site.cluster("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%N") == "gpu1"


def plain_array(site: Site, seed: int, job: str) -> None:
    """slurm/array.sbatch, with the signal that Slurm sends it ahead of the time limit."""
    site.begun(seed)
    site.cluster("scancel", "--signal=USR2", "--batch", job)
    site.goes_on(seed, job)


def restart_slurmd(site: Site, seed: int, job: str) -> None:
    """The node's daemon dies and comes back: its jobs go on as if nothing had been."""
    # not while jobs begin or end: a slurmd that comes back to find a requeued job still there drains its node
    for other in (*range(len(TOGETHER)), 7, 11):
        site.writes(other)
    os.kill(site.cluster.pid("slurmd.gpu0"), signal.SIGKILL)
    site.cluster.up()
    site.undisturbed.set()
    pid = site.begun(seed)
    site.finished(seed)
    assert site.owner(seed)["pid"] == pid and site.owner(seed)["slurm_restarts"] == 0


@pytest.fixture(scope="module")
def one_node(slurm, tmp_path_factory, until):
    return Site(slurm, tmp_path_factory.mktemp("one"), until)


@pytest.fixture(scope="module")
def two_nodes(slurm_two_nodes, tmp_path_factory, until):
    return Site(slurm_two_nodes, tmp_path_factory.mktemp("two"), until)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Iterator[Callable[[int], Path]]:
    """The folders of the same runs by seed, trained together in one process that nobody disturbs."""
    runs = tmp_path_factory.mktemp("whole")
    command = [sys.executable, "-m", "lop.train", *SMALL, "seeds=0-11", f"runs_dir={runs}"]
    training = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def folder(seed: int) -> Path:
        assert training.wait(PATIENCE_S) == 0
        return runs / "ant" / "cbp" / f"seed_{seed}"

    yield folder
    training.kill()
    training.wait()


#: one submission, a job each
TOGETHER = (requeue, user_signal, kill_worker, kill_task, kill_stepd, cancel_and_resubmit, restart_slurmd)
#: each with a request of its own: name -> way, seed, words, seconds of one fsync
ALONE = {
    "preempt": (preempt, 7, ["cluster.extra.gpus=8"], 0.15),
    "preempt_with_signal": (preempt, 8, ["cluster.extra.gpus=8", "cluster.extra.nodelist=gpu1"], 0.15),
    "node_down": (node_down, 9, ["cluster.exclude=gpu1"], 0.3),
    "time_limit": (
        time_limit,
        10,
        ["cluster.time_hours=0.01667", "cluster.signal_lead_s=30", "cluster.extra.nodelist=gpu1"],
        0.3,
    ),
}
WAYS = [*(way.__name__ for way in TOGETHER), *ALONE, "plain_array"]


@pytest.fixture(scope="module")
def interrupted(one_node, two_nodes, uninterrupted) -> dict[str, tuple[Site, int, Future]]:
    """Way of interruption -> site, seed, and whether the run was interrupted and went on."""
    found = {}
    one_node.undisturbed.clear()
    for name, (way, seed, words, fsync_s) in ALONE.items():
        site = one_node if name == "preempt" else two_nodes
        job = site.submit(str(seed), *words, fsync_s=fsync_s)[seed]
        found[name] = site, seed, in_background(way, site, seed, job)
    array = one_node.sbatch_array(11)
    found["plain_array"] = one_node, 11, in_background(plain_array, one_node, 11, array)
    jobs = one_node.submit(f"0-{len(TOGETHER) - 1}")
    for seed, way in enumerate(TOGETHER):
        found[way.__name__] = one_node, seed, in_background(way, one_node, seed, jobs[seed])
    return found


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_run_ends_as_if_nobody_had_touched_it(way, interrupted, uninterrupted):
    site, seed, interruption = interrupted[way]
    interruption.result()
    site.finished(seed)
    assert_same_run(site.folder(seed), uninterrupted(seed))


def test_afterwards_no_job_is_lost_and_nobody_works_on_twice(interrupted):
    for site in {site for site, _, _ in interrupted.values()}:
        seeds = {seed for where, seed, _ in interrupted.values() if where is site}
        site.until(lambda site=site: site.cluster("squeue", "-h", "-n", "wrap") == "" and not active(site), PATIENCE_S)
        assert site.states() == dict.fromkeys(sorted(seeds), "finished")
        assert all(process_start(pid) != start for pid, start in site.workers)
        nothing = site.python(
            "lop.submit", *SMALL, f"runs_dir={site.runs_dir}", f"cluster={site.profile}", f"seeds={min(seeds)}"
        )
        assert "nothing" in nothing


def active(site: Site) -> str:
    return site.cluster("squeue", "-h", "-o", "%i %T %j")
