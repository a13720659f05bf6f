"""Synthetic runs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("bokeh", reason="the extra [dashboard] is not installed")


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module synthetic_runs beside this file."""
    path = Path(__file__).with_name("synthetic_runs.py")
    spec = importlib.util.spec_from_file_location("lop_synthetic_runs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def runs(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two environments, two algorithms, three seeds; one run of ant/std stopped half-way. Read only."""
    root = tmp_path_factory.mktemp("runs")
    for env in ("ant", "sant"):
        for algo in ("std", "cbp"):
            for seed in range(3):
                run = synthetic.Synthetic(root, env, algo, seed, planned=120, layers=(16, 12), task_updates=40)
                run.advance(60 if (env, algo, seed) == ("ant", "std", 2) else 120)
                run.end()
    return root


@pytest.fixture
def growing(synthetic: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """A run of 10 updates in tmp_path/runs that goes on."""
    run = synthetic.Synthetic(tmp_path / "runs", "ant", "cbp", 0, planned=100, layers=(16, 12))
    run.advance(10)
    yield run
    run.end("stopped")


@pytest.fixture
def library(runs: Path) -> Any:
    """The fixture's runs, read."""
    from lop.dashboard.library import Library

    library = Library(runs)
    library.look()
    return library
