"""What a run's bits depend on beside its configuration, and whether two configurations are the same."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "torch", "mujoco", "gymnasium", "safetensors", "orjson")


def versions(device: str = "cpu", threads: int | None = None) -> dict[str, Any]:
    """Versions, CPU, threads and source revision, as JSON.

    device: "cpu" or "cuda[:n]"; threads: of the physics, where the caller has such. Unknown ones are None.
    """
    import torch

    found: dict[str, Any] = {"python": platform.python_version()}
    found |= {name: _package(name) for name in PACKAGES}
    found |= {
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "threads": threads,
        "device": device,
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "cuda": torch.version.cuda if device.startswith("cuda") else None,
        "git": git_revision(),
    }
    return found


def cpu_model() -> str | None:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or None


def git_revision(file: str | os.PathLike[str] = __file__) -> str | None:
    """Commit of the checkout that `file` is part of, "-dirty" appended if tracked files differ; None outside one.

    An installed package inside somebody else's repository (a .venv) is not tracked by it, and gives None.
    """
    file = Path(file).resolve()
    try:
        _git(file, "ls-files", "--error-unmatch", file.name)
        dirty = _git(file, "status", "--porcelain", "--untracked-files=no")
        return _git(file, "rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return None


def same_configuration(
    stored: dict[str, Any], current: dict[str, Any], may_differ: Sequence[str] = (), may_grow: Sequence[str] = ()
) -> list[str]:
    """One text per differing setting, "ppo.lr: 0.0001 before, 0.0003 now"; empty if a resume may go on.

    may_differ: dotted keys (with all below them) that do not count; may_grow: numbers that may be larger now.
    """
    before, now = _flat(stored), _flat(current)
    differing = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, "(absent)"), now.get(key, "(absent)")
        excused = any(key == name or key.startswith(name + ".") for name in may_differ)
        grown = key in may_grow and _is_number(old) and _is_number(new) and new > old
        if not (excused or grown or _same(old, new)):
            differing.append(f"{key}: {old} before, {new} now")
    return differing


def _same(old: Any, new: Any) -> bool:
    # 1 and True are equal in Python, but not as settings; 1 and 1.0 are one number
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _package(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(file: Path, *arguments: str) -> str:
    command = ["git", "-C", str(file.parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
