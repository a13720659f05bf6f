"""What a submission would do: which runs are left, how they are packed, what that takes, and the table that says so."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lop.cluster import local, packing
from lop.cluster.estimate import disk_bytes, measured_rate
from lop.cluster.profile import Profile, describe
from lop.cluster.queue import read_queue
from lop.cluster.record import JobPlan, Process, read_submissions
from lop.cluster.sweep import Point
from lop.cluster.words import many
from lop.run.checkpoint import load_checkpoint
from lop.run.files import RunError
from lop.run.owner import is_alive, read_owner
from lop.run.progress import short

FINISHED, QUEUED, RUNNING, DAMAGED, FAILED = "finished", "queued", "running", "damaged", "failed"
MAX_NOTES = 10


@dataclass(frozen=True)
class Plan:
    """Jobs to send, and what is left out. skipped: run -> why; left: run -> environment steps still to do."""

    points: list[Point]
    jobs: list[JobPlan]
    skipped: dict[str, str]
    left: dict[str, float]
    hours: list[float] | None = None
    rate: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def num_runs(self) -> int:
        return sum(len(job.runs) for job in self.jobs)


def make_plan(points: Sequence[Point], profile: Profile, runs_dir: Path) -> Plan:
    """Packs what is neither finished, nor at work, nor queued. Errors: RunError (disk, damaged checkpoints)."""
    sent = sent_before(runs_dir)
    notes = [sent.problem] if sent.problem else []
    skipped: dict[str, str] = {}
    left: dict[str, float] = {}
    works = []
    for index, point in enumerate(points):
        todo = []
        for seed in point.config.seeds:
            run = point.run(seed)
            state, steps, note = standing(point, seed, sent)
            notes += [f"{run}: {note}"] if note else []
            if state in (FINISHED, RUNNING, QUEUED, DAMAGED):
                skipped[run] = state
            else:
                left[run] = steps
                todo.append((seed, steps))
        works.append(packing.Work(str(index), todo))
    try:
        packed = packing.pack(works, room(profile))
    except ValueError as error:
        raise RunError(f"cluster.{error}") from error
    jobs = [JobPlan(i, [_process(points[int(p.key)], p.seeds) for p in job]) for i, job in enumerate(packed)]
    hours, rate = _hours(points, profile, runs_dir, packed)
    return Plan(list(points), jobs, skipped, left, hours, rate, notes)


def room(profile: Profile) -> packing.Room:
    return packing.Room(profile.processes, profile.seeds_per_process, profile.seeds_per_job, profile.memory_gb)


@dataclass(frozen=True)
class Sent:
    """What earlier submissions are doing. queued: runs whose jobs wait or run; ended: Slurm's ids of jobs that do not."""

    queued: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    problem: str = ""


def standing(point: Point, seed: int, sent: Sent) -> tuple[str, float, str]:
    """State of a run ("" for one to be begun or gone on with), environment steps left, and what to say about it."""
    folder, config = point.folder(seed), point.config
    try:
        checkpoint = load_checkpoint(folder) if folder.is_dir() else None
    except RunError as error:
        return DAMAGED, 0.0, f"left out: {error}"
    update = int(checkpoint.meta["update"]) if checkpoint else 0
    steps = float((config.num_updates - update) * config.ppo.steps_per_update)
    if steps <= 0:
        return FINISHED, 0.0, ""
    owner = read_owner(folder) if folder.is_dir() else None
    if owner and is_alive(owner) and owner["slurm_job"] not in sent.ended:
        return RUNNING, steps, ""
    if point.run(seed) in sent.queued:
        return QUEUED, steps, ""
    if owner and owner["status"] == FAILED:
        return FAILED, steps, f"failed before and is sent again: {owner['message']}"
    return "", steps, ""


def sent_before(runs_dir: Path) -> Sent:
    """What earlier submissions below runs_dir are doing."""
    submissions = read_submissions(runs_dir)
    queued: set[str] = set()
    for submission in submissions:
        if submission.kind == "local":
            active = local.active_jobs(submission.folder)
            queued |= {run for job in submission.jobs if job.index in active for run in job.runs}
    sent = {submission.job_name: submission for submission in submissions if submission.kind == "slurm"}
    queue = read_queue(sent)
    for job in queue.active():
        # by index and not by recorded id: that may be missing if we died between sending and noting it
        index = int(job.id.partition("_")[2] or 0)
        queued |= {run for plan in sent[job.name].jobs if plan.index == index for run in plan.runs}
    ended = {job.raw_id for job in queue.jobs.values() if job.has_ended}
    problem = f"what is queued in Slurm is unknown: {queue.problem}" if queue.problem else ""
    return Sent(frozenset(queued), frozenset(ended), problem)


def _process(point: Point, seeds: tuple[int, ...]) -> Process:
    config = dataclasses.asdict(point.config) | {"seeds": list(seeds), "seed": None}
    return Process(config, [point.run(seed) for seed in seeds])


def _hours(
    points: Sequence[Point], profile: Profile, runs_dir: Path, packed: list[list[packing.Population]]
) -> tuple[list[float] | None, str]:
    """Hours of each job, and where the rates come from; None if nothing is known."""
    measured = [
        measured_rate(runs_dir, point.config.env.name, point.config.algo.name, point.config.device) for point in points
    ]
    rates = {str(i): found[0] if found else profile.steps_per_second for i, found in enumerate(measured)}
    if not all(rates[p.key] for job in packed for p in job):
        return None, "unknown: no earlier run to go by; cluster.steps_per_second=<of one seed> would tell"
    sources = [f"{found[0]:,.0f} steps/s a seed measured in {found[1]}" for found in measured if found][:1]
    if len([found for found in measured if found]) < len(points):
        sources.append(f"{profile.steps_per_second:,.0f} steps/s a seed from the profile")
    return [max(packing.hours([p], rates[p.key]) for p in job) for job in packed], " and ".join(sources)


def table(plan: Plan, profile: Profile, runs_dir: Path) -> str:
    """Everything that a user needs to decide."""
    lines = [f"{'runs of':<24}{'seeds':>8}{'steps':>8}{'to do':>8}  left out"]
    for point in plan.points:
        runs = [point.run(seed) for seed in point.config.seeds]
        out = Counter(plan.skipped[run] for run in runs if run in plan.skipped)
        why = ", ".join(f"{count} {reason}" for reason, count in out.items()) or "-"
        todo = len(runs) - sum(out.values())
        lines.append(f"{point.label:<24}{len(runs):>8}{short(point.config.total_steps):>8}{todo:>8}  {why}")
    lines.append("")
    if not plan.jobs:
        lines.append("nothing to submit: every run is finished, at work or queued")
    else:
        lines += _facts(plan, profile, runs_dir)
    lines.append(f"{'results':<12}{runs_dir}")
    lines += [f"note: {note}" for note in plan.notes[:MAX_NOTES]]
    lines += [f"note: and {len(plan.notes) - MAX_NOTES} more"] if len(plan.notes) > MAX_NOTES else []
    return "\n".join(lines)


def _facts(plan: Plan, profile: Profile, runs_dir: Path) -> list[str]:
    waves = -(-len(plan.jobs) // profile.array_parallelism)
    at_once = f", {profile.array_parallelism} at once" if waves > 1 else ""
    facts = {"jobs": f"{_shapes(plan)}{at_once}", "each asks": describe(profile)}
    facts["hours"] = plan.rate
    if plan.hours is not None:
        limits = max(1, -(-max(plan.hours) // profile.time_hours))
        again = f", requeued {limits - 1:.0f} times at its limit of {profile.time_hours:g} h" if limits > 1 else ""
        again = again if profile.kind == "slurm" else ""
        facts["hours"] = f"{_time(max(plan.hours))} for the longest job{again}"
        if waves > 1:
            facts["hours"] += f"; {_time(sum(plan.hours) / profile.array_parallelism)} for all, if jobs start at once"
        facts["hours"] += f" ({plan.rate})"
    todo = {run: point for point in plan.points for seed in point.config.seeds if (run := point.run(seed)) in plan.left}
    needed = sum(disk_bytes(point.config) for point in todo.values())
    free = free_bytes(runs_dir)
    facts["disk"] = (
        f"{needed / 1e9:,.1f} GB when all are finished ({free / 1e9:,.0f} GB free{', TOO LITTLE' * (needed > free)})"
    )
    return [f"{key:<12}{value}" for key, value in facts.items()]


def free_bytes(runs_dir: Path) -> int:
    """Room on the disk that runs_dir is on, or will be; a quota may leave less."""
    there = next(folder for folder in (runs_dir, *runs_dir.parents) if folder.exists())
    return shutil.disk_usage(there).free


def _shapes(plan: Plan) -> str:
    """For instance "10 jobs of 15 processes x 1 seed"."""
    kinds = Counter((len(job.processes), max(len(p.seeds) for p in job.processes)) for job in plan.jobs)
    texts = []
    for (processes, seeds), count in kinds.items():
        texts.append(f"{many(count, 'job')} of {many(processes, 'process', 'es')} x {many(seeds, 'seed')}")
    return ", ".join(texts) + f" ({many(plan.num_runs, 'run')})"


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
