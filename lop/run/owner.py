"""Who works in a run folder: owner.json is the lock (one living owner) and the fence (a lost folder is noticed).

    owner = claim(folder)        # OwnedElsewhere, in one line, if somebody who lives has it
    owner.check()                # before every batch of writes: OwnershipLost once somebody else took over
    owner.release("finished")    # owner.json stays and says how it ended

A process is taken for living if its pid exists with the same start time, when we can see its processes (same boot and
pid namespace); otherwise if its heartbeat is younger than ten minutes. A job that Slurm restarted takes over from its
former self, which may live on beside it after a node's daemon died: that one meets the fence.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lop.run.files import (
    RunError,
    disk,
    lock,
    make_folder,
    remove_folders,
    removed_on_error,
    write_atomic,
    write_synced,
)

OWNER_JSON, GUARD = "owner.json", "owner.lock"
VERSION = 1
RUNNING = "running"
OWNER_KEYS = {"format", "token", "status", "message", "host", "pid", "process_start", "process_space"}
OWNER_KEYS |= {"slurm_job", "slurm_restarts", "since", "heartbeat"}
BEAT_S, STALE_S = 30.0, 600.0
GUARD_WAIT_S, SETTLE_S = 20.0, 0.5
# ten digits before the point until the year 2286: the heartbeat is overwritten in place
_BEAT_FORMAT = "{:014.3f}"


class OwnedElsewhere(RunError):
    """The folder has a living owner; the text says who."""


class OwnershipLost(RunError):
    """The folder had our mark, and has it no more."""


def claim(folder: str | os.PathLike[str]) -> Owner:
    """Makes the calling process the owner of `folder`, which is made if it is not there.

    Errors: OwnedElsewhere; RunError (disk), and then nothing is left behind.
    """
    folder = Path(folder)
    made = make_folder(folder)
    try:
        with _guard(folder) as exclusive:
            owner = _claim_guarded(folder, made)
        if not exclusive:
            # without file locks the last of several writers has it; wait until they all have written
            time.sleep(SETTLE_S)
            owner.check()
    except BaseException:
        remove_folders(made)
        raise
    _heart.add(owner)
    return owner


def _claim_guarded(folder: Path, made: list[Path]) -> Owner:
    present = read_owner(folder)
    if present and is_alive(present) and not _is_former_self(present):
        raise OwnedElsewhere(f"{folder} belongs to {describe(present)}")
    try:
        return Owner(folder, made)
    except BaseException:
        if made:
            (folder / GUARD).unlink(missing_ok=True)
        raise


def read_owner(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The content of owner.json; None if there is none, or none that can be read. Errors: RunError (disk)."""
    path = Path(folder) / OWNER_JSON
    try:
        with disk("read", path):
            content = json.loads(path.read_bytes())
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.keys() >= OWNER_KEYS else None


def is_alive(owner: dict[str, Any], now_s: float | None = None) -> bool:
    """Whether the owner of that owner.json still works there, as far as can be known from here."""
    if owner["status"] != RUNNING:
        return False
    beats = (time.time() if now_s is None else now_s) - owner["heartbeat"] < STALE_S
    if owner["process_space"] != process_space():
        return beats
    if owner["process_start"] is None:
        return _pid_exists(owner["pid"]) and beats
    return process_start(owner["pid"]) == owner["process_start"]


def describe(owner: dict[str, Any]) -> str:
    """Who an owner.json speaks of, in words."""
    job = f", Slurm job {owner['slurm_job']}" if owner["slurm_job"] else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
    age_s = max(0, round(time.time() - owner["heartbeat"]))
    return f"pid {owner['pid']} on {owner['host']}{job}, since {since}, last heartbeat {age_s} s ago"


class Owner:
    """Our mark in a run folder. Made by `claim` alone."""

    def __init__(self, folder: Path, made: list[Path]) -> None:
        self.folder, self._made = folder, made
        self._path = folder / OWNER_JSON
        self.content = _myself()
        self._former = self._path.read_bytes() if self._path.is_file() else None
        self._lock = threading.RLock()  # a signal handler may release in the middle of a beat
        self._last_beat_s = time.monotonic()
        self._descriptor = self._write()

    @property
    def token(self) -> str:
        """What tells this claim from every other."""
        return self.content["token"]

    def check(self) -> None:
        """Errors: OwnershipLost if owner.json carries another mark than ours."""
        present = read_owner(self.folder)
        if present is None or present["token"] != self.token:
            who = describe(present) if present else "nobody: owner.json is gone"
            raise OwnershipLost(f"{self.folder} was taken over; it now belongs to {who}")

    def beat(self, every_s: float = BEAT_S) -> None:
        """Renews the heartbeat if the last one is older than `every_s`. Never raises; a thread calls it too."""
        with self._lock:
            now = time.monotonic()
            if self._descriptor < 0 or now - self._last_beat_s < every_s:
                return
            self._last_beat_s = now
            # through the open file: after a takeover this is our old owner.json, and nobody's name is overwritten
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, _BEAT_FORMAT.format(time.time()).encode(), self._beat_at)

    def release(self, status: str, message: str = "") -> None:
        """Leaves owner.json saying how it ended ("finished", "stopped", "failed"); a lost folder is left alone.

        Releasing twice does nothing. Never raises for the disk: a full one must not hide why a run ended. Where
        nothing can be written, owner.json is removed.
        """
        if self._stop_beating():
            with contextlib.suppress(RunError), _guard(self.folder):
                self.check()
                self.content |= {"status": status, "message": message.strip(), "ended": round(time.time(), 3)}
                try:
                    os.close(self._write())
                except RunError:
                    # on a full disk: this process may live on with other folders, and must not seem to keep this one
                    with contextlib.suppress(OSError):
                        self._path.unlink()

    def abandon(self) -> None:
        """Takes the claim back as if it had never been made, folders included if they are otherwise empty."""
        if self._stop_beating():
            with contextlib.suppress(RunError, OSError), _guard(self.folder):
                self.check()
                if self._former is None:
                    self._path.unlink()
                else:
                    write_atomic(self._path, self._former)
                if self._made:
                    (self.folder / GUARD).unlink()
            remove_folders(self._made)

    def _stop_beating(self) -> bool:
        """Whether it was beating until now."""
        _heart.remove(self)
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        return descriptor >= 0

    def _write(self) -> int:
        """Puts owner.json in place; returns it opened."""
        beat = _BEAT_FORMAT.format(time.time())
        text = json.dumps(self.content)[:-1] + ', "heartbeat": '
        self._beat_at = len(text.encode())
        temporary = self.folder / f"{OWNER_JSON}.{self.token}.tmp"
        with disk("write", self._path), removed_on_error(temporary):
            write_synced(temporary, f"{text}{beat}}}\n".encode())
            descriptor = os.open(temporary, os.O_RDWR)
            os.replace(temporary, self._path)
        return descriptor


class _Heart:
    """One daemon thread that beats for every owner of this process, also while an update takes minutes."""

    def __init__(self) -> None:
        self._owners: list[Owner] = []
        self._thread: threading.Thread | None = None

    def add(self, owner: Owner) -> None:
        self._owners.append(owner)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="lop heartbeat", daemon=True)
            self._thread.start()

    def remove(self, owner: Owner) -> None:
        with contextlib.suppress(ValueError):
            self._owners.remove(owner)

    def _run(self) -> None:
        while True:
            time.sleep(BEAT_S)
            for owner in list(self._owners):
                owner.beat()


_heart = _Heart()


def _myself() -> dict[str, Any]:
    return {
        "format": VERSION,
        "token": secrets.token_hex(16),
        "status": RUNNING,
        "message": "",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
        "process_space": process_space(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "slurm_restarts": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        "since": round(time.time(), 3),
    }


def _is_former_self(owner: dict[str, Any]) -> bool:
    me = _myself()
    same_job = me["slurm_job"] is not None and owner["slurm_job"] == me["slurm_job"]
    return same_job and me["slurm_restarts"] > owner["slurm_restarts"]


def process_space() -> str:
    """Whose pids mean the same as ours: one boot of one machine, one pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_start(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process that lives; None if it does not, or without /proc."""
    try:
        # the name, in brackets, may itself hold spaces and brackets
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _pid_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def _guard(folder: Path) -> Iterator[bool]:
    """Keeps others from claiming meanwhile; yields whether the file system can do that."""
    path = folder / GUARD
    until = time.monotonic() + GUARD_WAIT_S
    while True:
        with disk("open", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            exclusive = _locked(descriptor, until)
            # who had the lock before us may have removed the file: then ours guards nothing
            if not exclusive or _is_at(descriptor, path):
                yield exclusive
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _locked(descriptor: int, until: float) -> bool:
    """Waits for the lock; False where locks do not work, or when the time is over."""
    while (ours := lock(descriptor)) is False:
        # not for ever: a signal handler may come here while its own main thread holds the guard
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return bool(ours)
