"""The wheel holds what the program needs, and works without the checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="building the wheel needs hatchling"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def python(installed: Path, cwd: Path, *words: str) -> str:
    """What a Python elsewhere prints that finds the wheel's content first."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_configuration_and_every_file_of_the_package(installed):
    ours = {"lop/cfg" / path.relative_to(ROOT / "cfg"): path for path in (ROOT / "cfg").rglob("*.yaml")}
    package = [path for path in (ROOT / "lop").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    ours |= {path.relative_to(ROOT): path for path in package}
    assert {path.suffix for path in ours} >= {".py", ".yaml", ".json", ".html", ".css", ".js"}
    packed = {path.relative_to(installed) for path in (installed / "lop").rglob("*") if path.is_file()}
    assert packed == set(ours)
    assert [name for name, path in ours.items() if (installed / name).read_bytes() != path.read_bytes()] == []


def test_the_wheel_holds_nothing_but_the_package(installed):
    tops = {path.name for path in installed.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"lop"}
    assert not list(installed.rglob("__pycache__"))


def test_the_configuration_is_found_inside_the_package(installed, tmp_path):
    program = "from lop.run.config import config_dir; print(config_dir())"
    assert python(installed, tmp_path, "-c", program).strip() == str(installed / "lop" / "cfg")


def test_help_works_outside_the_repository(installed, tmp_path):
    text = python(installed, tmp_path, "-m", "lop.train", "--help")
    assert text.startswith("usage: python -m lop.train")
    assert "learning_rate: 1.0e-4" in text


def test_training_works_outside_the_repository(installed, tmp_path):
    words = ["env=sant", "algo=cbp", "preset=reference", "wandb.mode=disabled", "total_steps=512"]
    small = ["ppo.steps_per_update=256", "ppo.num_epochs=1", "ppo.num_minibatches=4", "ppo.hidden_sizes=[10,10]"]
    text = python(installed, tmp_path, "-m", "lop.train", *words, *small, "monitor.buffer_size=100")
    assert "finished" in text
    assert (tmp_path / "runs" / "sant" / "cbp" / "seed_0" / "checkpoint").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
