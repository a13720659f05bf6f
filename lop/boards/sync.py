"""Sends to wandb what it does not have of the runs below a folder.

The rows come from the run folder's own metrics.jsonl, not from wandb's offline files: it is the truth, without the rows
that a killed process lost in wandb's buffers and without those that were computed twice. wandb is asked for the last
row that it has of a run, and gets what follows it; so nothing is sent twice, whoever sent the beginning, and a sync that
was killed goes on where wandb stopped hearing. (`wandb sync` lets each part of a resumed run replace the one before:
github.com/wandb/wandb/issues/5865.) Parts whose rows have all arrived get wandb's own mark, and `wandb sync` passes over them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wandb

from lop.boards.pictures import heat_maps
from lop.boards.server import TIMEOUT_S, Server, ServerError
from lop.run.files import RunError
from lop.run.owner import is_alive
from lop.run.reader import Run, list_runs, natural, read_run
from lop.run.wandb_run import (
    SETTINGS,
    about_run,
    define_axis,
    images,
    new_sidecar,
    read_sidecar,
    task_columns,
    write_sidecar,
)

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

PROGRESS = """
query LopRunProgress($entity: String, $project: String, $run: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $run, missingOk: true) { id historyLineCount historyTail }
  }
}
"""
CONFIRM_S = 20.0  # wandb may count what it has received a little later
FINISH_S, ROWS_PER_S = 60.0, 50.0  # of a slow connection: how long sending may take at most
MARK = ".synced"  # wandb's own, behind the name of a .wandb file


@dataclasses.dataclass(frozen=True)
class Progress:
    """What wandb has of a run: its rows, and the step of the last one (-1: none)."""

    rows: int = 0
    last_step: int = -1


class Sync:
    """Sends runs one after the other; each ends in one line of text."""

    def __init__(
        self, server: Server, entity: str | None, project: str | None, untracked: bool = False, anew: bool = False
    ) -> None:
        """untracked: also runs that were made with wandb.mode=disabled; anew: whole, as new runs at wandb."""
        self.server, self.entity, self.project = server, entity, project
        self.untracked, self.anew = untracked, anew

    def everything(self, root: Path) -> int:
        """Every run below the folder; says what became of each. Returns the exit code. Errors: ServerError."""
        folders = sorted(list_runs(root), key=lambda folder: natural(folder.as_posix()))
        if not folders:
            raise RunError(f"there are no runs below {root}")
        complete = True
        for folder in folders:
            try:
                with one_at_a_time(folder):
                    print(f"{folder}: {self.run(read_run(folder))}", flush=True)
            except ServerError:
                raise
            except RunError as error:
                complete = False
                print(f"error: {folder}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 0 if complete else 1

    def run(self, run: Run) -> str:
        """Sends one run; says what was done. Errors: RunError, ServerError."""
        living = bool(run.owner and is_alive(run.owner))
        sidecar = read_sidecar(run.folder)
        if sidecar is None and not self.untracked:
            return "not sent: it was made with wandb.mode=disabled (--all sends it too)"
        if living and (sidecar is None or sidecar["mode"] == "online"):
            return f"left alone: it is in training {'and sends its rows itself' if sidecar else 'without wandb'}"
        about = self._about(run)
        if sidecar is None or (self.anew and not living):
            sidecar = new_sidecar(about["group"])
            write_sidecar(run.folder, sidecar)
        before = self._progress(about, sidecar["id"])
        rows = rows_of(run)
        missed = sum(row["global_step"] <= before.last_step for row in rows) - before.rows
        new = [row for row in rows if row["global_step"] > before.last_step]
        if new:
            self._send(run, about, sidecar["id"], new, living)
            self._confirm(about, sidecar["id"], new[-1]["global_step"])
        if rows and not living:
            self._mark(run, sidecar, rows[-1]["global_step"])
        said = f"sent {len(new):,} rows" if new else "nothing new"
        said += f" up to step {new[-1]['global_step']:,}" if new else ""
        said += " (still in training)" if living else ""
        return said + (f"; wandb lacks {missed:,} earlier rows, --anew sends it whole" if missed > 0 else "")

    def _about(self, run: Run) -> dict[str, Any]:
        """Arguments of wandb.init, as the run's own tracker had them."""
        settings, name = run.configuration.get("wandb", {}), run.configuration.get("name")
        try:
            group = f"{run.configuration['env']['name']}/{run.configuration['algo']['name']}"
        except (KeyError, TypeError):
            raise RunError("its run.json names no environment or no algorithm") from None
        return about_run(
            run.folder.resolve(),
            f"{group}-{name}" if name else group,
            run.configuration,
            project=self.project or settings.get("project") or "lop",
            entity=self.entity or settings.get("entity"),
            tags=settings.get("tags") or [],
        )

    def _progress(self, about: dict[str, Any], number: str) -> Progress:
        known = {"entity": about["entity"], "project": about["project"], "run": number}
        bucket = ((self.server.ask(PROGRESS, known) or {}).get("model") or {}).get("bucket")
        if not bucket or not bucket["historyLineCount"]:
            return Progress()
        try:
            # a list of rows, each of them JSON again
            last = json.loads(json.loads(bucket["historyTail"])[-1])
            return Progress(int(bucket["historyLineCount"]), int(last["global_step"]))
        except (ValueError, TypeError, KeyError, IndexError):
            raise RunError(
                f"wandb has rows of {number} that are not ours (no global_step); --anew sends the run as a new one"
            ) from None

    def _send(self, run: Run, about: dict[str, Any], number: str, rows: list[dict[str, Any]], living: bool) -> None:
        """The rows in order, the heat maps with the last one."""
        rows[-1] = {**rows[-1], **pictures_of(run)}
        status = (run.owner or {}).get("status", "")
        with tempfile.TemporaryDirectory(prefix="lop-boards-") as folder, self.server.spoken():
            limit = FINISH_S + len(rows) / ROWS_PER_S
            settings = wandb.Settings(**SETTINGS, init_timeout=2 * TIMEOUT_S, finish_timeout=limit)
            target = wandb.init(
                **about,
                id=number,
                dir=folder,
                mode="online",
                resume="allow",
                reinit="create_new",
                settings=settings,
            )
            define_axis(target)
            for row in rows:
                target.log(row)
            target.summary["status"] = "running" if living else status
            target.finish(exit_code=int(status == "failed"))

    def _confirm(self, about: dict[str, Any], number: str, step: int) -> None:
        """Errors: RunError if wandb does not have the rows up to `step`."""
        until = time.monotonic() + CONFIRM_S
        while (reached := self._progress(about, number).last_step) < step:
            if time.monotonic() > until:
                raise RunError(f"wandb has it up to step {reached:,} of {step:,}; the same command goes on there")
            time.sleep(0.5)

    def _mark(self, run: Run, sidecar: dict[str, Any], step: int) -> None:
        for part in (run.folder / "wandb").glob(f"*run-*-{sidecar['id']}/*.wandb"):
            with contextlib.suppress(OSError):
                part.with_name(part.name + MARK).touch()
        write_sidecar(run.folder, sidecar | {"last_step": step, "mode": "online"})


def rows_of(run: Run) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, and beside each what tasks.jsonl gained up to its step."""
    tasks = sorted(run.tasks, key=lambda row: row["global_step"])
    rows, begin = [], 0
    for row in run.metrics_rows:
        end = begin
        while end < len(tasks) and tasks[end]["global_step"] <= row["global_step"]:
            end += 1
        columns = task_columns(tasks[begin:end])
        rows.append({**row, **columns} if columns else row)
        begin = end
    return rows


def pictures_of(run: Run) -> dict[str, Any]:
    """The heat maps for wandb; none, and a note, where they cannot be drawn: the rows are sent all the same."""
    try:
        return images(heat_maps(run.folder))
    except Exception as error:
        print(f"note: {run.folder}: no heat maps: {' '.join(str(error).split())}", file=sys.stderr)
        return {}


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keeps a second sync off the run folder. Errors: RunError if one is at work there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError("another sync is sending it just now") from None
            except OSError:
                pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)
