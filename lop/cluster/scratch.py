"""Runs on a node-local folder, copied to the result folder while they go on.

The trainer writes to scratch; a thread copies rows, snapshots and checkpoints over, in an order that leaves the result folder
ready for a resume at any moment: rows up to a checkpoint first, on the disk, then the checkpoint, whole or not at all. The
result folder is claimed like that of any other run, and every copy is fenced: a twin that lost it copies nothing more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from lop.run.checkpoint import CHECKPOINT, PREVIOUS, load_checkpoint
from lop.run.config import TrainConfig
from lop.run.files import RunError, disk, make_folder, write_all, write_atomic
from lop.run.owner import Owner, OwnershipLost, claim, read_owner
from lop.run.store import FILES, RUN_JSON, SNAPSHOTS, folder_for
from lop.run.wandb_run import SIDECAR

EVERY_S = 30.0
WHOLE = (RUN_JSON, SIDECAR)  # small files that are replaced, beside the checkpoints
BLOCK = 1 << 22
Mark = tuple[int, int] | None


class Mirror:
    """One run: its folder on scratch, and the result folder, which is ours while the mirror lives."""

    def __init__(self, source: Path, target: Path) -> None:
        """Claims the result folder. Errors: OwnedElsewhere, RunError."""
        self.source, self.target = source, target
        self.owner: Owner = claim(target)
        self._positions: dict[str, int] = {}
        self._checkpoint: Mark = None

    def fetch(self) -> None:
        """Brings what there is to scratch, so that the trainer goes on there."""
        make_folder(self.source)
        checkpoint = load_checkpoint(self.target)
        offsets = checkpoint.meta["offsets"] if checkpoint else {}
        with disk("copy to scratch", self.target):
            for name in (*FILES, *WHOLE, CHECKPOINT, PREVIOUS):
                if (self.target / name).is_file():
                    shutil.copyfile(self.target / name, self.source / name)
            # timing.jsonl alone is never cut back
            for name in FILES:
                path = self.target / name
                kept = path.stat().st_size if name == "timing.jsonl" and path.is_file() else 0
                self._positions[name] = offsets.get(name, kept)

    def push(self) -> None:
        """Copies what is new. Errors: OwnershipLost, and then nothing was copied; RunError (disk)."""
        self.owner.check()
        with disk("copy to", self.target):
            # read before the rows: those that it counts on were on the disk before it
            mark, checkpoint = self._new_checkpoint()
            for name in FILES:
                self._append(name)
            self._copy_snapshots()
            for name in WHOLE:
                if (self.source / name).is_file():
                    write_atomic(self.target / name, (self.source / name).read_bytes())
            if checkpoint:
                self.owner.check()
                for name, content in checkpoint:
                    write_atomic(self.target / name, content)
            self._checkpoint = mark

    def finish(self) -> None:
        """The last copy, wandb's offline files included, and the result folder is let go."""
        ended = read_owner(self.source)
        status, message = (ended["status"], ended["message"]) if ended else ("failed", "it did not begin")
        try:
            self.push()
            with disk("copy to", self.target):
                if (self.source / "wandb").is_dir():
                    shutil.copytree(self.source / "wandb", self.target / "wandb", symlinks=True, dirs_exist_ok=True)
        except RunError as error:
            status, message = "failed", str(error)
            raise
        finally:
            self.owner.release("failed" if status == "running" else status, message)

    def _new_checkpoint(self) -> tuple[Mark, list[tuple[str, bytes]]]:
        """What tells the present checkpoint from others; content of both, the older first, unless they were copied."""
        path = self.source / CHECKPOINT
        if not path.is_file():
            return None, []
        # taken before reading: a newer one that comes meanwhile has another mark, and is copied next time
        status = path.stat()
        mark = (status.st_ino, status.st_mtime_ns)
        if mark == self._checkpoint:
            return mark, []
        found = [(CHECKPOINT, path.read_bytes())]
        with contextlib.suppress(FileNotFoundError):
            found.insert(0, (PREVIOUS, (self.source / PREVIOUS).read_bytes()))
        return mark, found

    def _append(self, name: str) -> None:
        """Makes the target as long as the source, writing from where the last copy ended."""
        source, position = self.source / name, self._positions.get(name, 0)
        if not source.is_file() or (size := source.stat().st_size) < position:
            return
        descriptor = os.open(self.target / name, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.lseek(descriptor, position, os.SEEK_SET)
            with open(source, "rb") as file:
                file.seek(position)
                while position < size and (block := file.read(min(BLOCK, size - position))):
                    write_all(descriptor, block)
                    position += len(block)
            os.ftruncate(descriptor, position)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._positions[name] = position

    def _copy_snapshots(self) -> None:
        for path in sorted((self.source / SNAPSHOTS).glob("*.safetensors")):
            copy = self.target / SNAPSHOTS / path.name
            if not copy.is_file() or copy.stat().st_mtime_ns < path.stat().st_mtime_ns:
                make_folder(copy.parent)
                write_atomic(copy, path.read_bytes())


def train_on_scratch(
    config: TrainConfig,
    scratch_dir: str,
    train: Callable[[TrainConfig], int] | None = None,
    every_s: float = EVERY_S,
) -> int:
    """Trains below `scratch_dir`, which may name $VARIABLES of the node; returns the exit code.

    Errors: as lop.train; OwnedElsewhere for the result folders; RunError if the last copy fails.
    """
    train = train or importlib.import_module("lop.train").train
    top = Path(os.path.expandvars(os.path.expanduser(scratch_dir)))
    make_folder(top)
    with disk("make a folder in", top):
        folder = Path(tempfile.mkdtemp(prefix="lop-", dir=top))
    mirrors: list[Mirror] = []
    try:
        mirrors = _claimed(config, folder)
        for mirror in mirrors:
            mirror.fetch()
    except BaseException:
        for mirror in mirrors:
            mirror.owner.abandon()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    copying = Copying(mirrors, every_s)
    try:
        code = train(dataclasses.replace(config, runs_dir=str(folder)))
    finally:
        problems = copying.end()
    if problems:
        # what could not be copied stays on the node
        raise RunError(f"{'; '.join(problems)}; the runs are still in {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    return code


def _claimed(config: TrainConfig, folder: Path) -> list[Mirror]:
    mirrors: list[Mirror] = []
    place = (config.env.name, config.algo.name, config.name)
    try:
        for seed in config.seeds:
            mirrors.append(Mirror(folder_for(folder, *place, seed), folder_for(config.runs_dir, *place, seed)))
    except BaseException:
        for mirror in mirrors:
            mirror.owner.abandon()
        raise
    return mirrors


class Copying:
    """A thread that pushes all mirrors every so often. A lost result folder stops the training."""

    def __init__(self, mirrors: list[Mirror], every_s: float) -> None:
        self.mirrors, self.every_s = mirrors, every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lop mirror", daemon=True)
        self._thread.start()

    def end(self) -> list[str]:
        """Stops the thread and copies the rest; returns what went wrong with that."""
        self._end.set()
        self._thread.join()
        problems = []
        for mirror in self.mirrors:
            try:
                mirror.finish()
            except RunError as error:
                problems.append(str(error))
        return problems

    def _run(self) -> None:
        while not self._end.wait(self.every_s):
            for mirror in self.mirrors:
                try:
                    mirror.push()
                except OwnershipLost:
                    # end() will say so
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                except RunError as error:
                    print(f"warning: {error}; it is tried again", file=sys.stderr, flush=True)
