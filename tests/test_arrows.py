"""Imports go one way: read from the source of every file, not from what happens to be loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lop

PACKAGE = Path(lop.__file__).parent
#: room -> what it may import of ours at module level, beside itself. Everything else of lop may import everything.
ALLOWED = {
    "monitor": set(),
    "nets": set(),
    "ppo": {"lop.nets", "lop.run.streams"},
    "variants": {"lop.nets", "lop.ppo", "lop.run"},
    "envs": {"lop.run.streams"},
    "run": set(),
    "cluster": {"lop.run"},
    "analysis": {"lop.run", "lop.monitor.glossary"},
    "dashboard": {"lop.run", "lop.monitor.glossary", "lop.analysis.colours", "lop.lab.playground"},
    "boards": {"lop.run", "lop.monitor.glossary", "lop.analysis.colours", "lop.dashboard"},
    "lab": {
        "lop.monitor",
        "lop.analysis.colours",
        "lop.analysis.report",
        "lop.analysis.style",
        "lop.run.command",
        "lop.run.files",
        "lop.run.progress",
        "lop.run.seeds",
        "lop.run.streams",
    },
}


def imports(path: Path, package: Path = PACKAGE) -> set[str]:
    """Modules of lop that a file imports at module level or inside functions, `if TYPE_CHECKING` included."""
    parts = ("lop", *path.relative_to(package).with_suffix("").parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            found.add(module)
            if module == "lop" or node.level:
                found |= {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name == "lop" or name.startswith("lop.")} - {"lop"}


def forbidden(room: str, imported: set[str]) -> set[str]:
    """Of the imported modules, those that the arrows do not allow a file of `room`."""
    allowed = ALLOWED[room] | {f"lop.{room}"}
    return {name for name in imported if not any(name == a or name.startswith(a + ".") for a in allowed)}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_what_its_arrows_allow(room):
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(PACKAGE)): forbidden(room, imports(path)) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_every_room_has_its_arrows():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    later = {"experiments"}
    assert rooms - later == ALLOWED.keys() | {"training"}


@pytest.mark.parametrize(
    ("line", "room", "wrong"),
    [
        ("from lop.variants import cbp", "ppo", {"lop.variants"}),
        ("import lop.monitor as m", "ppo", {"lop.monitor"}),
        ("from lop import monitor", "nets", {"lop.monitor"}),
        ("def f():\n    from lop.train import main", "variants", {"lop.train"}),
        ("from ..run import config", "envs", {"lop.run", "lop.run.config"}),
        ("from lop.run.streams import stream", "envs", set()),
        ("import torch", "monitor", set()),
    ],
)
def test_a_wrong_import_is_found(line, room, wrong, tmp_path):
    path = tmp_path / room / "file.py"
    path.parent.mkdir()
    path.write_text(line)
    assert forbidden(room, imports(path, tmp_path)) == wrong


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "lop.run.reader",
            ["mujoco", "hydra", "wandb", "lop.ppo", "lop.nets", "lop.envs", "lop.variants", "lop.training"],
        ),
        (
            "lop.monitor",
            ["mujoco", "gymnasium", "hydra", "omegaconf", "orjson", "wandb", "lop.run", "lop.nets", "lop.ppo"],
        ),
        ("lop.envs", ["torch", "hydra", "wandb", "lop.run.config", "lop.ppo"]),
        ("lop.ppo", ["mujoco", "hydra", "wandb", "lop.monitor", "lop.variants"]),
    ],
)
def test_importing_a_room_loads_no_more_than_it_needs(module, absent):
    program = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == "[]"
