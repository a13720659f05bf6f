"""The runs below a folder, followed while they grow; every page reads from here.

library = Library(Path("runs"))
library.look()              # finds folders, reads what is new; never raises for what it finds in them
Watch(library).start()      # does that for ever in a thread; take library.lock to read
"""

from __future__ import annotations

import functools
import os
import threading
import time
from pathlib import Path
from typing import Any

from lop.dashboard.bands import Bands
from lop.dashboard.curves import Curves
from lop.dashboard.strip import Strip
from lop.dashboard.tail import RecordTail, Row, RowTail
from lop.run.files import RunError
from lop.run.owner import is_alive, read_owner
from lop.run.reader import Run, natural, read_run
from lop.run.store import RUN_JSON

LOOK_S, FIND_S, OWNER_S = 1.0, 2.0, 10.0
FILL_S = 0.5  # of each look, while long files are still being read


class Entry:
    """One run folder. name: its path below the library's root; variation: the folder of all its seeds."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.name = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
        self.variation = self.name.rpartition("/")[0] or self.name
        self.problem, self.info = _information(folder)
        configuration = self.info.get("configuration", {})
        self.env = str(_within(configuration, "env", "name") or "?")
        self.algo = str(_within(configuration, "algo", "name") or "?")
        self.seed = configuration.get("seed")
        self.total_steps = _integer(configuration.get("total_steps"))
        self.layers = [_integer(units) for units in self.info.get("layers", [])]
        per_update = _integer(_within(configuration, "ppo", "steps_per_update"))
        self.curves = Curves(folder / "metrics.jsonl", per_update or 1)
        self.tasks: list[Row] = []
        self._task_rows = RowTail(folder / "tasks.jsonl")
        self._looked_at_owner = -OWNER_S
        self.status, self.message = "", ""

    @functools.cached_property
    def events(self) -> RecordTail:
        """Deaths and revivals; poll before use."""
        return RecordTail(self.folder / "events")

    @functools.cached_property
    def strip(self) -> Strip:
        """Units over time; poll before use."""
        return Strip(self.folder / "units")

    @property
    def task_steps(self) -> int:
        """Environment steps of a task; 0 where there are no tasks."""
        return _integer(_within(self.info.get("configuration", {}), "env", "task_steps"))

    @property
    def notes(self) -> list[str]:
        """What is wrong with the folder, in words."""
        damaged = self.curves.damaged + self._task_rows.damaged
        rows = f"{damaged} damaged row{'s' * (damaged > 1)} passed over" if damaged else ""
        return [note for note in (self.problem, self.message, rows) if note]

    def poll(self) -> bool:
        """Reads what is new; whether there was anything."""
        before = self.curves.version, len(self.tasks), self.status, self.message
        self.curves.poll()
        rows, anew = self._task_rows.poll()
        self.tasks = rows if anew else self.tasks + rows
        now = time.monotonic()
        if now - self._looked_at_owner >= OWNER_S or before[0] != self.curves.version:
            self._looked_at_owner = now
            self.status, self.message = _standing(self.folder)
        return before != (self.curves.version, len(self.tasks), self.status, self.message)


class Library:
    """All runs below `root`; `version` changes with anything that a page could show."""

    def __init__(self, root: Path) -> None:
        self.root, self.lock = root, threading.RLock()
        self.entries: dict[str, Entry] = {}
        self.no_runs: list[str] = []  # folders that look like runs and are none
        self.trouble = ""  # an error of our own while looking
        self.version = 0
        self.bands = Bands()
        self._found_at = -FIND_S

    @property
    def runs(self) -> list[Entry]:
        """The runs in order of their names."""
        return [self.entries[name] for name in sorted(self.entries, key=natural)]

    def look(self) -> None:
        """Finds new folders now and then, and reads what the known ones gained."""
        if time.monotonic() - self._found_at >= FIND_S:
            self._find()
        for entry in list(self.entries.values()):
            with self.lock:
                self.version += entry.poll()

    def fill(self, until: float) -> bool:
        """Reads on in long files until this time.monotonic(); whether some are left."""
        waiting = [entry for entry in self.entries.values() if entry.curves.is_preview]
        for entry in waiting:
            while entry.curves.is_preview:
                if time.monotonic() >= until:
                    return True
                with self.lock:
                    entry.curves.fill()
                    self.version += not entry.curves.is_preview
                time.sleep(0.001)  # lets a page have the lock
        return False

    def _find(self) -> None:
        runs, others = find_folders(self.root)
        self._found_at = time.monotonic()
        for folder in runs:
            known = next((e for e in self.entries.values() if e.folder == folder), None)
            if known is None or known.problem:
                entry = Entry(folder, self.root)
                with self.lock:
                    self.entries[entry.name] = entry
                    self.version += known is None or known.problem != entry.problem
        gone = {name for name, entry in self.entries.items() if entry.folder not in set(runs)}
        with self.lock:
            self.entries = {name: entry for name, entry in self.entries.items() if name not in gone}
            self.version += bool(gone) or others != self.no_runs
            self.no_runs = others


class Watch(threading.Thread):
    """Looks for ever; a daemon, so that nothing waits for it."""

    def __init__(self, library: Library) -> None:
        super().__init__(name="watch", daemon=True)
        self.library = library

    def run(self) -> None:
        while True:
            begin = time.monotonic()
            self.once()
            time.sleep(max(0.05, begin + LOOK_S - time.monotonic()))

    def once(self) -> None:
        """One look, and half a second of reading on in long files."""
        try:
            self.library.look()
            self.library.fill(time.monotonic() + FILL_S)
        except Exception as error:  # a page that silently stands still would be worse
            self.library.trouble = f"{type(error).__name__}: {error}"
            self.library.version += 1


def find_folders(root: Path) -> tuple[list[Path], list[str]]:
    """Folders below root that hold a run, and the names of those called seed_<n> that do not."""
    runs, others = [], []
    for text, below, files in os.walk(root):
        folder = Path(text)
        if RUN_JSON in files:
            runs.append(folder)
            below.clear()
        elif folder.name.startswith("seed_"):
            others.append(folder.relative_to(root).as_posix())
    return sorted(runs), sorted(others)


def _information(folder: Path) -> tuple[str, dict[str, Any]]:
    """What is wrong with run.json, and what it holds."""
    try:
        run: Run = read_run(folder)
        return "", run.info
    except (RunError, OSError, ValueError) as error:
        return " ".join(str(error).split()), {}


def _standing(folder: Path) -> tuple[str, str]:
    """running, finished, stopped, failed or died; and what its process said last."""
    try:
        owner = read_owner(folder)
    except RunError as error:
        return "?", str(error)
    if owner is None:
        return "?", ""
    try:
        status = str(owner["status"])
        if status == "running" and not is_alive(owner):
            return "died", "its process ended without a word; the same command goes on"
        return status, str(owner["message"] or "") if status == "failed" else ""
    except (TypeError, ValueError, OverflowError):
        return "?", "owner.json is damaged"


def _within(tree: Any, *path: str) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _integer(value: Any) -> int:
    """A whole number of steps or units; 0 for what is none."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0
