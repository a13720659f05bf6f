"""Broken disks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest


class Disk:
    """The disk as os.write sees it. When full, a write of n bytes stops half-way, and then fails."""

    def __init__(self) -> None:
        self.is_full = False
        self.write = os.write

    def write_some(self, descriptor: int, data: bytes) -> int:
        if not self.is_full:
            return self.write(descriptor, data)
        if len(data) <= 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.write(descriptor, data[: len(data) // 2])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk that is full while `disk.is_full`."""
    disk = Disk()
    monkeypatch.setattr(os, "write", disk.write_some)
    yield disk
    disk.is_full = False
