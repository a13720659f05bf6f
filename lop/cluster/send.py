"""Sending a plan: looked at, recorded, handed over, and taken back whole if that fails."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from lop.cluster import local, slurm
from lop.cluster.plan import Plan, make_plan, table
from lop.cluster.profile import Profile, expanded
from lop.cluster.record import SUBMISSIONS, Submission, new_submission, read_submissions
from lop.cluster.sweep import Point, check_folders, expand
from lop.cluster.words import shown
from lop.run.config import ConfigError, from_plain
from lop.run.files import RunError, disk, lock, make_folder, remove_folders
from lop.run.signals import EXIT_UNFINISHED

LOCK = ".lock"


def points_for(words: Sequence[str], profile: Profile) -> list[Point]:
    """The configurations that the words and the profile select, as jobs will run them. Raises ConfigError."""
    points = expand(words, profile.overrides)
    folders = {point.config.runs_dir for point in points}
    if len(folders) > 1:
        raise ConfigError(f"runs_dir={','.join(sorted(folders))}: one folder for all runs of a submission")
    said = {word.lstrip("+").partition("=")[0] for word in (*profile.overrides, *words)}
    for point in points:
        config = point.config
        folder = config.runs_dir if "runs_dir" in said or not profile.runs_dir else profile.runs_dir
        config.runs_dir = str(Path(expanded(folder)).absolute())
        if "device" not in said and profile.has_gpu:
            config.device = "cuda"
        if "grace_s" not in said and profile.kind == "slurm":
            # a job is warned long before it is killed: an update of many members need not be thrown away
            config.grace_s = max(config.grace_s, profile.signal_lead_s / 2)
    check_folders(points)
    for point in points:
        point.config.resume = "auto"  # a requeued job must go on
    return points


def unfinished_points(runs_dir: Path, ids: Sequence[str] = ()) -> list[Point]:
    """Configurations of earlier submissions as they were recorded; of a run sent several times, the latest.

    ids: of the submissions meant; none: all. Raises ConfigError.
    """
    submissions = read_submissions(runs_dir)
    unknown = sorted(set(ids) - {submission.id for submission in submissions})
    if unknown or not submissions:
        there = ", ".join(submission.id for submission in submissions) or "none"
        what = f"no submission {unknown[0]} below" if unknown else "nothing was ever submitted from"
        raise ConfigError(f"{what} {runs_dir}; there are: {there}; runs_dir=... names another folder")
    latest: dict[str, tuple[str, int]] = {}
    for submission in submissions:
        if not ids or submission.id in ids:
            for process in (process for job in submission.jobs for process in job.processes):
                shared = json.dumps(process.config | {"seeds": None, "runs_dir": str(runs_dir)}, sort_keys=True)
                latest |= {run: (shared, seed) for run, seed in zip(process.runs, process.seeds, strict=True)}
    seeds: dict[str, list[int]] = {}
    for shared, seed in latest.values():
        seeds.setdefault(shared, []).append(seed)
    return [Point((), from_plain(json.loads(shared) | {"seeds": sorted(found)})) for shared, found in seeds.items()]


def last_profile(runs_dir: Path) -> Profile:
    """The profile of the latest submission. Raises ConfigError if there is none that this version understands."""
    submissions = read_submissions(runs_dir)
    try:
        return Profile(**submissions[-1].profile)
    except (IndexError, TypeError) as error:
        raise ConfigError(f"cluster=...: {runs_dir} has no submission whose profile could be used again") from error


def submit(points: list[Point], profile: Profile, words: Sequence[str], dry_run: bool = False) -> int:
    """Prints what would be sent, sends it unless it is a dry run; returns the exit code. Errors: RunError."""
    runs_dir = Path(points[0].config.runs_dir)
    check_writable(runs_dir)
    with contextlib.nullcontext() if dry_run else alone(runs_dir):
        plan = make_plan(points, profile, runs_dir)
        if profile.kind == "slurm" and plan.jobs:
            plan = checked_by_slurm(plan, profile, dry_run)
        print(table(plan, profile, runs_dir), flush=True)
        if dry_run or not plan.jobs:
            print("dry run: nothing was submitted" if dry_run else "nothing was submitted")
            return 0
        submission = new_submission(runs_dir, profile.kind, list(words), dataclasses.asdict(profile), plan.jobs)
        submission.write()
        try:
            submission = hand_over(submission, profile)
        except BaseException:
            # jobs that nobody knows of would be worse than none
            if profile.kind == "slurm":
                slurm.take_back(submission)
            shutil.rmtree(submission.folder, ignore_errors=True)
            raise
    print(farewell(submission))
    return run_here(submission) if profile.kind == "debug" else 0


def checked_by_slurm(plan: Plan, profile: Profile, dry_run: bool) -> Plan:
    """The plan, after asking Slurm about it; in a dry run its refusal is a note, since there need not be any Slurm."""
    try:
        slurm.check(profile, len(plan.jobs))
    except RunError as error:
        if not dry_run:
            raise
        return dataclasses.replace(plan, notes=[*plan.notes, str(error)])
    return plan


def hand_over(submission: Submission, profile: Profile) -> Submission:
    """Gives the jobs to whoever runs them; returns the submission with their ids, which is on the disk by then."""
    if submission.kind == "slurm":
        jobs = [local.job_for(submission, plan) for plan in submission.jobs]
        array, ids = slurm.send(submission, profile, jobs)
    else:
        array = f"{submission.kind}-{submission.id}"
        ids = [f"{array}_{job.index}" for job in submission.jobs]
    submission = submission.sent(array, ids)
    submission.write()
    if submission.kind == "local":
        local.start(submission)
    return submission


def run_here(submission: Submission) -> int:
    """cluster=debug: the jobs in this process, in order; the exit code says whether all went well."""
    code = 0
    for job in submission.jobs:
        print(f"job {job.index + 1} of {len(submission.jobs)}", flush=True)
        try:
            code = local.run_job(submission, job.index) or code
        except SystemExit as stopped:
            return int(stopped.code or EXIT_UNFINISHED)
    return code


def farewell(submission: Submission) -> str:
    """Where to look now."""
    what = {"slurm": "Slurm job", "local": "background jobs", "debug": "jobs in this process"}[submission.kind]
    here = shown(submission.runs_dir)
    lines = [
        f"submitted {submission.id}: {what} {submission.array_job_id}",
        f"logs        {shown(submission.folder)}",
        f"watch       python -m lop.status {here} --watch",
        f"cancel      python -m lop.cancel {here} {submission.id}",
    ]
    return "\n".join(lines)


def check_writable(runs_dir: Path) -> None:
    """Whether runs_dir can be written to, or made. Errors: RunError; nothing is made."""
    there = runs_dir
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise RunError(f"runs_dir={runs_dir}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunError(f"runs_dir={runs_dir}: no permission to write to {there}; give runs_dir=<folder of yours>")


@contextlib.contextmanager
def alone(runs_dir: Path) -> Iterator[None]:
    """Keeps a second submission from looking for queued runs before the first has noted its own. Errors: RunError."""
    folder = runs_dir / SUBMISSIONS
    made = make_folder(folder)
    path = folder / LOCK
    with disk("open", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        lock(descriptor, wait=True)
        yield
    finally:
        if made and not any(folder.glob("*/")):
            path.unlink(missing_ok=True)
        os.close(descriptor)
        remove_folders(made)
