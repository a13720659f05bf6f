"""Slurm, asked before anything is made, and then given one job array through submitit.

check(profile, num_jobs)             # RunError, one line, for what Slurm could never run
array_id, ids = send(submission, jobs)
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lop.cluster.job import Job
from lop.cluster.profile import Profile, describe, shell_setup
from lop.cluster.record import Submission
from lop.run.files import RunError
from lop.run.signals import EXIT_UNFINISHED

TIMEOUT_S = 30.0
MAX_KILLS = 3
#: what sbatch --test-only says of resources that exist and are not free, or not up, at the moment
PASSING = re.compile(r"busy|down|drained|reserved|temporarily", re.IGNORECASE)


def check(profile: Profile, num_jobs: int) -> None:
    """Whether Slurm is there and could run such jobs, as far as it can be told beforehand. Errors: RunError."""
    for program in ("sbatch", "srun"):
        if not shutil.which(program):
            raise RunError(
                f"Slurm is not on this machine ({program} not found): submit from a login node, or use cluster=local"
            )
    nodes = [line.split("|") for line in ask("sinfo", "-a", "-h", "-N", "-o", "%R|%G|%c").splitlines()]
    partitions = sorted({line[0] for line in nodes})
    if profile.partition:
        unknown = [name for name in profile.partition.split(",") if name not in partitions]
        if unknown:
            raise RunError(f"cluster.partition={unknown[0]}: no such partition; there are {', '.join(partitions)}")
        nodes = [line for line in nodes if line[0] in profile.partition.split(",")]
    most_gpus = max((gpus_of(line[1]) for line in nodes), default=0)
    if profile.num_gpus > most_gpus:
        where = f"partition {profile.partition}" if profile.partition else "this cluster"
        raise RunError(
            f"cluster.gpus_per_job={profile.num_gpus}: a job has one node, and nodes of {where} have at most "
            f"{most_gpus} GPUs"
        )
    _check_array(num_jobs)
    _check_request(profile)


def gpus_of(gres: str) -> int:
    """GPUs of a node from sinfo's %G, for instance gpu:8, gpu:a100:4(S:0-1), gpu:a:2,gpu:b:1 or (null)."""
    return sum(int(count) for count in re.findall(r"\bgpu:(?:[A-Za-z][\w.-]*:)?(\d+)", gres))


def _check_array(num_jobs: int) -> None:
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"))
    if found and num_jobs > int(found[1]) - 1:
        raise RunError(
            f"{num_jobs} jobs: this Slurm allows arrays of {int(found[1]) - 1}; raise cluster.seeds_per_job "
            "or send fewer seeds at once"
        )


def _check_request(profile: Profile) -> None:
    """sbatch --test-only: partition, account, qos, limits and resources, with nothing submitted."""
    script = executor(Path("/tmp"), profile, "lop-test")._make_submission_file_text("true", "")
    try:
        ask("sbatch", "--test-only", stdin=script)
    except RunError as error:
        if not PASSING.search(str(error)):
            raise RunError(explained(str(error), profile)) from error


def explained(problem: str, profile: Profile) -> str:
    """What sbatch says of a request, with the settings to change."""
    reason = problem.rpartition("sbatch: ")[2].rpartition("failure: ")[2].rpartition("submission failed: ")[2]
    if "account" in reason.lower():
        given = f"cluster.account={profile.account}" if profile.account else "no cluster.account given"
        where = f"partition {profile.partition or 'by default'}"
        return f"Slurm refuses: {reason} ({given}, {where}); `sacctmgr show assoc` lists yours"
    if "qos" in reason.lower():
        return f"Slurm refuses: {reason} (cluster.qos={profile.qos})"
    return f"Slurm refuses: {reason} (asked were {describe(profile)})"


def ask(*command: str, stdin: str | None = None) -> str:
    """What a command of Slurm's prints. Errors: RunError with its own last words, or that it does not answer."""
    try:
        done = subprocess.run(command, input=stdin or "", capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"Slurm does not answer: {command[0]} took longer than {TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise RunError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode:
        words = " ".join((done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").split())
        if "Unable to contact slurm controller" in words or "Socket timed out" in words:
            raise RunError("the Slurm controller does not answer; try again when `sinfo` works")
        if "configuration source" in words or "slurm.conf" in words:
            raise RunError(f"{command[0]} is here but finds no cluster (no slurm.conf): submit from a login node")
        raise RunError(f"{command[0]}: {words}")
    return done.stdout


def executor(folder: Path, profile: Profile, name: str) -> Any:
    """submitit's SlurmExecutor with everything the profile asks for. Errors: RunError if submitit is missing."""
    try:
        from submitit import SlurmExecutor
    except ImportError as error:
        raise RunError("submitit is missing: pip install 'lop-rl[slurm]'") from error
    made = SlurmExecutor(folder, max_num_timeout=profile.max_requeues, python=python_command())
    made.update_parameters(**parameters(profile, name))
    return made


def python_command() -> str:
    """Python with SIGUSR2 ignored until submitit handles it: by default it would kill a job that has just begun."""
    return f"""sh -c 'trap "" USR2; exec "$0" "$@"' {shlex.quote(sys.executable)}"""


def parameters(profile: Profile, name: str) -> dict[str, Any]:
    """The request in submitit's words."""
    asked: dict[str, Any] = {
        "job_name": name,
        "time": profile.time_minutes(),
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": profile.cores_per_job,
        "mem": None if profile.memory_gb is None else f"{round(profile.memory_gb * 1024)}M",
        "gpus_per_node": profile.gpus_per_job or None,
        "array_parallelism": profile.array_parallelism,
        "signal_delay_s": profile.signal_lead_s,
        # srun of Slurm 22.05 and later does not take it over from sbatch
        "setup": ['export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"', *shell_setup(profile)],
        "teardown": requeue_if_interrupted(),
        "additional_parameters": {"requeue": True, **profile.extra},
        "wckey": None,
    }
    asked |= {key: getattr(profile, key) for key in ("partition", "account", "qos", "gres", "constraint", "exclude")}
    return asked


def requeue_if_interrupted() -> list[str]:
    """Shell lines after srun: back into the queue, if Slurm would take what happened for the job's own end.

    It does so when a preempted job obeys SIGTERM before its grace time is over, and when the task is killed (SIGKILL, no
    memory, the death of its slurmstepd: no result from submitit then), which is tried again MAX_KILLS times. A job that
    is cancelled or requeued is not RUNNING any more.
    """
    return [
        "status=$?",
        "job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}",
        "job=${job:-$SLURM_JOB_ID}",
        'if [ "$status" -ne 0 ] && [ ! -e "$LOP_SUBMISSION/${job}_0_result.pkl" ]; then',
        "  for _ in $(seq 30); do",
        '    shown=$(scontrol show job "$SLURM_JOB_ID") && break',
        "    sleep 10",
        "  done",
        '  case "$status:$shown" in',
        '  *JobState=RUNNING*PreemptTime=[0-9]*) scontrol requeue "$SLURM_JOB_ID" ;;',
        f"  {EXIT_UNFINISHED}:*) ;;",
        "  *JobState=RUNNING*)",
        '    echo "$job" >> "$LOP_SUBMISSION/killed"',
        f'    [ "$(grep -cx "$job" "$LOP_SUBMISSION/killed")" -gt {MAX_KILLS} ] || scontrol requeue "$SLURM_JOB_ID"',
        "  esac",
        "fi",
        "exit $status",
    ]


def send(submission: Submission, profile: Profile, jobs: Sequence[Job]) -> tuple[str, list[str]]:
    """Submits the jobs as one array; returns its id, and the ids by index. Errors: RunError."""
    made = executor(submission.folder, profile, submission.job_name)
    made.update_parameters(
        setup=[f"export LOP_SUBMISSION={shlex.quote(str(submission.folder))}", *made.parameters["setup"]]
    )
    # jobs started from here would talk to our wandb's service, and die with it
    os.environ.pop("WANDB_SERVICE", None)
    try:
        # submitit prints sbatch's complaint, which is raised as well
        with contextlib.redirect_stderr(io.StringIO()):
            ids = [job.job_id for job in made.submit_array(list(jobs))]
    except Exception as error:
        raise RunError(explained(" ".join(str(error).split()), profile)) from error
    return ids[0].partition("_")[0], ids


def take_back(submission: Submission) -> None:
    """Cancels whatever Slurm took: it may have taken the array although sbatch heard no answer. Never raises."""
    # the name is this submission's alone
    with contextlib.suppress(RunError):
        ask("scancel", f"--name={submission.job_name}")
