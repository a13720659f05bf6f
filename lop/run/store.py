"""The files of one run: opened together, appended to, made safe together, and cut back together.

    store = RunStore(folder, layers=[256, 256], info={"configuration": ..., "versions": ...}, fence=owner.check)
    store.append_metrics({"global_step": 2048, "update": 1, ...})          # in memory
    store.flush()                                                          # visible to readers
    store.save_checkpoint(tensors, {"global_step": 2048, ...})             # fsyncs, remembers the offsets

    store.cut_to(store.load_checkpoint())                                  # on resume: None starts the files anew

Own the folder (lop.run.owner) before opening it: opening removes rows that a dead process left torn.
timing.jsonl tells the clock's story, repeated work included, and is never cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lop.run.checkpoint import Checkpoint, Tensors, load_checkpoint, save_checkpoint, write_tensors
from lop.run.files import RunError, disk, make_folder, remove_folders, write_atomic
from lop.run.records import AppendFile, JsonLines, Records, read_jsonl
from lop.run.tables import (
    ACTIVITY_BLOCK_STEPS,
    EPISODES,
    EVENT_KINDS,
    EVENTS,
    UNIT_FIELDS,
    activity_dtype,
    units_dtype,
)
from lop.run.versions import same_configuration

RUN_JSON, SNAPSHOTS = "run.json", "snapshots"
RUN_VERSION = 1
STRETCH = "stretch"
FILES = ("metrics.jsonl", "timing.jsonl", "tasks.jsonl", "episodes", "events", "units", "activity")
_SNAPSHOT_NAME = re.compile(r"(\d+)(?:-[\w.-]+)?\.safetensors")
_FOLDER_PART = re.compile(r"[\w.+=,-]+")
F = TypeVar("F", bound=AppendFile)


def folder_for(runs_dir: str | os.PathLike[str], env: str, algo: str, name: str | None, seed: int) -> Path:
    """`<runs_dir>/<env>/<algo>[-<name>]/seed_<n>`. Errors: RunError for a name that is no plain folder name."""
    if name and not _FOLDER_PART.fullmatch(name):
        raise RunError(f"name={name!r}: letters, digits and _ . + = , - are allowed")
    return Path(runs_dir) / env / (f"{algo}-{name}" if name else algo) / f"seed_{seed}"


def snapshot_step(path: Path) -> int | None:
    """The step in a snapshot's file name; None for other files."""
    match = _SNAPSHOT_NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def stretches(timing: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of timing.jsonl that say where a process began: global_step and versions."""
    return [row for row in timing if row.get("event") == STRETCH]


class RunStore:
    """Appends to a run's files; H = the units of all hidden actor layers. Errors everywhere: RunError (disk)."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        layers: Sequence[int] = (256, 256),
        info: dict[str, Any] | None = None,
        fence: Callable[[], None] | None = None,
    ) -> None:
        """Opens the folder, or makes it; if making fails, what was made is taken back.

        info: JSON for run.json, written only if that is not there yet. fence: called before every batch of writes;
        raises if the folder is no longer ours.
        """
        self.folder, self.layers = Path(folder), list(layers)
        self._fence = fence or (lambda: None)
        self._files: dict[str, AppendFile] = {}
        self._made = make_folder(self.folder)
        with disk("read", self.folder):
            self._before = {path.name for path in self.folder.iterdir()}
        try:
            self._open()
            if RUN_JSON not in self._before:
                content = {"format": RUN_VERSION, "layers": self.layers, **(info or {})}
                write_atomic(self.folder / RUN_JSON, json.dumps(content, indent=1).encode() + b"\n")
        except BaseException:
            self.take_back()
            raise

    def append_metrics(self, row: dict[str, Any]) -> None:
        """One row an update, with global_step and update; nothing that depends on the clock or the host."""
        self.metrics.append(row)

    def append_timing(self, row: dict[str, Any]) -> None:
        """Whatever depends on the clock or the host."""
        self.timing.append(row)

    def append_task(self, row: dict[str, Any]) -> None:
        """One row per task start and task end."""
        self.tasks.append(row)

    def append_episodes(self, episodes: np.ndarray) -> None:
        """Finished episodes [n] of dtype EPISODES."""
        self.episodes.append(episodes)

    def append_events(self, events: np.ndarray) -> None:
        """Deaths and revivals [n] of dtype EVENTS."""
        self.events.append(events)

    def append_units(self, global_step: int, update: int, values: np.ndarray) -> None:
        """values [7, H], UNIT_FIELDS by units; stored at half precision, beyond 65,504 as infinity."""
        record = np.zeros((), self.units.dtype)
        record["global_step"], record["update"] = global_step, update
        with np.errstate(over="ignore", under="ignore"):
            record["values"] = values
        self.units.append(record)

    def append_activity(self, block_end_step: int, counts: np.ndarray) -> None:
        """counts [H]: how often each unit fired in the 1000 env steps that ended at `block_end_step`."""
        record = np.zeros((), self.activity.dtype)
        record["global_step"], record["counts"] = block_end_step, counts
        self.activity.append(record)

    def write_snapshot(
        self, global_step: int, tensors: Tensors, meta: dict[str, Any] | None = None, label: str = ""
    ) -> Path:
        """snapshots/<step>[-<label>].safetensors, replacing one of that name.

        Write it before the checkpoint of the same step: a resume does not come back to that step.
        """
        self._fence()
        path = self.folder / SNAPSHOTS / f"{global_step}{'-' * bool(label)}{label}.safetensors"
        make_folder(path.parent)
        write_tensors(path, tensors, {"global_step": global_step, **(meta or {})})
        return path

    def begin_stretch(self, global_step: int, versions: dict[str, Any]) -> list[str]:
        """Notes in timing.jsonl what computes from this step on (`lop.run.versions`).

        Returns one text per difference from the stretch before: the bits may differ from here on.
        """
        before = stretches(read_jsonl(self.timing.path))
        self.timing.append({"event": STRETCH, "global_step": global_step, "versions": versions})
        if not before:
            return []
        return same_configuration(before[-1]["versions"], versions)

    def flush(self) -> None:
        """Shows readers what was appended."""
        self._fence()
        for file in self._files.values():
            file.flush()

    def sync(self) -> None:
        """Flushes, and waits until the disk has everything."""
        self._fence()
        for file in self._files.values():
            file.sync()

    def offsets(self) -> dict[str, int]:
        """Bytes by file name, buffered ones included; timing.jsonl is not among them."""
        return {name: file.offset for name, file in self._files.items() if file is not self.timing}

    def cut(self, offsets: dict[str, int], global_step: int) -> None:
        """Forgets every row beyond the offsets (a file they do not name: all rows), and every later snapshot."""
        self._fence()
        for name, file in self._files.items():
            if file is not self.timing:
                file.cut(offsets.get(name, file.start))
        with disk("remove snapshots of", self.folder):
            for path in list((self.folder / SNAPSHOTS).glob("*")):
                step = snapshot_step(path)
                if (step is not None and step > global_step) or path.suffix == ".tmp":
                    path.unlink()

    def cut_to(self, checkpoint: Checkpoint | None) -> None:
        """Takes the files back to what the checkpoint knows; None: to their beginning."""
        meta = checkpoint.meta if checkpoint else {"offsets": {}, "global_step": -1}
        self.cut(meta["offsets"], meta["global_step"])

    def save_checkpoint(self, tensors: Tensors, meta: dict[str, Any]) -> None:
        """Makes the files safe, then the checkpoint; meta must hold global_step, and gets the offsets."""
        if "global_step" not in meta:
            raise KeyError("the meta of a checkpoint needs global_step")
        self.sync()
        save_checkpoint(self.folder, tensors, {**meta, "offsets": self.offsets()}, fence=self._fence)

    def load_checkpoint(self) -> Checkpoint | None:
        """The newest sound checkpoint; see lop.run.checkpoint."""
        return load_checkpoint(self.folder)

    def close(self) -> None:
        """Flushes and closes all files, even if one of them fails; in a lost folder nothing more is written."""
        with contextlib.ExitStack() as stack:
            for file in self._files.values():
                stack.callback(file.close)
            try:
                self._fence()
            except BaseException:
                for file in self._files.values():
                    file.forget()
                raise

    def take_back(self) -> None:
        """Closes without writing anything more, and removes the files and folders that opening made."""
        for file in self._files.values():
            file.forget()
        with contextlib.suppress(RunError):
            self.close()
        for name in {*FILES, RUN_JSON} - self._before:
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()
        remove_folders(self._made)

    def _open(self) -> None:
        folder, layout = self.folder, {"layers": self.layers}
        self.metrics = self._add(JsonLines(folder / "metrics.jsonl"))
        self.timing = self._add(JsonLines(folder / "timing.jsonl"))
        self.tasks = self._add(JsonLines(folder / "tasks.jsonl"))
        self.episodes = self._add(Records(folder / "episodes", "episodes", EPISODES))
        self.events = self._add(Records(folder / "events", "events", EVENTS, {"kinds": EVENT_KINDS}))
        self.units = self._add(
            Records(folder / "units", "units", units_dtype(self.layers), {**layout, "fields": UNIT_FIELDS})
        )
        blocks = {**layout, "block_steps": ACTIVITY_BLOCK_STEPS}
        self.activity = self._add(Records(folder / "activity", "activity", activity_dtype(self.layers), blocks))

    def _add(self, file: F) -> F:
        self._files[file.path.name] = file
        return file
