"""The monitor works where nothing is installed but torch, numpy and what these need."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lop

requirements = pytest.importorskip("packaging.requirements")

PROGRAM = """
import importlib, json, sys
import torch
from lop.monitor import MarginMonitor
from lop.monitor.cost import NETWORKS
from lop.monitor.glossary import markdown

net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
with torch.no_grad():
    net[0].bias[2] = -100.0
monitor = MarginMonitor(net)
monitor.observe(torch.randn(50, 3))
row = monitor.compute(0, ranks=True, loss=lambda: net(torch.ones(2, 3)).sum())
absent = "mujoco gymnasium hydra omegaconf orjson wandb stable_baselines3 lightning scipy matplotlib pytest".split()
loaded = [name for name in absent if name in sys.modules]
found = [name for name in absent if importlib.util.find_spec(name)]
missing = []
for adapter in ("gymnasium", "stable_baselines3", "lightning"):
    try:
        importlib.import_module("lop.monitor.adapters." + adapter)
    except ModuleNotFoundError as error:
        missing.append(error.name)
print(json.dumps([markdown()[:7], row["margin/dead_counts/layer_0"] >= 1, "srank/layer_0" in row, loaded, found, missing]))
"""


def with_requirements(*names: str) -> set[str]:
    """Names of installed distributions: these and, in turn, whatever they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        wanted = map(requirements.Requirement, importlib.metadata.requires(name) or [])
        waiting += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The Python of a virtual environment that sees torch, numpy, their requirements and lop."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in with_requirements("torch", "numpy"):
        distribution = importlib.metadata.distribution(name)
        tops = {path.parts[0] for path in distribution.files or [] if path.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    (site / "lop").symlink_to(Path(lop.__file__).parent)
    return folder / "bin" / "python"


def run(bare: Path, *words: str) -> str:
    # -I: neither PYTHONPATH, nor the current folder, nor the user's packages
    done = subprocess.run([bare, "-I", *words], capture_output=True, text=True, check=False, cwd=bare.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_computes_and_loads_nothing_else(bare):
    missing = ["gymnasium", "gymnasium", "pytorch_lightning"]
    assert json.loads(run(bare, "-c", PROGRAM)) == ["| key |", True, True, [], [], missing]
