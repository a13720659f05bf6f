"""Small words for tables and logs."""

from __future__ import annotations

import contextlib
from pathlib import Path


def many(count: int, noun: str, plural: str = "s") -> str:
    """A number of things: 1 job, 2 jobs."""
    return f"{count} {noun}{'' if count == 1 else plural}"


def shown(path: Path) -> str:
    """A path as one would type it here."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
