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
import sys
import tempfile
import time
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
    sending,
    task_columns,
    write_sidecar,
)

PROGRESS = """
query LopRunProgress($entity: String, $project: String, $run: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $run, missingOk: true) { id historyLineCount historyTail }
  }
}
"""
ANSWERS = "query LopAnswers { viewer { id } }"
DEFAULT_PROJECT = "lop"
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
        if self.anew and len(folders) > 1:
            # the same command again would send each as yet another run
            raise RunError(f"--anew sends one run: give its folder, {root} holds {len(folders)}")
        complete = True
        for folder in folders:
            try:
                with sending(folder) as alone:
                    if not alone:
                        raise RunError("another sync is sending it just now")
                    print(f"{folder}: {self.run(read_run(folder))}", flush=True)
            except RunError as error:
                if isinstance(error, ServerError):
                    # is it this run that wandb refuses (deleted there, a tag too long)? else this raises
                    self.server.ask(ANSWERS, {})
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
        about, rows = self._about(run), rows_of(run)
        if sidecar is None or (self.anew and not living):
            # all rows wait: a run that is resumed before they have arrived stays offline
            sidecar = new_sidecar(about["group"]) | {"last_step": rows[-1]["global_step"] if rows else -1}
            write_sidecar(run.folder, sidecar)
        before = self._progress(about, sidecar["id"])
        missed = sum(row["global_step"] <= before.last_step for row in rows) - before.rows
        new = [row for row in rows if row["global_step"] > before.last_step]
        if new:
            self._send(run, about, sidecar["id"], new, living)
            self._confirm(about, sidecar["id"], new[-1]["global_step"])
        if rows and not living and self._is_home(about, run):
            # wandb may have more: rows that a resume cut back and that will be computed again
            last = max(rows[-1]["global_step"], before.last_step)
            write_sidecar(run.folder, sidecar | {"last_step": last, "mode": "online"})
            if missed <= 0:
                mark_parts(run.folder, sidecar["id"])
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
            project=self.project or settings.get("project") or DEFAULT_PROJECT,
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

    def _is_home(self, about: dict[str, Any], run: Run) -> bool:
        """Whether the run's own tracker would go on in the same project."""
        own = run.configuration.get("wandb", {})
        return (about["entity"], about["project"]) == (own.get("entity"), own.get("project") or DEFAULT_PROJECT)


def rows_of(run: Run) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, and beside each what tasks.jsonl gained up to its step."""
    # first the rows: a trainer may add to both files meanwhile
    metrics, tasks = run.metrics_rows, run.tasks
    if any("global_step" not in row for row in (*metrics, *tasks)):
        raise RunError("metrics.jsonl or tasks.jsonl is damaged: a row has no global_step")
    tasks = sorted(tasks, key=lambda row: row["global_step"])
    rows, begin = [], 0
    for row in metrics:
        end = begin
        while end < len(tasks) and tasks[end]["global_step"] <= row["global_step"]:
            end += 1
        columns = task_columns(tasks[begin:end])
        rows.append({**row, **columns} if columns else row)
        begin = end
    return rows


def mark_parts(folder: Path, number: str) -> None:
    """Marks the offline parts of a run as sent, as wandb does."""
    for part in (folder / "wandb").glob(f"*run-*-{number}/*.wandb"):
        with contextlib.suppress(OSError):
            part.with_name(part.name + MARK).touch()


def pictures_of(run: Run) -> dict[str, Any]:
    """The heat maps for wandb; none, and a note, where they cannot be drawn: the rows are sent all the same."""
    try:
        return images(heat_maps(run.folder))
    except Exception as error:
        print(f"note: {run.folder}: no heat maps: {' '.join(str(error).split())}", file=sys.stderr)
        return {}
