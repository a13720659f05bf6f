"""The state of every run: its folder, the submissions that name it and the queue, put together.

    survey = look("runs")
    survey.runs[0].state, survey.runs[0].note       # "running", ""
    survey.totals()                                 # counts by state, steps, steps/s, seconds left

Runs that somebody started by hand, without a submission, are there too; so are runs that were sent and have no folder yet.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lop.cluster.judge import DEAD, FAILED, FINISHED, RUNNING, STALE, STATES, judge
from lop.cluster.queue import Queue, QueuedJob, local_jobs, read_queue
from lop.cluster.record import JobPlan, Process, Submission, read_submissions
from lop.cluster.standing import Standing, stand, whole_updates
from lop.run.files import RunError
from lop.run.reader import list_runs, natural


@dataclass
class RunStatus:
    """One run. note: why, in words; job: Slurm's or the process that has it; eta_s: NaN unless it is running."""

    run: str
    state: str
    note: str
    standing: Standing
    total_steps: int | None
    job: str = ""
    nodes: str = ""
    submission: str = ""

    @property
    def eta_s(self) -> float:
        if self.state != RUNNING or not self.total_steps:
            return math.nan
        return max(0, self.total_steps - self.standing.step) / self.standing.steps_per_s

    @property
    def steps_per_s(self) -> float:
        return self.standing.steps_per_s if self.state == RUNNING else math.nan

    def as_json(self) -> dict[str, Any]:
        """Everything, for --json; what is not known is null."""
        standing, owner = self.standing, self.standing.owner or {}
        numbers = {
            "steps_per_s": self.steps_per_s,
            "eta_s": self.eta_s,
            "last_return": standing.last_return,
        }
        return {
            "run": self.run,
            "state": self.state,
            "note": self.note,
            "step": standing.step,
            "saved_step": standing.saved_step,
            "total_steps": self.total_steps,
            **{key: value if math.isfinite(value) else None for key, value in numbers.items()},
            "dead": standing.dead,
            "at_risk": standing.at_risk,
            "job": self.job,
            "nodes": self.nodes,
            "submission": self.submission,
            **{key: owner.get(key) for key in ("host", "pid", "slurm_job", "slurm_restarts", "heartbeat", "message")},
            "changed": standing.changed,
            "version_changes": standing.version_changes,
        }


@dataclass
class Survey:
    """All runs below a folder, sorted; problems: what could not be asked, one line each."""

    runs: list[RunStatus]
    problems: list[str]

    def totals(self) -> dict[str, Any]:
        """Counts by state, steps done and to do, steps per second over all runs, seconds until the last running one."""
        left = [run.eta_s for run in self.runs if math.isfinite(run.eta_s)]
        rates = [run.steps_per_s for run in self.runs if math.isfinite(run.steps_per_s)]
        return {
            "runs": len(self.runs),
            "states": {s: n for s in STATES if (n := sum(run.state == s for run in self.runs))},
            "step": sum(run.standing.step for run in self.runs),
            "total_steps": sum(run.total_steps or run.standing.step for run in self.runs),
            "steps_per_s": sum(rates),
            "eta_s": max(left, default=None),
        }


@dataclass(frozen=True)
class _Sent:
    """Where a run stands in a submission."""

    submission: Submission
    plan: JobPlan
    process: Process


def look(runs_dir: str | os.PathLike[str], now: float | None = None) -> Survey:
    """The state of all runs below runs_dir. Errors: RunError if that is no folder."""
    root = Path(runs_dir)
    if not root.is_dir():
        raise RunError(f"{root}: there is no such folder")
    now = time.time() if now is None else now
    submissions = read_submissions(root)
    standings = {str(folder.relative_to(root)): stand(folder) for folder in list_runs(root)}
    sent: dict[str, list[_Sent]] = {}
    for submission in submissions:
        for plan in submission.jobs:
            for process in plan.processes:
                for run in process.runs:
                    sent.setdefault(run, []).append(_Sent(submission, plan, process))
    for run in sent:
        if run not in standings:
            standings[run] = stand(root / run)
    queue = ask(
        submissions, [run for run in sent if not _is_finished(standings[run], _target(standings[run], sent[run]))]
    )
    runs = [_status(run, standings[run], sent.get(run, []), queue, now) for run in sorted(standings, key=natural)]
    return Survey(runs, [queue.problem] if queue.problem else [])


def ask(submissions: list[Submission], unfinished: Iterable[str] | None = None) -> Queue:
    """What the queues say about these submissions' jobs: Slurm's, and those of this machine.

    unfinished: only for jobs of these runs is accounting asked; None: for all.
    """
    runs = None if unfinished is None else set(unfinished)
    slurm = [s for s in submissions if s.kind == "slurm" and (runs is None or runs & set(s.runs))]
    wanted = [plan.job_id for s in slurm for plan in s.jobs if plan.job_id and (runs is None or runs & set(plan.runs))]
    queue = read_queue({s.job_name for s in slurm}, wanted, min((s.created for s in slurm), default=None))
    local = {job.id: job for s in submissions if s.kind == "local" for job in local_jobs(s)}
    return Queue(queue.jobs | local, queue.problem)


def _target(standing: Standing, sent: list[_Sent]) -> int | None:
    """Steps that the run is to do: what the newest submission asks for, else what it was first configured for."""
    for where in reversed(sent):
        config = where.process.config
        try:
            return whole_updates(config["total_steps"], config["ppo"]["steps_per_update"])
        except (KeyError, TypeError, ValueError):
            continue
    return standing.total_steps


def _is_finished(standing: Standing, target: int | None) -> bool:
    """The checkpoint decides. A run that was extended by hand goes beyond what run.json says: then its owner does."""
    said = bool(standing.owner) and standing.owner["status"] == FINISHED
    return standing.saved_step == target or (said and standing.saved_step >= (target or 1))


def _status(run: str, standing: Standing, sent: list[_Sent], queue: Queue, now: float) -> RunStatus:
    job, where = _job_of(sent, queue)
    target = _target(standing, sent)
    state, note = judge(
        standing,
        job,
        finished=_is_finished(standing, target),
        sent=bool(sent),
        asked=not queue.problem,
        now=now,
    )
    owner = standing.owner
    label = job.id if job else where.plan.job_id or "" if where else ""
    nodes = job.nodes if job else ""
    if owner and state in (RUNNING, STALE, DEAD) and not (job and job.nodes):
        label, nodes = label or owner["slurm_job"] or f"pid {owner['pid']}", owner["host"]
    note = "; ".join(filter(None, (note, standing.problem if state != FAILED else "", *standing.version_changes)))
    return RunStatus(run, state, note, standing, target, label, nodes, where.submission.id if where else "")


def _job_of(sent: list[_Sent], queue: Queue) -> tuple[QueuedJob | None, _Sent | None]:
    """The job that has the run or had it last: one that waits or runs, else the newest."""
    found = [(find(where.submission, where.plan, queue), where) for where in sent]
    alive = [(job, where) for job, where in found if job and not job.has_ended]
    return (alive or found or [(None, None)])[-1]


def find(submission: Submission, plan: JobPlan, queue: Queue) -> QueuedJob | None:
    """The queue's entry of a planned job, also if the submitter died before it could note the id."""
    if plan.job_id:
        return queue.jobs.get(plan.job_id)
    named = [job for job in queue.jobs.values() if job.name == submission.job_name]
    # a single job is no array
    alone = named[0] if named and len(submission.jobs) == 1 else None
    return next((job for job in named if job.id.endswith(f"_{plan.index}")), alone)
