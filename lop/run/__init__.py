"""A run on disk: configuration types, random streams, checkpoints, records, ownership, signals, trackers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lop.run.files import RunError
    from lop.run.reader import Run, list_runs, load_policy, read_run

__all__ = ["Run", "RunError", "list_runs", "load_policy", "read_run"]

_HOMES = {"RunError": "files", "Run": "reader", "list_runs": "reader", "load_policy": "reader", "read_run": "reader"}


def __getattr__(name: str) -> Any:
    # on demand: lop.run.streams is imported by rooms that need numpy alone
    if name in _HOMES:
        return getattr(importlib.import_module(f"lop.run.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
