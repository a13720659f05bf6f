"""The folders of a population's members: opening, going on, writing, failing and finishing, one member at a time."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lop.boards import pictures
from lop.run.checkpoint import CHECKPOINT, PREVIOUS, Checkpoint
from lop.run.config import ConfigError, TrainConfig
from lop.run.files import RunError, disk
from lop.run.owner import claim
from lop.run.reader import read_run
from lop.run.store import RUN_JSON, RunStore, folder_for
from lop.run.trackers import Pictures, WandbTracker
from lop.run.versions import same_configuration, versions
from lop.run.wandb_run import task_columns
from lop.training.frictions import first_difference, member_frictions
from lop.training.observer import Records

#: settings that do not touch a run's numbers, or that only say where and how it computes
MAY_DIFFER = (
    "checkpoint_every_steps",
    "snapshots",
    "grace_s",
    "resume",
    "runs_dir",
    "device",
    "threads",
    "progress",
    "wandb",
)

MAX_NAMED = 8  # differing settings that an error names


def member_configuration(config: TrainConfig, seed: int) -> dict[str, Any]:
    """The configuration of one member as plain data: with its seed, without its companions."""
    plain = dataclasses.asdict(config)
    del plain["seeds"]
    return {**plain, "seed": seed}


class Member:
    """One seed's run folder, owned by this process while it is open."""

    def __init__(self, config: TrainConfig, seed: int):
        self.config, self.seed = config, seed
        self.folder = folder_for(config.runs_dir, config.env.name, config.algo.name, config.name, seed)
        self.state: dict[str, np.ndarray] | None = None
        self.update = self._saved = 0
        self.error = ""
        self._closing: list[dict[str, Any]] = []
        self._frictions = member_frictions(config, seed)
        self._checkpoint: Checkpoint | None = None
        self._versions: dict[str, Any] = {}
        self._store: RunStore | None = None
        self._tracker: WandbTracker | None = None

    @property
    def is_open(self) -> bool:
        return self._store is not None

    @property
    def finished(self) -> bool:
        return self.update >= self.config.num_updates

    def check(self) -> None:
        """Whether the folder may be used, before anything is created; ConfigError or RunError, one line."""
        with disk("look into", self.folder):
            there = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        exists = RUN_JSON in there
        if self.config.resume == "never" and exists:
            raise ConfigError(f"resume=never: {self.folder} exists already; give this run another name=...")
        if self.config.resume == "must" and not exists:
            raise ConfigError(f"resume=must: there is no run in {self.folder}; resume=auto begins one")
        if exists:
            self._check_configuration()
        elif there & {CHECKPOINT, PREVIOUS}:
            raise RunError(
                f"{self.folder} holds a checkpoint but no {RUN_JSON}: bring it back or give this run another name=..."
            )

    def _check_configuration(self) -> None:
        run, current = read_run(self.folder), member_configuration(self.config, self.seed)
        differences = same_configuration(run.configuration, current, may_differ=MAY_DIFFER, may_grow=("total_steps",))
        if differences:
            more = f" and {len(differences) - MAX_NAMED} more" if len(differences) > MAX_NAMED else ""
            raise ConfigError(
                f"{self.folder} holds a run of another configuration: {'; '.join(differences[:MAX_NAMED])}{more}; "
                "set these back or give this run another name=..."
            )
        if changed := first_difference(run.info.get("frictions", []), self._frictions):
            raise ConfigError(
                f"{self.folder} holds a run with other frictions: {changed}; bring back the table that "
                "env.frictions_file named or give this run another name=..."
            )

    def open(self) -> None:
        """Claim the folder and read its last checkpoint; what this makes, `take_back` removes."""
        self._owner = claim(self.folder)
        try:
            info = {"configuration": member_configuration(self.config, self.seed)}
            if self._frictions:
                info["frictions"] = self._frictions
            self._versions = versions(self.config.device)
            self._store = RunStore(
                self.folder,
                layers=list(self.config.ppo.hidden_sizes),
                info={**info, "versions": self._versions},
                fence=self._owner.check,
            )
            self._checkpoint = self._store.load_checkpoint()
        except BaseException:
            self.take_back()
            raise

    def begin(self) -> None:
        """Go back to the last checkpoint."""
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint:
            self.state, self.update = checkpoint.tensors, int(checkpoint.meta["update"])
            self._saved = self.update
            # a longer run does not end where the shorter one did
            self._closing = checkpoint.meta["closing"] if self.finished else []
        self._store.cut_to(checkpoint)
        for difference in self._store.begin_stretch(self.update * self.config.ppo.steps_per_update, self._versions):
            warnings.warn(f"{self.folder}: bits may differ from here on: {difference}", stacklevel=2)

    def take_back(self) -> None:
        """Undo `open`: nothing is left of a folder that was not there, and nothing changed in one that was."""
        if self._store is not None:
            self._store.take_back()
        self._store = None
        self._owner.abandon()

    def start_tracking(self) -> None:
        """wandb, once every member's folder is open."""
        settings = self.config.wandb
        self._tracker = WandbTracker(
            self.folder,
            f"{self.config.env.name}/{self.config.label}",
            member_configuration(self.config, self.seed),
            project=settings.project,
            entity=settings.entity,
            mode=None if settings.mode == "auto" else settings.mode,
            tags=settings.tags,
        )

    def write(self, records: Records, timing: dict[str, Any]) -> None:
        """Everything one update adds."""
        store, row = self._store, records.row
        for step, label, tensors in records.snapshots:
            store.write_snapshot(step, tensors, label=label)
        store.append_metrics(row)
        store.append_timing({"global_step": row["global_step"], "update": row["update"], **timing})
        store.append_episodes(records.episodes)
        columns = task_columns(records.tasks)
        for task_row in records.tasks:
            if task_row.pop("closing", False):
                self._closing.append(task_row)
            else:
                store.append_task(task_row)
        for block_end, counts in records.activity:
            store.append_activity(block_end, counts)
        if records.units is not None:
            store.append_units(row["global_step"], row["update"], records.units)
        if records.events is not None:
            store.append_events(records.events)
        store.flush()
        self._tracker.log({**row, **columns}, self._heat_maps(row["global_step"]))

    def _heat_maps(self, step: int) -> Pictures | None:
        """What draws the pictures that go to the tracker with the row of this step; None: there are none."""
        every, per_update = int(self.config.wandb.images_every_steps), self.config.ppo.steps_per_update
        due = pictures.due(step, per_update, every, self.config.num_updates * per_update)
        return functools.partial(pictures.heat_maps, self.folder) if due else None

    def snapshot(self, step: int, tensors: dict[str, np.ndarray]) -> None:
        self._store.write_snapshot(step, tensors)

    def save(self, state: dict[str, np.ndarray], update: int) -> None:
        """A checkpoint after `update` updates."""
        self.state, self.update, self._saved = state, update, update
        step = update * self.config.ppo.steps_per_update
        self._store.save_checkpoint(state, {"update": update, "global_step": step, "closing": self._closing})

    def save_what_is_new(self) -> None:
        """A checkpoint of `state`, unless the last one holds it already or the folder is closed."""
        if self.is_open and self.state is not None and self.update > self._saved:
            self.save(self.state, self.update)

    def close(self, status: str, message: str = "") -> None:
        """Let go of the folder: finished, stopped or failed. What cannot be written any more is not an error here."""
        if status == "finished":
            self._write_closing()
        try:
            self._store.close()
        except RunError as error:
            status, message = "failed", message or str(error)
        self._store = None
        # after the store: it may take a minute where the connection is gone
        if self._tracker is not None:
            self._tracker.finish(status)
        self.error = message if status == "failed" else ""
        self._owner.release(status, message)

    def _write_closing(self) -> None:
        """Rows that close the last task. They follow the checkpoint, so that a longer run cuts them off again."""
        for row in self._closing:
            self._store.append_task(row)
        self._closing = []


def open_members(config: TrainConfig) -> list[Member]:
    """All members' folders, checked before the first is created and let go again if one cannot be had."""
    members = [Member(config, seed) for seed in config.seeds]
    for member in members:
        member.check()
    opened: list[Member] = []
    try:
        for member in members:
            member.open()
            opened.append(member)
        for member in members:
            member.begin()
    except BaseException:
        for member in opened:
            member.take_back()
        raise
    return members


def describe(folder: Path) -> str:
    """How to say where a run is."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
