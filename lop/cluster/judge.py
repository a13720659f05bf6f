"""The state of one run, from what its folder tells and what the queue says. Pure, but for whether a process lives.

judge(standing, job, finished=False, sent=True, asked=True, now=time.time())    # ("preempted", "requeued, waits to go on")
"""

from __future__ import annotations

from typing import Any

from lop.cluster.queue import QueuedJob
from lop.cluster.standing import Standing
from lop.run.owner import BEAT_S, is_alive

FINISHED, RUNNING, STARTING, QUEUED, PREEMPTED = "finished", "running", "starting", "queued", "preempted"
STOPPED, FAILED, DEAD, STALE, MISSING = "stopped", "failed", "dead", "stale", "missing"
#: in the order of the totals line
STATES = (RUNNING, STARTING, QUEUED, PREEMPTED, FINISHED, STOPPED, STALE, DEAD, FAILED, MISSING)
#: nothing goes on by itself; --resubmit or the same command does it
NEEDS_CARE = (STOPPED, STALE, DEAD, FAILED, MISSING)
SILENT_S = 4 * BEAT_S  # a living process beats every BEAT_S; on a shared disk others see it late
STUCK_S, STUCK_UPDATES = 900.0, 20.0


def judge(
    standing: Standing, job: QueuedJob | None, *, finished: bool, sent: bool, asked: bool, now: float
) -> tuple[str, str]:
    """State and note of a run. job: what the queue says of the job that has it or had it last.

    finished: its checkpoint says so; sent: a submission names it; asked: the queue answered.
    """
    owner = standing.owner
    if owner and is_alive(owner, now):
        return _alive(standing, owner, now)
    if finished:
        return FINISHED, ""
    if job and job.is_waiting:
        return _waiting(standing, job)
    if job and not job.has_ended and not _had_its_turn(standing, job):
        return STARTING, "" if job.state == "RUNNING" else job.state.lower()
    if not owner:
        return _never_began(job, sent, asked)
    return _left(owner, job)


def _alive(standing: Standing, owner: dict[str, Any], now: float) -> tuple[str, str]:
    silent_s = now - owner["heartbeat"]
    if silent_s > SILENT_S:
        return STALE, f"no heartbeat for {silent_s:.0f} s"
    changed = max(standing.changed or 0, owner["since"])
    update_s = (standing.steps_per_update or 0) / standing.steps_per_s if standing.steps_per_s > 0 else 0.0
    if now - changed > max(STUCK_S, STUCK_UPDATES * update_s):
        return STALE, f"no update for {now - changed:.0f} s"
    return RUNNING, ""


def _waiting(standing: Standing, job: QueuedJob) -> tuple[str, str]:
    reason = job.reason if job.reason not in ("", "BeginTime", "Priority", "Resources") else ""
    began = standing.job_token is not None and standing.job_token[0] == job.raw_id
    if not (began or job.restarts or job.before):
        return QUEUED, reason
    why = {"PREEMPTED": "preempted", "NODE_FAIL": "its node failed", "REQUEUED": "requeued"}.get(job.before, "")
    if began and standing.owner["status"] in (STOPPED, FAILED):
        said = f"{'stopped by ' * (standing.owner['status'] == STOPPED)}{' '.join(standing.owner['message'].split())}"
        why = why or said
    return PREEMPTED, "; ".join(filter(None, (f"{why or 'interrupted'}, waits to go on", reason)))


def _had_its_turn(standing: Standing, job: QueuedJob) -> bool:
    """Whether the last owner belongs to the job's present start."""
    if job.since is not None:
        return standing.owner is not None and standing.owner["since"] >= job.since
    token = standing.job_token
    if token is None or token[0] != job.raw_id:
        return False
    return job.restarts is None or token[1] >= job.restarts


def _never_began(job: QueuedJob | None, sent: bool, asked: bool) -> tuple[str, str]:
    if job is None and sent and not asked:
        return QUEUED, "sent, and Slurm cannot be asked"
    if job is None:
        return MISSING, "its job is gone and left nothing: cancelled while it waited?" if sent else "no owner.json"
    if job.state == "CANCELLED":
        return STOPPED, "cancelled before it began"
    return FAILED, f"its job ended before it began ({job.state.lower()})"


def _left(owner: dict[str, Any], job: QueuedJob | None) -> tuple[str, str]:
    """What became of a run that somebody had and nobody has."""
    slurm = f"Slurm: {job.state.lower()}" if job and job.has_ended and job.state != "COMPLETED" else ""
    message = " ".join(owner["message"].split())
    if owner["status"] == FAILED:
        return FAILED, message or slurm
    if owner["status"] == STOPPED:
        return STOPPED, "; ".join(filter(None, (message and f"by {message}", slurm)))
    if owner["status"] == FINISHED:
        return STOPPED, "finished what was asked of it before; more is asked now"
    return DEAD, "; ".join(filter(None, (f"pid {owner['pid']} on {owner['host']} is gone", slurm)))
