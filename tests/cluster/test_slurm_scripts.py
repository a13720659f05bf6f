"""The development cluster: comes up, runs jobs with GPUs of their own, goes down, and says what it lacks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

SLURM = Path(__file__).resolve().parents[2] / "slurm"


def up(*words: str | Path, **knobs: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **knobs}
    return subprocess.run([SLURM / "slurm_up.sh", *words], env=environment, capture_output=True, text=True, timeout=60)


def test_concurrent_jobs_have_different_gpus(slurm, tmp_path, until):
    script = f"echo $CUDA_VISIBLE_DEVICES > {tmp_path}/$SLURM_ARRAY_TASK_ID; sleep 2"
    slurm("sbatch", "--array=0-2", "--gpus-per-node=2", "-o", "/dev/null", "--wrap", script)
    until(lambda: len(list(tmp_path.iterdir())) == 3 and all(p.read_text() for p in tmp_path.iterdir()))
    assert len({gpu for p in tmp_path.iterdir() for gpu in p.read_text().strip().split(",")}) == 6


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"PREEMPT": "2"}, "PREEMPT=2: 0, 1 or signal"),
        ({"ACCT": "yes"}, "ACCT=yes: none or dbd"),
        ({"PATH": "/usr/bin:/bin"}, "port "),
    ],
)
def test_wrong_requests_get_one_line_and_leave_nothing(slurm, knobs, told, tmp_path):
    root = Path("/tmp") / f"lop-never-{os.getpid()}"
    done = up(root, PORT0=str(slurm.options["PORT0"]), **knobs)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and told in done.stderr
    assert not root.exists()


def test_a_path_too_long_for_sockets_is_refused(tmp_path, slurm):
    done = up(tmp_path / ("x" * 60))
    assert done.returncode == 1 and "too long" in done.stderr


def test_missing_programs_are_named(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "readlink", "id", "uname", "sed", "env"):
        (tools / name).symlink_to(f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}")
    script = (SLURM / "slurm_up.sh").read_text().replace(":/usr/sbin:/sbin", "")
    done = subprocess.run(
        ["bash", "-s", "/tmp/x"], input=script, env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("error: munged is not installed")


def belonging(root: Path) -> list[str]:
    """Names of living processes that were started for a cluster."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            mentions = str(root).encode() in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            if mentions and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append((folder / "comm").read_text().strip())
    return found


def test_down_ends_jobs_and_daemons_and_leaves_other_clusters_alone(slurm, another_cluster, until):
    with another_cluster() as other:
        job = other("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "trap '' TERM; sleep 100")
        until(lambda: other.state(job) == "RUNNING")
        # a daemon that dies leaves its jobs behind, and `up` brings it back
        os.kill(other.pid("slurmd.gpu0"), signal.SIGKILL)
        other.up()
        assert other.state(job) == "RUNNING" and {"slurmctld", "slurmd", "munged"} <= set(belonging(other.root))
        os.kill(other.pid("slurmd.gpu0"), signal.SIGKILL)
    assert not other.root.exists()
    assert belonging(other.root) == []
    assert slurm("sinfo", "-h", "-o", "%T") != ""
