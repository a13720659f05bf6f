"""What Slurm says about jobs: squeue, and for what squeue has forgotten sacct, where there is accounting.

    queue = read_queue(names={"lop-20260102-030405-ab12"}, wanted={"123_0", "123_1"}, since=created)
    queue.jobs["123_0"].state        # "PENDING"
    queue.problem                    # "" or one line: why Slurm's word is missing

Only jobs of these names are seen, so that a job id that Slurm gave out a second time is not mistaken for ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from lop.cluster import local
from lop.cluster.record import Submission
from lop.run.owner import process_space

TIMEOUT_S = 15.0
ENDED = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
}
ENDED |= {"REVOKED"}
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
#: column of squeue -O -> width; a fixed width needs no separator that a name might contain
COLUMNS = {"JobArrayID": 40, "JobID": 20, "State": 20, "RestartCnt": 12, "NodeList": 60, "Name": 60, "Reason": 80}


@dataclass(frozen=True)
class QueuedJob:
    """One job or one task of an array, as its cluster knows it.

    id: "123_4"; raw_id: what the job itself sees as SLURM_JOB_ID; state: Slurm's word; restarts: None if not known;
    before: how its previous start ended ("PREEMPTED"), where accounting tells; since: unix time before which it cannot have
    begun, where there is no SLURM_JOB_ID to know its runs by.
    """

    id: str
    raw_id: str
    name: str
    state: str
    reason: str = ""
    nodes: str = ""
    restarts: int | None = None
    before: str = ""
    since: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def is_over(self) -> bool:
        """Whether it has ended or is about to: nobody need cancel it."""
        return self.has_ended or self.state == "COMPLETING"

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING


@dataclass(frozen=True)
class Queue:
    """Jobs by id, and in one line why nothing or not everything could be asked."""

    jobs: dict[str, QueuedJob] = field(default_factory=dict)
    problem: str = ""

    def active(self) -> list[QueuedJob]:
        """Jobs that wait or run."""
        return [job for job in self.jobs.values() if not job.has_ended]


def read_queue(names: Iterable[str], wanted: Iterable[str] = (), since: float | None = None) -> Queue:
    """The jobs of these names. wanted: ids that accounting is asked about if squeue has forgotten them.

    since: unix time before which none of them was sent. Never raises for Slurm being absent or silent.
    """
    names = sorted(set(names))
    if not names:
        return Queue()
    if not shutil.which("squeue"):
        return Queue(problem="Slurm is not installed here (no squeue): states are from the run folders alone")
    output, problem = _ask(["squeue", "--noheader", "--array", "--states=all", *_format(), f"--name={','.join(names)}"])
    jobs = {job.id: job for job in parse_squeue(output) if job.name in names}
    if problem or set(wanted) - jobs.keys() or any(job.is_waiting and job.restarts for job in jobs.values()):
        jobs = _with_accounting(jobs, names, since)
    return Queue(jobs, f"{problem}: states are from the run folders{' and sacct' * bool(jobs)}" if problem else "")


def local_jobs(submission: Submission) -> list[QueuedJob]:
    """The jobs of a submission with cluster=local, in Slurm's words. Those of another machine are taken at their word."""
    content = local.read_local(submission.folder)
    if content is None:
        return []
    here = content["process_space"] == process_space()
    supervised = not here or local.lives(content, content["process_space"])
    jobs = []
    for plan in submission.jobs:
        entry = content["jobs"].get(str(plan.index), {})
        state = entry.get("state")
        if state == local.QUEUED:
            word = "PENDING" if supervised else "CANCELLED"
        elif state == local.RUNNING:
            word = "RUNNING" if not here or local.lives(entry, content["process_space"]) else "CANCELLED"
        else:
            word = "COMPLETED" if entry.get("exit_code") == 0 else "FAILED"
        name = plan.job_id or f"{local.array_id(submission)}_{plan.index}"
        jobs.append(QueuedJob(name, "", submission.job_name, word, nodes=submission.host, since=submission.created))
    return jobs


def _format() -> list[str]:
    return ["-O", ",".join(f"{column}:{width}" for column, width in COLUMNS.items())]


def parse_squeue(output: str) -> list[QueuedJob]:
    """Jobs from squeue's fixed-width lines, in the order of COLUMNS."""
    jobs = []
    for line in output.splitlines():
        values, start = [], 0
        for width in COLUMNS.values():
            values.append(line[start : start + width].strip())
            start += width
        job_id, raw_id, state, restarts, nodes, name, reason = values
        if job_id and state:
            reason = "" if reason == "None" else reason
            jobs.append(QueuedJob(job_id, raw_id, name, state, reason, nodes, int(restarts or 0)))
    return jobs


def parse_sacct(output: str) -> dict[str, QueuedJob]:
    """Jobs from `sacct -X -D -P` lines id|raw|state|nodes|name. Of several starts of one job the last counts."""
    jobs: dict[str, QueuedJob] = {}
    for line in output.splitlines():
        parts = line.split("|", 4)
        if len(parts) < 5 or not parts[2]:
            continue
        job_ids, raw_id, state, nodes, name = parts
        state = state.split()[0]  # "CANCELLED by 1000"
        nodes = "" if nodes == "None assigned" else nodes
        for job_id in expand(job_ids):
            earlier = jobs.get(job_id)
            jobs[job_id] = QueuedJob(job_id, raw_id, name, state, nodes=nodes, before=earlier.state if earlier else "")
    return jobs


def expand(job_ids: str) -> list[str]:
    """The tasks of an array that waits in one piece: "7_[0-2,5%2]" gives 7_0, 7_1, 7_2, 7_5."""
    match = re.fullmatch(r"(\d+)_\[([\d,\-:]+)(?:%\d+)?\]", job_ids)
    if not match:
        return [job_ids]
    tasks: list[int] = []
    for part in match[2].split(","):
        numbers = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if not numbers:
            return [job_ids]
        first, last, stride = numbers.groups()
        tasks += range(int(first), int(last or first) + 1, int(stride or 1))
    return [f"{match[1]}_{task}" for task in tasks]


def _with_accounting(jobs: dict[str, QueuedJob], names: list[str], since: float | None) -> dict[str, QueuedJob]:
    """The jobs, with what sacct knows besides. Without accounting: the jobs as they are."""
    if not shutil.which("sacct"):
        return jobs
    # a day's grace for clocks that differ; without a start sacct shows today only
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime((since or time.time() - 30 * 86400) - 86400))
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", f"--starttime={start}"]
    output, _ = _ask([*command, "--format=JobID,JobIDRaw,State,NodeList,JobName", f"--name={','.join(names)}"])
    recorded = {job_id: job for job_id, job in parse_sacct(output).items() if job.name in names}
    known = {
        job_id: replace(job, before=recorded[job_id].before) if job_id in recorded else job
        for job_id, job in jobs.items()
    }
    return recorded | known


def _ask(command: list[str]) -> tuple[str, str]:
    """What a command of Slurm's prints, and a problem in one line if it failed."""
    # a user's own SQUEUE_FORMAT, SQUEUE_STATES, SLURM_CLUSTERS... must not change the question
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SQUEUE_", "SACCT_"))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return "", f"{command[0]} did not answer within {TIMEOUT_S:.0f} s"
    except OSError as error:
        return "", f"{command[0]} cannot be started: {error.strerror}"
    if done.returncode:
        why = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        return "", f"{command[0]}: {why.removeprefix('slurm_load_jobs error: ')}"
    return done.stdout, ""
