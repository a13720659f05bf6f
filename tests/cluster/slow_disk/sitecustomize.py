"""A slow disk, for runs that must live long enough to be interrupted: on PYTHONPATH, with LOP_TEST_FSYNC_S set."""

from __future__ import annotations

import os
import time

if pause := float(os.environ.get("LOP_TEST_FSYNC_S") or 0):
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(pause)
        fsync(descriptor)

    os.fsync = slow
