"""What was sent, on disk: `<runs_dir>/.submissions/<id>/submission.json`, beside the logs of its jobs.

    submission = new_submission(runs_dir, kind="slurm", words=[...], profile={...}, jobs=[JobPlan(0, [Process(...)])])
    submission.write()                                   # before anything is sent: state "submitting"
    submission.sent("123", ["123_0", "123_1"]).write()   # after: state "submitted"

    for submission in read_submissions(runs_dir): ...    # oldest first; torn and foreign files are skipped

A job is one entry of Slurm's array, or one process of cluster=local. It holds processes; a process trains one population:
members that share a configuration and differ by seed. Nothing here is a pickle, and nothing names a person.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lop
from lop.run.files import disk, make_folder, remove_folders, write_atomic
from lop.run.versions import git_revision

SUBMISSIONS, SUBMISSION_JSON = ".submissions", "submission.json"
VERSION = 1
SUBMITTING, SUBMITTED = "submitting", "submitted"
JOB_NAME_PREFIX = "lop-"


@dataclass(frozen=True)
class Process:
    """One population. config: a resolved TrainConfig as plain data; runs: its folders, relative to runs_dir, by seed."""

    config: dict[str, Any]
    runs: list[str]

    @property
    def seeds(self) -> list[int]:
        return self.config["seeds"]


@dataclass(frozen=True)
class JobPlan:
    """Processes that share one job. job_id: Slurm's ("123_4"), "local-<submission>_<index>", or None until it is sent."""

    index: int
    processes: list[Process]
    job_id: str | None = None

    @property
    def runs(self) -> list[str]:
        return [run for process in self.processes for run in process.runs]


@dataclass(frozen=True)
class Submission:
    """The content of a submission.json, and the folder that it is in."""

    folder: Path
    id: str
    created: float
    host: str
    kind: str
    state: str
    versions: dict[str, Any]
    words: list[str]
    profile: dict[str, Any]
    jobs: list[JobPlan]
    array_job_id: str | None = None
    format: int = field(default=VERSION)

    @property
    def runs_dir(self) -> Path:
        return self.folder.parent.parent

    @property
    def job_name(self) -> str:
        """Slurm's name for the jobs: finds them even if we died between sending them and noting their ids."""
        return JOB_NAME_PREFIX + self.id

    @property
    def runs(self) -> list[str]:
        return [run for job in self.jobs for run in job.runs]

    def sent(self, array_job_id: str, job_ids: list[str]) -> Submission:
        """The same with the ids of its jobs, by index."""
        jobs = [dataclasses.replace(job, job_id=name) for job, name in zip(self.jobs, job_ids, strict=True)]
        return dataclasses.replace(self, state=SUBMITTED, array_job_id=array_job_id, jobs=jobs)

    def write(self) -> None:
        """Puts submission.json in place, whole or not at all; makes the folder. Errors: RunError (disk)."""
        content = {"format": self.format, "id": self.id}
        content |= {key: value for key, value in dataclasses.asdict(self).items() if key not in ("folder", "format")}
        made = make_folder(self.folder)
        try:
            write_atomic(self.folder / SUBMISSION_JSON, json.dumps(content, indent=1).encode() + b"\n")
        except BaseException:
            remove_folders(made)
            raise


def new_submission(
    runs_dir: str | os.PathLike[str], kind: str, words: list[str], profile: dict[str, Any], jobs: list[JobPlan]
) -> Submission:
    """A submission with an id of its own; nothing is written yet."""
    now = time.time()
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{secrets.token_hex(2)}"
    return Submission(
        folder=Path(runs_dir).absolute() / SUBMISSIONS / name,
        id=name,
        created=round(now, 3),
        host=socket.gethostname(),
        kind=kind,
        state=SUBMITTING,
        versions={"lop": lop.__version__, "git": git_revision(), "python": platform.python_version()},
        words=list(words),
        profile=profile,
        jobs=jobs,
    )


def read_submissions(runs_dir: str | os.PathLike[str]) -> list[Submission]:
    """All submissions below runs_dir, oldest first; what cannot be read as one is skipped. Errors: RunError (disk)."""
    root = Path(runs_dir).absolute() / SUBMISSIONS
    with disk("read", root):
        folders = sorted(root.iterdir()) if root.is_dir() else []
    found = [read_submission(folder) for folder in folders]
    return sorted((submission for submission in found if submission), key=lambda submission: submission.created)


def read_submission(folder: str | os.PathLike[str]) -> Submission | None:
    """The submission in a folder; None if there is none, or one that is torn, foreign or of another format."""
    folder = Path(folder).absolute()
    try:
        content = json.loads((folder / SUBMISSION_JSON).read_bytes())
        if content["format"] != VERSION:
            return None
        return _typed(folder, content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _typed(folder: Path, content: dict[str, Any]) -> Submission:
    jobs = [
        JobPlan(
            int(job["index"]),
            [Process(dict(p["config"]), [str(run) for run in p["runs"]]) for p in job["processes"]],
            None if job["job_id"] is None else str(job["job_id"]),
        )
        for job in content["jobs"]
    ]
    if any(len(p.seeds) != len(p.runs) for job in jobs for p in job.processes):
        raise ValueError("seeds and runs differ in number")
    texts = {key: str(content[key]) for key in ("id", "host", "kind", "state")}
    return Submission(
        folder=folder,
        created=float(content["created"]),
        versions=dict(content["versions"]),
        words=list(content["words"]),
        profile=dict(content["profile"]),
        jobs=jobs,
        array_job_id=None if content["array_job_id"] is None else str(content["array_job_id"]),
        **texts,
    )
