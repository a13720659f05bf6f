"""Runs as tables, honest statistics, figures and one report; reads run folders, never trains.

    import lop.analysis
    runs = lop.analysis.load("runs/")
    runs.table                                # a row per run
    runs.metrics("return", "srank/layer_1")   # a row per update
    runs.left_out                             # what could not be read, in words

`python -m lop.analysis runs/ --out figures/` draws everything. Needs the extra `[analysis]`.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lop.analysis.runs import Runs, load

__all__ = ["Runs", "load"]

NEEDS = ("matplotlib", "orjson", "pandas", "safetensors", "scipy", "tqdm")
HELP = "lop.analysis needs {}: pip install 'lop-rl[analysis]'"


def __getattr__(name: str) -> Any:
    # on demand: the dashboard takes its colours from this room, and has no use for matplotlib
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_extra()
    return getattr(importlib.import_module("lop.analysis.runs"), name)


def check_extra() -> None:
    """Errors: ImportError, in one line, if a package of the extra is missing."""
    missing = [package for package in NEEDS if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(HELP.format(", ".join(missing)))
