"""What this machine has: `python -m lop.doctor [--json]`. One line a part, problems marked; no key is ever shown.

Exit codes: 0; 1 something that training needs is missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lop.run.command import Parser
from lop.run.versions import cpu_model, git_revision

NEEDED = ("torch", "numpy", "mujoco", "gymnasium", "hydra-core", "orjson", "safetensors", "tqdm", "wandb")
OPTIONAL = (
    "submitit",
    "bokeh",
    "matplotlib",
    "pandas",
    "scipy",
    "imageio",
    "wandb-workspaces",
    "stable-baselines3",
    "lightning",
)
SLURM = ("sbatch", "srun", "squeue", "scancel", "sacct")
FREE_GB = 5.0  # a run of 100 M steps writes 350 MB of unit records and a hundred snapshots of 1.2 MB
OK, NOTE, BAD = "ok", "note", "BAD"


@dataclass(frozen=True)
class Finding:
    """One part of the machine. grade: ok; note: something optional is missing; BAD: training will not work."""

    part: str
    grade: str
    text: str


def examine() -> list[Finding]:
    """All findings; a check that fails itself is a finding too."""
    checks: list[Callable[[], Finding]] = [
        system,
        needed,
        optional,
        gpu,
        physics,
        rendering,
        threads,
        slurm,
        wandb_key,
        disk,
    ]
    found = []
    for check in checks:
        try:
            found.append(check())
        except Exception as error:  # a broken installation may raise anything, and the other parts are of interest then
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            found.append(Finding(check.__name__.replace("_", " "), BAD, text[:200]))
    return found


def system() -> Finding:
    python = f"Python {platform.python_version()}"
    revision = git_revision()
    source = f", lop at {revision[:8]}{'-dirty' * revision.endswith('-dirty')}" if revision else ""
    grade = OK if sys.version_info >= (3, 11) else BAD
    return Finding("system", grade, f"{python}, {platform.system()} {platform.machine()}{source}")


def needed() -> Finding:
    missing, there = _packages(NEEDED)
    lack = f"; missing: {', '.join(missing)} (pip install 'lop-rl[train]')" if missing else ""
    return Finding("needed", BAD if missing else OK, ", ".join(there) + lack)


def optional() -> Finding:
    missing, there = _packages(OPTIONAL)
    return Finding("optional", OK if not missing else NOTE, ", ".join([*there, *(f"no {name}" for name in missing)]))


def gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", NOTE, f"none that torch can use (torch built for CUDA {torch.version.cuda or '-'})")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("GPU", OK, f"{len(names)} x {', '.join(sorted(set(names)))}, CUDA {torch.version.cuda}")


def physics() -> Finding:
    """One step of the real environment."""
    import gymnasium

    import lop.envs  # noqa: F401, registers the environments

    environment = gymnasium.make("lop/Ant-v3")
    environment.reset(seed=0)
    environment.step(environment.action_space.sample() * 0)
    environment.close()
    return Finding("physics", OK, "lop/Ant-v3 steps")


def rendering() -> Finding:
    """In a process of its own: a missing driver may end it. EGL and OSMesa need no screen."""
    program = (
        "import mujoco; model = mujoco.MjModel.from_xml_string('<mujoco/>'); data = mujoco.MjData(model);"
        "mujoco.mj_forward(model, data); mujoco.Renderer(model, 16, 16).update_scene(data)"
    )
    for backend in dict.fromkeys([os.environ.get("MUJOCO_GL") or "egl", "egl", "osmesa"]):
        environment = {**os.environ, "MUJOCO_GL": backend}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60)
        if done.returncode == 0:
            return Finding("rendering", OK, f"MUJOCO_GL={backend}")
    return Finding("rendering", NOTE, "neither EGL nor OSMesa works (Debian: libegl1 libegl-mesa0 libosmesa6)")


def threads() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS")
    return Finding("cores", OK, f"{cores} x {cpu_model() or 'unknown'}, OMP_NUM_THREADS={limit or 'unset'}")


def slurm() -> Finding:
    missing = [program for program in SLURM if not shutil.which(program)]
    if missing:
        return Finding("Slurm", NOTE, f"no {', '.join(missing)}: cluster=local works")
    try:
        done = subprocess.run(["sinfo", "-h", "-o", "%R %D x %c cores %G"], capture_output=True, text=True, timeout=15)
    except subprocess.TimeoutExpired:
        return Finding("Slurm", NOTE, "installed, and the controller does not answer")
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["no partition"]
    return Finding(
        "Slurm", OK if done.returncode == 0 else NOTE, "; ".join(said[:4]) if done.returncode == 0 else said[-1]
    )


def wandb_key() -> Finding:
    """Whether there is a key; its value is neither read out nor shown."""
    import wandb

    from lop.run.trackers import has_key

    there = has_key(urllib.parse.urlsplit(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url).netloc)
    return Finding("wandb", OK if there else NOTE, "a key is there" if there else "no key: runs are kept offline")


def disk() -> Finding:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    return Finding("disk", OK if free_gb > FREE_GB else NOTE, f"{free_gb:,.0f} GB free in {Path.cwd()}")


def _packages(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Those missing, and the others with their versions."""
    missing, there = [], []
    for name in names:
        try:
            there.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return missing, there


def main(words: list[str] | None = None) -> int:
    parser = Parser(prog="python -m lop.doctor", description="What this machine has.")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(words)
    found = examine()
    if given.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        for finding in found:
            print(f"{finding.grade:<4}  {finding.part:<9}  {finding.text}")
    return int(any(finding.grade == BAD for finding in found))


if __name__ == "__main__":
    sys.exit(main())
