"""Files that are whole or absent: atomic writes, folders that are taken back, and disk errors as one line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


class RunError(Exception):
    """Something about a run folder that the user can act on; its text is one line."""


@contextlib.contextmanager
def disk(action: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError of the block (read-only, full, a file in the way) into a RunError that names the path."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot {action} {os.fspath(path)}: {error.strerror or error}") from error


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Writes every byte; os.write alone may stop half-way on a disk that fills up."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_atomic(path: Path, *chunks: bytes) -> None:
    """Writes the chunks beside `path` (`<name>.tmp`), fsyncs, and renames: `path` is the old or the new, never a part.

    Errors: RunError; `path` is then what it was, and nothing is left beside it.
    """
    temporary = path.with_name(path.name + ".tmp")
    with disk("write", path), removed_on_error(temporary):
        write_synced(temporary, *chunks)
        os.replace(temporary, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def removed_on_error(temporary: Path) -> Iterator[None]:
    """Removes the file `temporary` if the block raises."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_synced(path: Path, *chunks: bytes) -> None:
    """Writes the chunks to `path` and to the disk itself; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        for chunk in chunks:
            write_all(descriptor, chunk)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut, where the file system can (some refuse, and are excused)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock(descriptor: int, wait: bool = False) -> bool | None:
    """Takes the lock of a file that is open for writing (NFS locks no other, man 2 flock), until it is closed.

    True: it is ours; False: another process has it, and we did not wait; None: there are no locks on this file system or
    platform, and one has to do without.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def make_folder(folder: Path) -> list[Path]:
    """The folders that had to be made for `folder` to exist, outermost first; `remove_folders` takes them back."""
    with disk("make the folder", folder):
        missing = [p for p in (folder, *folder.parents) if not p.exists()][::-1]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            remove_folders(missing)
            raise
    return missing


def remove_folders(folders: list[Path]) -> None:
    """Removes the folders that are still empty, innermost first."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()
