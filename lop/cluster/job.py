"""What runs inside a job: the workers of its processes, from the first start to the last requeue.

`Job` is plain data, pickled by submitit when it is sent: the job runs what was submitted, whatever becomes of cfg/. It keeps
no state of its own. Its runs find their checkpoints, so a job that starts again with its first arguments (requeue,
preemption, node failure) goes on where its runs stand.

    USR2 (time limit ahead, preemption with a user signal): workers save and stop, submitit requeues the job
    TERM (plain preemption, scancel):                       workers save and stop; Slurm knows whether it comes back
    a worker dies:                                          it is started again, at most three times
    a run fails:                                            the others go on; at the end the job fails and names it
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lop.cluster.crew import Crew, Order, ending, say
from lop.cluster.words import many
from lop.run.files import RunError
from lop.run.owner import read_owner
from lop.run.signals import EXIT_UNFINISHED

USER_SIGNAL_WAIT_S = 2.0  # Slurm's preemption sends TERM first, the user signal just after
REQUEUE_RETRY_S = 5.0


class RunsFailed(Exception):
    """Runs of the job failed; the text names them."""


@dataclass(frozen=True)
class Job:
    """One job. processes: {"config": a TrainConfig as plain data, "runs": folders relative to runs_dir}.

    cores: at most so many, where no scheduler says how many it granted; None: all that there are.
    """

    runs_dir: str
    processes: list[dict[str, Any]]
    cores: int | None = None
    scratch_dir: str | None = None
    signal_lead_s: int = 90

    def __call__(self) -> str:
        """Runs everything to its end; returns what was done.

        Errors: RunsFailed. SystemExit: 75 after a TERM; submitit's own after USR2.
        """
        # workers get the time between the signal and the kill, less what requeueing takes
        crew = Crew(self.orders(), stop_within_s=max(10.0, self.signal_lead_s - 15.0))
        requeue = signal.getsignal(signal.SIGUSR2)
        codes = crew.work()
        unfinished = [code for code in codes if code == EXIT_UNFINISHED or code < 0]
        if crew.stop and unfinished:
            self._leave(crew, requeue)
        failed = failures(self.runs_dir, self.processes, codes)
        count = sum(len(process["runs"]) for process in self.processes)
        if failed:
            raise RunsFailed(f"{len(failed)} of {count} runs failed: {'; '.join(failed)}")
        say(done := f"{many(count, 'run')} finished")
        return done

    def checkpoint(self) -> Any:
        """What submitit requeues. Called when the workers have ended, or before they began."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)

    def orders(self) -> list[Order]:
        """The workers' orders, with threads and GPUs shared out as the scheduler granted them."""
        cores, gpus, n = granted_cores(self.cores), granted_gpus(), len(self.processes)
        say(f"{many(n, 'process', 'es')}, {many(cores, 'core')}, CUDA_VISIBLE_DEVICES={','.join(gpus) or '-'}")
        return [
            Order(
                {**process["config"], "threads": threads_for(process["config"], cores // n)},
                gpus[i % len(gpus)] if gpus else None,
                self.scratch_dir,
            )
            for i, process in enumerate(self.processes)
        ]

    def _leave(self, crew: Crew, requeue: Any) -> None:
        """Ends a job that was asked to stop; with USR2, through submitit's handler, which requeues it."""
        until = time.monotonic() + USER_SIGNAL_WAIT_S
        with crew.listening():
            while "SIGUSR2" not in crew.asked and time.monotonic() < until and callable(requeue):
                time.sleep(0.05)
            say(f"stopped by {crew.stop}; its runs go on from their checkpoints")
            while "SIGUSR2" in crew.asked and callable(requeue):
                try:
                    requeue(signal.SIGUSR2, None)
                    break
                except (subprocess.SubprocessError, OSError) as error:
                    # the controller may be away for a moment, and nobody else will requeue this job
                    say(f"not requeued yet, trying again: {error}")
                    time.sleep(REQUEUE_RETRY_S)
        raise SystemExit(EXIT_UNFINISHED)


def threads_for(config: dict[str, Any], share: int) -> int:
    """Physics threads of one process: its share of the cores, no more than it has environments.

    threads=1, the default, leaves the choice to us (any number gives the same bits); a larger one is a limit.
    """
    wanted = config["threads"] if config["threads"] > 1 else share
    return max(1, min(wanted, share, len(config["seeds"]) * config["num_envs"]))


def granted_cores(otherwise: int | None = None) -> int:
    """Cores that this job may use: Slurm's number (without Slurm: `otherwise`), and no more than the kernel lets us."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slurm = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    granted = int(slurm) if slurm and slurm.isdigit() else otherwise
    return max(1, min(here, granted or here))


def granted_gpus() -> list[str]:
    """GPUs that this job may use, as CUDA_VISIBLE_DEVICES names them."""
    return [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]


def failures(runs_dir: str, processes: list[dict[str, Any]], codes: list[int]) -> list[str]:
    """One text per run that did not finish, "sant/cbp/seed_3: why". codes: how each process ended."""
    found = []
    for process, code in zip(processes, codes, strict=True):
        if code == 0:
            continue
        for run in process["runs"]:
            status, message = _ended(Path(runs_dir) / run)
            if status != "finished":
                found.append(f"{run}: {message if status == 'failed' and message else f'its process: {ending(code)}'}")
    return found


def _ended(folder: Path) -> tuple[str, str]:
    """status and message of a run's owner.json, empty if it has none."""
    try:
        owner = read_owner(folder)
    except RunError as error:
        return "", str(error)
    return (owner["status"], owner["message"]) if owner else ("", "")
