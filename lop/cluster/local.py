"""cluster=local: the jobs of a submission as background processes of this machine, a few at a time.

    pid = start(submission)                     # returns at once; the supervisor outlives the shell
    state = read_local(submission.folder)       # what local.json says: supervisor, jobs, exit codes

    python -m lop.cluster.local FOLDER          the supervisor of one submission
    python -m lop.cluster.local FOLDER INDEX    one of its jobs

SIGTERM to the supervisor ends the jobs, with checkpoints. A process is named by pid and start time: never signal a pid whose
start time (lop.run.owner.process_start) is another.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lop.cluster.job import Job, RunsFailed
from lop.cluster.record import JobPlan, Submission, read_submission
from lop.run.command import wrong
from lop.run.files import RunError, write_atomic
from lop.run.owner import process_space, process_start
from lop.run.signals import EXIT_UNFINISHED, SIGNALS

LOCAL_JSON, LOG = "local.json", "local.log"
VERSION = 1
QUEUED, RUNNING, ENDED = "queued", "running", "ended"
POLL_S = 0.2
START_S = 60.0


def array_id(submission: Submission) -> str:
    return f"local-{submission.id}"


def job_for(submission: Submission, plan: JobPlan) -> Job:
    """The callable of one job, whoever starts it. wandb finds the runs of a submission by its id, a tag."""
    processes = []
    for process in plan.processes:
        wandb = process.config["wandb"]
        tags = [*wandb["tags"], submission.id]
        processes.append({"config": {**process.config, "wandb": {**wandb, "tags": tags}}, "runs": list(process.runs)})
    profile = submission.profile
    return Job(
        runs_dir=str(submission.runs_dir),
        processes=processes,
        cores=profile["cores_per_job"],
        scratch_dir=profile["scratch_dir"],
        signal_lead_s=profile["signal_lead_s"],
    )


def start(submission: Submission) -> int:
    """Starts the supervisor of a submission in a session of its own; returns its pid once it is at work.

    Errors: RunError if it does not come to that.
    """
    environment = {**os.environ, **submission.profile["environment"]}
    environment.pop("WANDB_SERVICE", None)
    command = [sys.executable, "-m", "lop.cluster.local", str(submission.folder)]
    with open(submission.folder / LOG, "ab") as log:
        supervisor = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    until = time.monotonic() + START_S
    while read_local(submission.folder) is None:
        if supervisor.poll() is not None or time.monotonic() > until:
            supervisor.kill()
            raise RunError(f"the jobs could not be started: {last_line(submission.folder / LOG)}")
        time.sleep(0.05)
    supervisor.returncode = 0  # it is to outlive us: no warning that nobody waits for it
    return supervisor.pid


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing was said"


def read_local(folder: Path) -> dict[str, Any] | None:
    """The content of local.json: format, pid, process_start, process_space, jobs by index (state, pid, process_start,
    exit_code); None if there is none that can be read."""
    try:
        content = json.loads((folder / LOCAL_JSON).read_bytes())
        return content if content["format"] == VERSION and isinstance(content["jobs"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lives(entry: dict[str, Any], space: str) -> bool:
    """Whether the process that an entry of local.json names (pid, process_start) lives, seen from this machine."""
    if space != process_space() or entry.get("pid") is None:
        return False
    return entry["process_start"] is not None and process_start(entry["pid"]) == entry["process_start"]


def active_jobs(folder: Path) -> set[int]:
    """Indices of the jobs that run, or will as soon as there is room."""
    content = read_local(folder)
    if content is None:
        return set()
    space, supervised = content["process_space"], lives(content, content["process_space"])
    return {
        int(index)
        for index, entry in content["jobs"].items()
        if (entry["state"] == QUEUED and supervised) or (entry["state"] == RUNNING and lives(entry, space))
    }


class Supervisor:
    """Runs the jobs of one submission, `parallelism` at a time, and keeps local.json."""

    def __init__(self, submission: Submission) -> None:
        self.submission, self.parallelism = submission, submission.profile["array_parallelism"]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._entries = {str(job.index): {"state": QUEUED, "pid": None} for job in submission.jobs}
        self._stop = self._told = False

    def run(self) -> int:
        """0: all jobs finished; 1: some failed; 75: stopped."""
        waiting = [job.index for job in self.submission.jobs]
        self.write()
        with self._signals():
            while self._processes or (waiting and not self._stop):
                while waiting and not self._stop and len(self._processes) < self.parallelism:
                    self._start(waiting.pop(0))
                if self._stop and not self._told:
                    self._tell()
                self._reap()
                time.sleep(POLL_S)
        if self._stop:
            return EXIT_UNFINISHED
        return int(any(entry.get("exit_code") for entry in self._entries.values()))

    def write(self) -> None:
        me = {"pid": os.getpid(), "process_start": process_start(os.getpid()), "process_space": process_space()}
        content = {"format": VERSION, **me, "jobs": self._entries}
        write_atomic(self.submission.folder / LOCAL_JSON, json.dumps(content, indent=1).encode() + b"\n")

    def _start(self, index: int) -> None:
        folder = self.submission.folder
        command = [sys.executable, "-m", "lop.cluster.local", str(folder), str(index)]
        if setup := self.submission.profile["setup"]:
            command = ["bash", "-c", "\n".join([*setup, 'exec "$0" "$@"']), *command]
        out, err = (folder / log_name(self.submission, index, stream) for stream in ("out", "err"))
        with open(out, "ab") as stdout, open(err, "ab") as stderr:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        self._processes[index] = process
        started = process_start(process.pid)
        self._entries[str(index)] = {"state": RUNNING, "pid": process.pid, "process_start": started}
        self.write()

    def _tell(self) -> None:
        self._told = True
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)

    def _reap(self) -> None:
        for index, process in list(self._processes.items()):
            if process.poll() is not None:
                del self._processes[index]
                self._entries[str(index)] |= {"state": ENDED, "exit_code": process.returncode}
                self.write()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: int, frame: Any) -> None:
            self._stop = True

        before = {number: signal.signal(number, stop) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def log_name(submission: Submission, index: int, stream: str) -> str:
    """As submitit names them, so that a reader of logs need not know who started the job. stream: "out" or "err"."""
    return f"{array_id(submission)}_{index}_0_log.{stream}"


def run_job(submission: Submission, index: int) -> int:
    """Runs one job in this process; returns the exit code."""
    plan = next(job for job in submission.jobs if job.index == index)
    try:
        job_for(submission, plan)()
        return 0
    except RunsFailed as error:
        return wrong(error, 1)


def main(words: list[str]) -> int:
    submission = read_submission(words[0])
    if submission is None:
        return wrong(f"{words[0]} holds no submission")
    return run_job(submission, int(words[1])) if len(words) > 1 else Supervisor(submission).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
