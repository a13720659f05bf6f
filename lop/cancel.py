"""End what lop.submit sent: `python -m lop.cancel [runs/] [SUBMISSION ...] [--match 'sant/cbp*'] [--dry-run]`.

Jobs of the submissions below that folder are ended, waiting or running, and nothing else: Slurm jobs by id and name,
processes of cluster=local by pid and start time. Runs save a checkpoint and stop; `python -m lop.submit --resubmit` goes on.
A job is ended as a whole: with --match, those jobs of which a run matches.

Exit codes: 0; 1 something could not be ended; 2 the command was wrong.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lop.cluster import local
from lop.cluster.queue import TIMEOUT_S, QueuedJob
from lop.cluster.record import JobPlan, Submission, read_submissions
from lop.cluster.survey import ask, find
from lop.run.command import Parser, wrong
from lop.run.files import RunError
from lop.run.owner import process_space

MAX_IDS = 500  # of one scancel


@dataclass(frozen=True)
class Target:
    """A job that waits or runs, and where it came from."""

    submission: Submission
    plan: JobPlan
    job: QueuedJob


def targets(submissions: list[Submission], match: str | None = None) -> tuple[list[Target], str]:
    """What there is to end, and a problem in one line if a queue could not be asked."""
    queue = ask(submissions)
    found = []
    for submission in submissions:
        for plan in submission.jobs:
            job = find(submission, plan, queue)
            if job and not job.is_over and (match is None or any(fits(run, match) for run in plan.runs)):
                found.append(Target(submission, plan, job))
    return found, queue.problem


def fits(run: str, match: str) -> bool:
    """Whether a run is meant: by its whole name or a folder above it."""
    return fnmatch.fnmatch(run, match) or fnmatch.fnmatch(run, f"{match.rstrip('/')}/*")


def end(found: list[Target]) -> list[str]:
    """Ends the jobs; one text for each that could not be."""
    ids = [target.job.id for target in found if target.submission.kind == "slurm"]
    problems = []
    for first in range(0, len(ids), MAX_IDS):
        problems += scancel(ids[first : first + MAX_IDS])
    for folder in {target.submission.folder for target in found if target.submission.kind == "local"}:
        problems += end_local([target for target in found if target.submission.folder == folder])
    return problems


def end_local(found: list[Target]) -> list[str]:
    """Ends jobs of one submission with cluster=local: all through their supervisor, or some of those that run."""
    submission = found[0].submission
    content = local.read_local(submission.folder) or {"process_space": None, "jobs": {}}
    space = content["process_space"]
    if space != process_space():
        return [f"submission {submission.id} runs on {submission.host}: cancel it there"]
    everything = local.active_jobs(submission.folder) <= {target.plan.index for target in found}
    if everything and local.lives(content, space):
        return signalled(content["pid"])
    problems = []
    for target in found:
        entry = content["jobs"].get(str(target.plan.index), {})
        if local.lives(entry, space):
            problems += signalled(entry["pid"])
        elif target.job.is_waiting:
            problems.append(f"{target.job.id} waits: it can only be ended with all jobs of its submission")
    return problems


def signalled(pid: int) -> list[str]:
    """Asks a process to stop; what went wrong."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except OSError as error:
        return [f"pid {pid}: {error.strerror}"]
    return []


def scancel(ids: list[str]) -> list[str]:
    """Ends Slurm jobs; what went wrong."""
    try:
        done = subprocess.run(["scancel", *ids], capture_output=True, text=True, timeout=2 * TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"scancel: {error}"]
    lines = [
        line
        for line in done.stderr.splitlines()
        if "already completed" not in line and "already completing" not in line
    ]
    return [f"scancel: {line.removeprefix('scancel: error: ')}" for line in lines] if done.returncode else []


def chosen(runs_dir: str, only: Sequence[str] = ()) -> list[Submission]:
    """The submissions of a folder, or those among them whose id begins as asked. Errors: RunError."""
    if not Path(runs_dir).is_dir():
        raise RunError(f"{runs_dir}: there is no such folder")
    submissions = read_submissions(runs_dir)
    for prefix in only:
        if not any(s.id.startswith(prefix) for s in submissions):
            there = ", ".join(s.id for s in submissions[-5:]) or "none"
            raise RunError(f"{prefix}: no such submission in {runs_dir}; the last ones are: {there}")
    return [s for s in submissions if not only or any(s.id.startswith(prefix) for prefix in only)]


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m lop.cancel", description="End what lop.submit sent, and nothing else.")
    parser.add_argument("runs_dir", nargs="?", default="runs", help="folder of the runs, default runs")
    parser.add_argument(
        "only", nargs="*", metavar="submission", help="only these; the beginning of an id is enough; default all"
    )
    parser.add_argument("--match", metavar="GLOB", help="only jobs with a run such as 'sant/cbp*'")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="say what would be ended")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    try:
        found, problem = targets(chosen(given.runs_dir, given.only), given.match)
    except RunError as error:
        return wrong(error)
    for target in found:
        runs = target.plan.runs
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        print(f"{target.submission.id}  {target.job.id}  {target.job.state.lower()}  {runs[0]}{more}")
    problems = ([] if given.dry_run else end(found)) + ([problem] if problem else [])
    count = f"{len(found)} job{'s' * (len(found) != 1)}"
    print(f"{count} would be ended" if given.dry_run else f"asked {count} to end")
    for text in problems:
        print(f"error: {text}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
